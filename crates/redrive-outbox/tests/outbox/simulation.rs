//! Many writers and a few relays, while SQS, the relays, the database and its network fail or go silent. One task
//! retries parked messages meanwhile.
//!
//! `REDRIVE_SIMULATION_MESSAGES` and `REDRIVE_SIMULATION_SEED` change a run, as in the other simulations. The seed
//! determines all random choices, but not the timing of concurrent events, because the database's clock is real.

use std::collections::{HashMap, HashSet};
use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::timeout::TimeoutConfig;
use futures_util::future::join_all;
use redrive::Outgoing;
use redrive_local::Faults;
use redrive_outbox::{Outbox, OutboxStatus, Relay};
use sqlx::postgres::PgPoolOptions;
use sqlx::sqlite::SqlitePoolOptions;
use sqlx::{Pool, Postgres, Sqlite};
use tokio::runtime::Builder;
use tokio::time::{Instant, sleep, timeout};

use crate::account::{Account, Clerk};
use crate::database::{File, TestDatabase, postgres};
use crate::kit::quick;
use crate::postgres::Server;
use crate::proxy::Proxy;
use crate::queue::{Queue, counted, secs, text};
use crate::setting::messages_and_seed;
use crate::tap::tapped;

/// The messages for each of the two queues.
const MESSAGES: usize = 100_000;
/// The messages with SQLite, which has one writer and one relay at a time.
const FEW: usize = 5_000;
const WRITERS: usize = 8;
const PER_TRANSACTION: usize = 50;
const GROUPS: usize = 400;
const RESTARTS: usize = 3;
/// Messages that SQS always refuses, each followed by one of its group.
const POISON: u64 = 10;
/// The time limit. A quiet machine takes a fraction.
const LIMIT: Duration = secs(1_200);

/// An attempt's limit. Some calls take longer and still arrive.
const ATTEMPT_TIMEOUT: Duration = secs(1);

/// How long a relay waits for a silent database, far above the time of an answer.
const DATABASE_TIMEOUT: Duration = Duration::from_secs(1);

fn faults() -> Faults {
    let faults = Faults::none().throttles(0.02).lost_requests(0.01).lost_answers(0.02);
    faults.failed_entries(0.02).refused_entries(0.02).slow_calls(0.01, ATTEMPT_TIMEOUT * 2)
}

/// A database, and how it fails.
trait Site: TestDatabase {
    /// How many relays run at a time.
    const RELAYS: usize;
    type Place: Clone + Send + 'static;

    async fn site() -> (Pool<Self>, Self::Place);
    /// Creates a named pool whose connections may break.
    fn pool_of(place: &Self::Place, name: &str) -> Pool<Self>;
    /// Waits for the last statement of a dead client. A broken connection does not stop its running statement.
    async fn over(pool: &Pool<Self>, name: &str) -> Result<(), sqlx::Error>;
    /// Ends the leases of a dead relay now.
    async fn bury(pool: &Pool<Self>, name: &str) -> Result<(), sqlx::Error>;
    /// Breaks things until it is dropped.
    async fn breaks(world: &World<Self>, lot: fastrand::Rng);
}

#[derive(Clone)]
struct Served {
    server: Arc<Server>,
    /// The proxy between the writers and the database. It breaks connections.
    proxy: Arc<Proxy>,
    /// The proxy between the relays and the database. It also silences connections. Writers have their own time limits.
    relays: Arc<Proxy>,
    database: String,
}

/// Makes the database record which relay holds a partition.
const HOLDERS: &str = "alter table redrive_outbox_lane add column holder text;
    create function holder() returns trigger language plpgsql as
        $$ begin new.holder = current_setting('application_name'); return new; end $$;
    create trigger holder before update of token on redrive_outbox_lane for each row execute function holder();";

impl Site for Postgres {
    const RELAYS: usize = 3;
    type Place = Served;

    async fn site() -> (Pool<Self>, Served) {
        let server = Arc::new(tokio::task::spawn_blocking(Server::start).await.unwrap());
        let pool = postgres(&server).await;
        Self::execute(&pool, HOLDERS).await;
        let database = Self::texts(&pool, "select current_database()::text").await.remove(0);
        let proxy = Arc::new(Proxy::to(server.port).await);
        let relays = Arc::new(Proxy::to(server.port).await);
        (pool, Served { server, proxy, relays, database })
    }

