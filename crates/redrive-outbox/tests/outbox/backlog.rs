//! A hanging queue, or a deleted queue with a backlog, does not delay messages for other queues.
//!
//! `REDRIVE_BACKLOG_ROWS=1000000 cargo test --all-features --test outbox backlog -- --nocapture` measures with a
//! backlog of that size.

use std::env;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use redrive::Outgoing;
use redrive_outbox::{Outbox, Relay};
use sqlx::postgres::PgPoolOptions;
use sqlx::sqlite::SqlitePoolOptions;
use sqlx::{Pool, Postgres, Sqlite};
use tokio::time::{Instant, sleep};

use crate::database::{TestDatabase, on_each_database};
use crate::kit::{MOMENT, World, in_time};
use crate::queue::secs;
use crate::tap::{Listener, tapped};

on_each_database! {
    hanging_queue_does_not_delay_other_queues
    backlog_of_a_deleted_queue_does_not_delay_other_queues
    recovered_queue_gets_its_messages
}

/// Messages whose body begins like this are for a queue that accepts calls but does not answer them until it is told
/// to.
const HANGS: &str = "hangs";

#[derive(Debug, Default)]
struct Hanging(tokio::sync::watch::Sender<bool>);

impl Listener for Hanging {
    fn leaves<'a>(&'a self, bodies: &'a [String]) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            if bodies.iter().any(|body| body.starts_with(HANGS)) {
                self.0.subscribe().wait_for(|answers| *answers).await.unwrap();
            }
        })
    }
}

/// Writes this many rows for another queue of the same account.
async fn write<DB: TestDatabase>(world: &World<DB>, queue: &str, partition: &str, body: &str, rows: usize) {
    let queue_url = world.queue.url.replace("orders", queue);
    let write = format!(
        "insert into redrive_outbox (message_id, queue_url, lane, body)
        select '{queue}' || n, '{queue_url}', {partition}, '{body}' from (with recursive numbers (n) as
            (select 1 union all select n + 1 from numbers where n < {rows}) select n from numbers) numbers"
    );
    DB::execute(&world.pool, &write).await;
}

/// Writes messages one after the other, each when the previous one was sent. Returns the time that each took.
async fn times_of<DB: TestDatabase>(world: &World<DB>, messages: usize) -> Vec<Duration> {
    let mut times = Vec::new();
    for n in 0..messages {
        let begin = Instant::now();
        let mut transaction = world.pool.begin().await.unwrap();
        world.outbox.enqueue(&mut transaction, Outgoing::text(format!("goes {n}"))).await.unwrap();
        transaction.commit().await.unwrap();
        let sent = "select count(*) from redrive_outbox
            where id = (select max(id) from redrive_outbox) and state = 'sent'";
        in_time(async {
            while DB::numbers(&world.pool, sent).await == [0] {
                sleep(Duration::from_millis(2)).await;
            }
        })
        .await;
        times.push(begin.elapsed());
    }
    times.sort();
    times
}

fn report(what: &str, times: &[Duration]) {
    println!("{what}: median {:?}, worst {:?} of {}", times[times.len() / 2], times[times.len() - 1], times.len());
}

const MESSAGES: usize = 20;

async fn hanging_queue_does_not_delay_other_queues<DB: TestDatabase>() {
    let world = World::<DB>::new("orders").await;
    world.queue.sqs.client().create_queue().queue_name("hanging").send().await.unwrap();
    // The rows fill all partitions, and are more than fit in flight.
    write(&world, "hanging", "n % 256", HANGS, 2_000).await;
    let client = tapped(&world.queue.client(), Arc::<Hanging>::default());
    let relay = Relay::new(world.pool.clone(), client).poll_interval(MOMENT).lease(secs(120));
    let tried = "select count(*) from redrive_outbox where attempts > 0 and body = 'hangs'";
    let others_go = async {
        while world.queue.calls.total() == 0 {
            sleep(MOMENT).await;
        }
        let times = times_of(&world, MESSAGES / 2).await;
        report("a queue hangs", &times);
        // An attempt may take twenty seconds, so the first calls were still open when all others were sent.
        assert_eq!(DB::numbers(&world.pool, tried).await, [0], "{times:?}");
    };
    tokio::select! {
        () = in_time(others_go) => {}
        ended = relay.run_until(std::future::pending()) => panic!("{ended:?}"),
    }
}

async fn recovered_queue_gets_its_messages<DB: TestDatabase>() {
    let world = World::<DB>::new("orders.fifo").await;
    let hanging = Arc::<Hanging>::default();
    let client = tapped(&world.queue.client(), hanging.clone());
    let bodies: Vec<_> = (0..6).map(|n| format!("{HANGS} {n}")).collect();
    for body in &bodies {
        world.enqueue(Outgoing::text(body).group("g")).await;
    }
    let relay = crate::kit::quick(Relay::new(world.pool.clone(), client)).lease(secs(10));
    let sent = async {
        let tried = "select count(*) from redrive_outbox where attempts > 0";
        while DB::numbers(&world.pool, tried).await == [0] {
            sleep(MOMENT).await;
        }
        hanging.0.send_replace(true);
        world.until(|status| status.pending == 0).await;
    };
    relay.run_until(in_time(sent)).await.unwrap();
    assert_eq!(world.queue.bodies().await, bodies);
}

