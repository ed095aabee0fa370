//! Many writers, a few relays, and everything that can break does: SQS, the relays, the network to the database, the database.
//!
//! `REDRIVE_SIMULATION_MESSAGES` and `REDRIVE_SIMULATION_SEED` change a run, as in the other simulations. The database has a clock of its
//! own: what is drawn by lot comes from the seed, and what happens at the same time as what does not.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use redrive::local::Faults;
use redrive::{Outbox, Outgoing, Relay};
use sqlx::postgres::PgPoolOptions;
use sqlx::{PgPool, Postgres};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::database::{TestDatabase, postgres};
use crate::kit::quick;
use crate::postgres::Server;
use crate::proxy::Proxy;
use crate::queue::{Queue, secs, text};
use crate::setting::messages_and_seed;

/// Each of two runs. A hundred thousand take some minutes.
const MESSAGES: usize = 50_000;
const WRITERS: usize = 8;
const PER_TRANSACTION: usize = 50;
const GROUPS: usize = 400;
const RELAYS: usize = 3;
const RESTARTS: usize = 2;
const LIMIT: Duration = secs(240);

fn faults() -> Faults {
    let faults = Faults::none().throttles(0.02).lost_requests(0.01).lost_answers(0.02);
    faults.failed_entries(0.02).slow_calls(0.01, Duration::from_millis(50))
}

#[derive(Clone)]
struct World {
    server: Arc<Server>,
    proxy: Arc<Proxy>,
    /// Past the proxy.
    direct: PgPool,
    queue: Arc<Queue>,
}

impl World {
    async fn new(queue: &str, seed: u64) -> Self {
        let server = Arc::new(tokio::task::spawn_blocking(Server::start).await.unwrap());
        let direct = postgres(&server).await;
        let proxy = Arc::new(Proxy::to(server.port).await);
        let queue = Arc::new(Queue::new(queue, seed).await);
        queue.sqs.set_faults(faults());
        Self { server, proxy, direct, queue }
    }

    /// Writes the numbers of its own groups in order, some to a transaction, and each until it is committed.
    ///
    /// A commit that breaks off is one of which nobody knows. Here it is looked for, as a service would that must not do things twice.
    async fn write(self, writer: usize, messages: usize) {
        let outbox = Outbox::new(&self.queue.url);
        let numbers: Vec<_> = (0..messages).filter(|number| number % GROUPS % WRITERS == writer).collect();
        for numbers in numbers.chunks(PER_TRANSACTION) {
            while self.write_once(&outbox, numbers).await.is_err() {
                self.is_up().await;
                let there = format!("select count(*) from redrive_outbox where body = '{}'", numbers[0]);
                if Postgres::numbers(&self.direct, &there).await != [0] {
                    break;
                }
            }
        }
    }

    async fn write_once(&self, outbox: &Outbox, numbers: &[usize]) -> Result<(), redrive::OutboxError> {
        let mut transaction = self.direct.begin().await?;
        for number in numbers {
            let message = Outgoing::text(number.to_string()).group((number % GROUPS).to_string());
            outbox.enqueue(&mut transaction, message).await?;
        }
        Ok(transaction.commit().await?)
    }

    async fn is_up(&self) {
        while sqlx::raw_sql("select 1").execute(&self.direct).await.is_err() {
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// One relay after the other, each of which dies after a while: dropped where it stands, or cut off from its database.
    async fn relays(self, mut lot: fastrand::Rng) {
        let name = Postgres::texts(&self.direct, "select current_database()::text").await.remove(0);
        let url = format!("postgres://redrive@127.0.0.1:{}/{name}", self.proxy.port);
        loop {
            let options = PgPoolOptions::new().max_connections(4).acquire_timeout(secs(2));
            let Ok(pool) = options.connect_lazy(&url) else { continue };
            let relay = quick(Relay::new(pool, self.queue.client())).lease(secs(1));
            let life = Duration::from_millis(lot.u64(20..3_000));
            if timeout(life, relay.run_until(std::future::pending())).await.is_ok() {
                sleep(Duration::from_millis(50)).await;
            }
            if lot.u8(..) < 64 {
                self.proxy.cut();
            }
        }
    }

    async fn restarts(self, messages: usize) {
        for restart in 1..=RESTARTS {
            self.until_sent(messages * restart / (RESTARTS + 1)).await;
            let server = self.server.clone();
            let restarted = tokio::task::spawn_blocking(move || {
                server.kill();
                server.begin();
            });
            restarted.await.unwrap();
        }
    }

    async fn until_sent(&self, messages: usize) {
        loop {
            self.is_up().await;
            let sent = sqlx::query_scalar("select count(*) from redrive_outbox where state = 'sent'");
            let sent: i64 = sent.fetch_one(&self.direct).await.unwrap_or_default();
            if sent >= i64::try_from(messages).unwrap() {
                return;
            }
            sleep(Duration::from_millis(200)).await;
        }
    }
}

/// The numbers that are in the queue, as it hands them out, with the ids that their receivers know them by.
async fn simulate(queue: &str) -> (usize, Vec<(usize, String)>) {
    let (messages, seed) = messages_and_seed(MESSAGES, 1);
    let world = World::new(queue, seed).await;
    let begin = Instant::now();
    let mut others = JoinSet::new();
    for relay in 0..RELAYS {
        others.spawn(world.clone().relays(fastrand::Rng::with_seed(seed + relay as u64)));
    }
    let mut work = JoinSet::new();
    for writer in 0..WRITERS {
        work.spawn(world.clone().write(writer, messages));
    }
    work.spawn(world.clone().restarts(messages));
    timeout(LIMIT, work.join_all()).await.expect("all is written");
    timeout(LIMIT, world.until_sent(messages)).await.expect("all is sent");
    others.shutdown().await;
    println!("sent after {:.1} s", begin.elapsed().as_secs_f64());
    world.queue.sqs.set_faults(Faults::none());
    let of = |message: aws_sdk_sqs::types::Message| {
        (message.body().unwrap().parse().unwrap(), text(&message, "redrive.id").unwrap())
    };
    (messages, world.queue.take_all().await.into_iter().map(of).collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_group_is_in_order_and_nothing_is_there_twice() {
    let (messages, there) = simulate("orders.fifo").await;
    assert_eq!(there.len(), messages);
    let mut last: HashMap<usize, usize> = HashMap::new();
    for (number, _) in there {
        let before = last.insert(number % GROUPS, number);
        assert!(before.is_none_or(|before| before < number), "{number} comes behind {before:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_is_there_and_copies_are_known_by_their_ids() {
    let (messages, there) = simulate("orders").await;
    let copies = there.len() - messages;
    let mut id_of = HashMap::new();
    for (number, id) in there {
        assert_eq!(*id_of.entry(number).or_insert_with(|| id.clone()), id, "copies of {number} have different ids");
    }
    println!("{copies} copies");
    assert_eq!(id_of.len(), messages);
}