    fn pool_of(Served { proxy, relays, database, .. }: &Served, name: &str) -> Pool<Self> {
        let proxy = if name.starts_with("relay") { relays } else { proxy };
        let url = format!("postgres://redrive@127.0.0.1:{}/{database}?application_name={name}", proxy.port);
        PgPoolOptions::new().max_connections(4).acquire_timeout(secs(2)).connect_lazy(&url).unwrap()
    }

    async fn over(pool: &Pool<Self>, name: &str) -> Result<(), sqlx::Error> {
        let left = format!("select count(*) from pg_stat_activity where application_name = '{name}'");
        while Self::try_numbers(pool, &left).await? != [0] {
            sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    async fn bury(pool: &Pool<Self>, name: &str) -> Result<(), sqlx::Error> {
        let ended = format!(
            "update redrive_outbox_lane set leased_until = '-infinity' where holder = '{name}' returning lane::bigint"
        );
        Self::try_numbers(pool, &ended).await.map(drop)
    }

    async fn breaks(world: &World<Self>, mut lot: fastrand::Rng) {
        let mut silence = lot.fork();
        let cuts = async {
            loop {
                sleep(Duration::from_millis(lot.u64(500..6_000))).await;
                world.place.proxy.cut();
                world.place.relays.cut();
            }
        };
        let silences = async {
            loop {
                sleep(Duration::from_millis(silence.u64(3_000..10_000))).await;
                world.place.relays.silence();
                world.silences.fetch_add(1, Ordering::Relaxed);
            }
        };
        let restarts = async {
            for restart in 1..=RESTARTS {
                world.until_sent(world.messages * restart / (RESTARTS + 1)).await;
                let server = world.place.server.clone();
                let restarted = tokio::task::spawn_blocking(move || {
                    server.kill();
                    server.begin();
                });
                restarted.await.unwrap();
            }
            pending::<()>().await
        };
        tokio::join!(cuts, silences, restarts);
    }
}

impl Site for Sqlite {
    // The database does not record a lease's owner, so there can be one relay only.
    const RELAYS: usize = 1;
    type Place = (Arc<File>, Pool<Self>);

    async fn site() -> (Pool<Self>, Self::Place) {
        let (pool, file) = Self::fresh().await;
        (pool.clone(), (Arc::new(file), pool))
    }

    fn pool_of((_, direct): &Self::Place, _: &str) -> Pool<Self> {
        SqlitePoolOptions::new().max_connections(4).connect_lazy_with(direct.connect_options().as_ref().clone())
    }

    async fn over(pool: &Pool<Self>, _: &str) -> Result<(), sqlx::Error> {
        Self::settle(pool).await;
        Ok(())
    }

    async fn bury(pool: &Pool<Self>, _: &str) -> Result<(), sqlx::Error> {
        Self::end_leases(pool).await;
        Ok(())
    }

    async fn breaks(_: &World<Self>, _: fastrand::Rng) {
        pending().await
    }
}

struct World<DB: Site> {
    place: DB::Place,
    /// A pool without faults, except for restarts.
    direct: Pool<DB>,
    queue: Queue,
    messages: usize,
    account: Arc<Account>,
    relays: AtomicUsize,
    /// How often the database went silent.
    silences: AtomicUsize,
    /// The ids of rows that were parked at some time.
    parked: Mutex<HashSet<i64>>,
}

impl<DB: Site> World<DB> {
    async fn new(queue: &str, messages: usize, seed: u64) -> Self {
        let (direct, place) = DB::site().await;
        let queue = Queue::new(queue, seed).await;
        let (account, relays, silences, parked) = Default::default();
        let world = Self { place, direct, queue, messages, account, relays, silences, parked };
        world.write_poison().await;
        world.queue.sqs.set_faults(faults());
        world
    }

    async fn write_poison(&self) {
        let outbox = Outbox::new(&self.queue.url);
        let mut transaction = self.direct.begin().await.unwrap();
        for n in 0..POISON {
            for body in ["poison", "behind"] {
                let message = Outgoing::text(body).group(format!("p{n}")).deduplication_id(format!("{body}-{n}"));
                outbox.enqueue(&mut transaction, message).await.unwrap();
            }
        }
        transaction.commit().await.unwrap();
        DB::execute(&self.direct, "update redrive_outbox set body = '' where body = 'poison'").await;
    }

    /// Writes the numbers of this writer's groups in order, some per transaction, each until it is committed.
    ///
    /// After a commit whose result is unknown, it looks for the rows, as a service does that must not write twice.
    async fn write(&self, writer: usize) {
        let outbox = Outbox::new(&self.queue.url);
        let name = format!("writer{writer}");
        let mut pool = DB::pool_of(&self.place, &name);
        let numbers: Vec<_> = (0..self.messages).filter(|number| number % GROUPS % WRITERS == writer).collect();
        for numbers in numbers.chunks(PER_TRANSACTION) {
            while write_once(&pool, &outbox, numbers).await.is_err() {
                pool.close().await;
                self.over(&name).await;
                pool = DB::pool_of(&self.place, &name);
                let there = format!("select count(*) from redrive_outbox where body = '{}'", numbers[0]);
                if self.ask(&there).await > 0 {
                    break;
                }
            }
        }
    }

    /// Calls [`Site::over`] until the database is up.
    async fn over(&self, name: &str) {
        while DB::over(&self.direct, name).await.is_err() {
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Returns one number, once the database is up.
    async fn ask(&self, sql: &str) -> i64 {
        loop {
            match DB::try_numbers(&self.direct, sql).await {
                Ok(numbers) => return numbers[0],
                Err(_) => sleep(Duration::from_millis(20)).await,
            }
        }
    }

    /// Runs relays one after the other. Each is a process that dies at a random time.
    async fn relays(&self, mut lot: fastrand::Rng) {
        loop {
            let number = self.relays.fetch_add(1, Ordering::Relaxed);
            let name = format!("relay{number}");
            let clerk = Arc::new(Clerk::of(number, &self.account));
            let (place, own, client) = (self.place.clone(), name.clone(), tapped(&self.client(), clerk.clone()));
            let life = Duration::from_millis(lot.u64(20..8_000));
            let process = move || {
                let runtime = Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async {
                    let relay = quick(Relay::new(DB::pool_of(&place, &own), client))
                        .park_after(2)
                        .database_timeout(DATABASE_TIMEOUT);
                    timeout(life, relay.run_until(pending())).await.map(drop)
                })
            };
            tokio::task::spawn_blocking(process).await.unwrap().ok();
            self.account.died(number);
            // Its calls arrive long before its lease is over.
            while clerk.calls_under_way() > 0 {
                sleep(Duration::from_millis(5)).await;
            }
            self.over(&name).await;
            while DB::bury(&self.direct, &name).await.is_err() {
                sleep(Duration::from_millis(20)).await;
            }
        }
    }

    /// Creates a client with a shorter timeout than some calls take.
    fn client(&self) -> Client {
        let client = self.queue.client();
        let timeouts = TimeoutConfig::builder().operation_attempt_timeout(ATTEMPT_TIMEOUT).build();
        Client::from_conf(client.config().to_builder().timeout_config(timeouts).build())
    }

    /// Retries parked messages periodically.
    async fn mend(&self) {
        loop {
            sleep(Duration::from_millis(200)).await;
            let Ok(parked) = Outbox::parked(&self.direct, 1_000).await else { continue };
            let ids: Vec<i64> = parked.iter().map(|message| message.id).collect();
            self.parked.lock().unwrap().extend(&ids);
            let _ = Outbox::retry(&self.direct, Some(&ids)).await;
        }
    }

    async fn until_sent(&self, messages: usize) {
        let sent = "select count(*) from redrive_outbox where state = 'sent'";
        while self.ask(sent).await < i64::try_from(messages).unwrap() {
            sleep(Duration::from_millis(200)).await;
        }
    }

    async fn until(&self, is_so: impl Fn(&OutboxStatus) -> bool) {
        while !Outbox::status(&self.direct).await.is_ok_and(|status| is_so(&status)) {
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Waits until all messages are written and sent, except permanently parked ones and those that they hold.
    async fn work(&self, held: u64) {
        let to_be_sent = self.messages + usize::try_from(POISON - held).unwrap();
        let written = join_all((0..WRITERS).map(|writer| self.write(writer)));
        let all_sent = async {
            written.await;
            self.until_sent(to_be_sent).await;
        };
        tokio::select! {
            () = all_sent => {}
            () = self.mend() => {}
        }
        self.until(|status| (status.pending, status.held, status.parked) == (0, held, POISON)).await;
    }
}

async fn write_once<DB: Site>(
    pool: &Pool<DB>,
    outbox: &Outbox,
    numbers: &[usize],
) -> Result<(), redrive_outbox::OutboxError> {
    let mut transaction = pool.begin().await?;
    for number in numbers {
        let message = Outgoing::text(number.to_string()).group((number % GROUPS).to_string());
        outbox.enqueue(&mut transaction, message).await?;
    }
    Ok(transaction.commit().await?)
}

/// Runs the simulation. Returns the queue's bodies in the order of their receives, with the ids that receivers get, and
/// the account of all attempts.
async fn simulate<DB: Site>(queue: &str, messages: usize, held: u64) -> (Vec<(String, String)>, usize, Arc<Account>) {
    let (messages, seed) = messages_and_seed(messages, 1);
    let world = World::<DB>::new(queue, messages, seed).await;
    let begin = Instant::now();
    let lot = |part: usize| fastrand::Rng::with_seed(seed + part as u64);
    tokio::select! {
        worked = timeout(LIMIT, world.work(held)) => worked.expect("all is sent, or parked"),
        _ = join_all((0..DB::RELAYS).map(|relay| world.relays(lot(relay)))) => {}
        () = DB::breaks(&world, lot(DB::RELAYS)) => {}
    }
    let silences = world.silences.load(Ordering::Relaxed);
    let seconds = begin.elapsed().as_secs_f64();
    println!("{} relays, {silences} silences, {seconds:.1} s", world.relays.load(Ordering::Relaxed));
    let parked = Outbox::parked(&world.direct, 1_000).await.unwrap();
    assert!(parked.iter().all(|message| message.message_id.starts_with("poison")), "{parked:?}");
    let others = world.parked.lock().unwrap().len() - parked.len();
    println!("{others} were parked, and sent when they were retried");
    assert!(others > 0 || messages < 10_000, "no message was parked that SQS would accept later");
    world.queue.sqs.set_faults(Faults::none());
    let of = |message: aws_sdk_sqs::types::Message| {
        (message.body().unwrap().to_owned(), text(&message, "redrive.id").unwrap())
    };
    (world.queue.take_all().await.into_iter().map(of).collect(), messages, world.account.clone())
}

async fn each_group_arrives_in_order_and_once<DB: Site>(messages: usize) {
    let (there, messages, _) = simulate::<DB>("orders.fifo", messages, POISON).await;
    assert_eq!(there.len(), messages);
    let mut last: HashMap<usize, usize> = HashMap::new();
    for (body, _) in there {
        let number: usize = body.parse().unwrap();
        let before = last.insert(number % GROUPS, number);
        assert!(before.is_none_or(|before| before < number), "{number} comes behind {before:?}");
    }
}

async fn every_message_arrives_and_each_copy_has_a_cause<DB: Site>(messages: usize) {
    let (there, messages, account) = simulate::<DB>("orders", messages, 0).await;
    let there: Vec<_> = there.into_iter().filter(|(body, _)| body != "behind").collect();
    let mut id_of = HashMap::new();
    for (body, id) in &there {
        assert_eq!(*id_of.entry(body).or_insert(id), id, "copies of {body} have different ids");
    }
    assert_eq!(id_of.len(), messages);
    println!("{} copies", there.len() - messages);
    for (body, times) in counted(there.iter().map(|(body, _)| body)) {
        account.check(body, times);
    }
}

mod on_postgres {
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn each_group_arrives_in_order_and_once() {
        super::each_group_arrives_in_order_and_once::<sqlx::Postgres>(super::MESSAGES).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn every_message_arrives_and_each_copy_has_a_cause() {
        super::every_message_arrives_and_each_copy_has_a_cause::<sqlx::Postgres>(super::MESSAGES).await;
    }
}

mod on_sqlite {
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn each_group_arrives_in_order_and_once() {
        super::each_group_arrives_in_order_and_once::<sqlx::Sqlite>(super::FEW).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn every_message_arrives_and_each_copy_has_a_cause() {
        super::every_message_arrives_and_each_copy_has_a_cause::<sqlx::Sqlite>(super::FEW).await;
    }
}