const ROWS: usize = 20_000;

async fn backlog_of_a_deleted_queue_does_not_delay_other_queues<DB: TestDatabase>() {
    let rows = env::var("REDRIVE_BACKLOG_ROWS").ok().and_then(|rows| rows.parse().ok()).unwrap_or(ROWS);
    let mut medians = Vec::new();
    for rows in [0, rows] {
        let world = World::<DB>::new("orders").await;
        if rows > 0 {
            write(&world, "gone", "n % 256", "waits", rows).await;
        }
        let relay = Relay::new(world.pool.clone(), world.queue.client()).poll_interval(MOMENT);
        let others_go = async {
            let times = times_of(&world, MESSAGES).await;
            report(&format!("{rows} rows of a queue that is gone"), &times);
            medians.push(times[times.len() / 2]);
        };
        tokio::select! {
            () = in_time(others_go) => {}
            ended = relay.run_until(std::future::pending()) => panic!("{ended:?}"),
        }
    }
    println!("added to the median: {:?}", medians[1].saturating_sub(medians[0]));
}

/// Creates a pool for the relay alone. PostgreSQL counts a connection's reads when it is closed.
async fn own_pool(world: &World<Postgres>) -> Pool<Postgres> {
    PgPoolOptions::new().max_connections(4).connect_lazy_with((*world.pool.connect_options()).clone())
}

/// Returns how many entries of all indexes of the table, and how many rows without an index, were read.
async fn read(world: &World<Postgres>) -> i64 {
    let read = "select (select sum(idx_tup_read) from pg_stat_user_indexes where relname = 'redrive_outbox')::bigint
        + (select seq_tup_read from pg_stat_user_tables where relname = 'redrive_outbox')::bigint";
    // PostgreSQL reports reads to its statistics within a second.
    sleep(secs(2)).await;
    Postgres::numbers(&world.pool, read).await[0]
}

#[tokio::test]
async fn rows_of_a_deleted_queue_are_not_read_for_other_queues() {
    let world = World::<Postgres>::new("orders").await;
    write(&world, "gone", "n % 256", "waits", ROWS).await;
    Postgres::execute(&world.pool, "analyze redrive_outbox").await;
    let before = read(&world).await;
    let pool = own_pool(&world).await;
    let relay = Relay::new(pool.clone(), world.queue.client()).poll_interval(MOMENT);
    let sent = async {
        for n in 0..MESSAGES {
            let id = world.outbox_id(n).await;
            let is_sent = format!("select count(*) from redrive_outbox where id = {id} and state = 'sent'");
            while Postgres::numbers(&world.pool, &is_sent).await == [0] {
                sleep(Duration::from_millis(5)).await;
            }
        }
    };
    relay.run_until(in_time(sent)).await.unwrap();
    pool.close().await;
    let read = read(&world).await - before;
    println!("{read} rows read");
    // All rows are counted at the start, and one pass reads a thousand of them before the queue is paused. Reading
    // them at each look would read them more often than there are messages.
    assert!(read < 6 * ROWS as i64, "{read} rows were read for {MESSAGES} messages");
}

impl World<Postgres> {
    /// Writes a message, and returns the id of its row.
    async fn outbox_id(&self, n: usize) -> i64 {
        let mut transaction = self.pool.begin().await.unwrap();
        Outbox::new(&self.queue.url).enqueue(&mut transaction, Outgoing::text(n.to_string())).await.unwrap();
        let id = sqlx::query_scalar("select currval(pg_get_serial_sequence('redrive_outbox', 'id'))");
        let id = id.fetch_one(&mut *transaction).await.unwrap();
        transaction.commit().await.unwrap();
        id
    }
}

/// Steps of SQLite's virtual machine between two counts.
const STEPS: i32 = 100;

#[tokio::test]
async fn rows_of_a_deleted_queue_cost_sqlite_no_steps_for_other_queues() {
    let world = World::<Sqlite>::new("orders").await;
    write(&world, "gone", "n % 256", "waits", ROWS).await;
    let steps = Arc::<AtomicU64>::default();
    let counter = steps.clone();
    let pool = SqlitePoolOptions::new().max_connections(2).after_connect(move |connection, _| {
        let counter = counter.clone();
        Box::pin(async move {
            connection.lock_handle().await?.set_progress_handler(STEPS, move || {
                counter.fetch_add(u64::from(STEPS.unsigned_abs()), Ordering::Relaxed);
                true
            });
            Ok(())
        })
    });
    let pool = pool.connect_lazy_with((*world.pool.connect_options()).clone());
    let relay = Relay::new(pool, world.queue.client()).poll_interval(MOMENT);
    let looks = async {
        // All rows are counted at the start, and one pass reads a thousand of them before the queue is paused.
        times_of(&world, 3).await;
        let before = steps.load(Ordering::Relaxed);
        times_of(&world, MESSAGES).await;
        steps.load(Ordering::Relaxed) - before
    };
    let (looks, ended) = {
        let mut taken = 0;
        let ended = relay.run_until(async { taken = in_time(looks).await }).await;
        (taken, ended)
    };
    ended.unwrap();
    println!("{looks} steps");
    // Each message takes two looks through 256 partitions. The rows would add about five steps each to every look.
    assert!(looks < MESSAGES as u64 * 100_000, "{looks} steps");
}
