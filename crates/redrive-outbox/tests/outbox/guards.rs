//! Guarantees that hold when events coincide.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use redrive::Outgoing;
use redrive_local::Faults;
use redrive_outbox::Relay;
use sqlx::sqlite::SqlitePoolOptions;
use sqlx::{Pool, Postgres, Sqlite};
use tokio::time::{Instant, sleep};

use crate::database::{TestDatabase, on_each_database};
use crate::kit::{MOMENT, World, in_time, quick};
use crate::latch::{Latch, advance, pool_through};
use crate::queue::secs;
use crate::tap::{Listener, tapped};

on_each_database! {
    mark_does_not_change_a_row_that_was_settled_meanwhile
    hanging_call_ends_before_its_lease
    many_sent_rows_are_deleted_without_a_pause
}

/// Changes the database when a call leaves or when its answer arrives.
#[derive(Debug)]
struct Meanwhile<DB: TestDatabase> {
    pool: Pool<DB>,
    when_it_leaves: Option<&'static str>,
    when_answered: Option<&'static str>,
    numbers: Mutex<Vec<i64>>,
    /// The delay before a call leaves.
    takes: Duration,
}

impl<DB: TestDatabase> Meanwhile<DB> {
    fn new(pool: &Pool<DB>) -> Self {
        Self {
            pool: pool.clone(),
            when_it_leaves: None,
            when_answered: None,
            numbers: Mutex::default(),
            takes: Duration::ZERO,
        }
    }

    fn numbers(&self) -> Vec<i64> {
        self.numbers.lock().unwrap().clone()
    }
}

macro_rules! listener {
    ($database:ty) => {
        impl Listener for Meanwhile<$database> {
            fn leaves<'a>(&'a self, _: &'a [String]) -> BoxFuture<'a, ()> {
                Box::pin(async {
                    let Some(sql) = self.when_it_leaves else { return };
                    sleep(self.takes).await;
                    let numbers = <$database>::numbers(&self.pool, sql).await;
                    self.numbers.lock().unwrap().extend(numbers);
                })
            }

            fn answered<'a>(&'a self, _: &'a [String], _: Option<&'a [String]>) -> BoxFuture<'a, ()> {
                Box::pin(async {
                    let Some(sql) = self.when_answered else { return };
                    <$database>::execute(&self.pool, sql).await;
                })
            }
        }
    };
}
listener!(Postgres);
listener!(Sqlite);

fn relay_heard_by<DB: TestDatabase>(world: &World<DB>, pool: &Pool<DB>, listener: &Arc<impl Listener>) -> Relay<DB> {
    quick(Relay::new(pool.clone(), tapped(&world.queue.client(), listener.clone())))
}

async fn mark_does_not_change_a_row_that_was_settled_meanwhile<DB: TestDatabase>()
where
    Meanwhile<DB>: Listener,
{
    let by_hand = "update redrive_outbox set state = 'sent', sqs_message_id = 'by hand'";
    for faults in [Faults::none(), Faults::none().refused_entries(1.0)] {
        let world = World::<DB>::new("orders").await;
        world.enqueue(Outgoing::text("x")).await;
        world.queue.sqs.set_faults(faults);
        let listener = Arc::new(Meanwhile { when_answered: Some(by_hand), ..Meanwhile::new(&world.pool) });
        in_time(relay_heard_by(&world, &world.pool, &listener).drain_until(std::future::pending())).await.unwrap();
        assert_eq!(world.states().await, ["sent"]);
        assert_eq!(DB::texts(&world.pool, "select sqs_message_id from redrive_outbox").await, ["by hand"]);
    }
}

/// A queue that accepts calls and never answers.
#[derive(Debug)]
struct Hanging;

impl Listener for Hanging {
    fn leaves<'a>(&'a self, _: &'a [String]) -> BoxFuture<'a, ()> {
        Box::pin(std::future::pending())
    }
}

async fn hanging_call_ends_before_its_lease<DB: TestDatabase>() {
    let world = World::<DB>::new("orders").await;
    world.enqueue(Outgoing::text("x")).await;
    let relay = relay_heard_by(&world, &world.pool, &Arc::new(Hanging)).lease(secs(12));
    let tried = async {
        while world.queue.calls.total() == 0 {
            sleep(Duration::from_millis(1)).await;
        }
        // An attempt has a sixth of the lease, and no attempt starts after as long again.
        advance(Duration::from_millis(2_100)).await;
        while DB::numbers(&world.pool, "select cast(attempts as bigint) from redrive_outbox").await == [0] {
            sleep(MOMENT).await;
        }
    };
    let begin = Instant::now();
    relay.run_until(in_time(tried)).await.unwrap();
    assert!(begin.elapsed() < secs(6), "{:?} of 12 s", begin.elapsed());
}

async fn many_sent_rows_are_deleted_without_a_pause<DB: TestDatabase>() {
    let world = World::<DB>::new("orders").await;
    world.enqueue(Outgoing::text("x")).await;
    world.relay_all().await;
    let copies = "insert into redrive_outbox (message_id, queue_url, lane, body, state, sent_at)
        select message_id, queue_url, lane, body, state, sent_at from redrive_outbox,
            (with recursive numbers (n) as (select 1 union all select n + 1 from numbers where n < 2500)
            select n from numbers) numbers";
    DB::execute(&world.pool, copies).await;
    let begin = Instant::now();
    let gone = async {
        while !world.states().await.is_empty() {
            sleep(MOMENT).await;
        }
    };
    world.relay().keep_sent(Duration::ZERO).run_until(in_time(gone)).await.unwrap();
    assert!(begin.elapsed() < secs(9), "one part, and then nothing for a while");
}

#[tokio::test]
async fn sent_rows_are_deleted_in_parts() {
    let world = World::<Postgres>::new("orders").await;
    world.enqueue(Outgoing::text("x")).await;
    world.relay_all().await;
    let counted = "create table cleaned (rows bigint);
        create function count_cleaned() returns trigger language plpgsql as
            $$ begin insert into cleaned select count(*) from gone; return null; end $$;
        create trigger cleaned after delete on redrive_outbox referencing old table as gone
            for each statement execute function count_cleaned();
        insert into redrive_outbox (message_id, queue_url, lane, body, state, sent_at)
            select message_id, queue_url, lane, body, state, sent_at from redrive_outbox, generate_series(1, 2500);";
    Postgres::execute(&world.pool, counted).await;
    let gone = async {
        while !world.states().await.is_empty() {
            sleep(MOMENT).await;
        }
    };
    world.relay().keep_sent(Duration::ZERO).run_until(in_time(gone)).await.unwrap();
    let parts = Postgres::numbers(&world.pool, "select rows from cleaned where rows > 0").await;
    assert_eq!(parts, [1_000, 1_000, 501]);
}

#[tokio::test]
async fn partitions_are_not_claimed_while_a_result_is_being_written() {
    let world = World::<Postgres>::new("orders").await;
    world.enqueue(Outgoing::text("x")).await;
    let latch = Latch::at("commit after update redrive_outbox o set state = 'sent'", "is asked for");
    let pool = pool_through(&world, &latch).await;
    // The lease is over when the write begins.
    let ended = Some("update redrive_outbox_lane set leased_until = '-infinity'");
    let listener = Arc::new(Meanwhile { when_answered: ended, ..Meanwhile::new(&world.pool) });
    let first = relay_heard_by(&world, &pool, &listener).drain_until(std::future::pending());
    let second = async {
        latch.has_come().await;
        in_time(world.relay().drain_until(std::future::pending())).await.unwrap();
        latch.open();
    };
    let (ended, ()) = tokio::join!(in_time(first), second);
    ended.unwrap();
    assert_eq!(world.states().await, ["sent"]);
    assert_eq!(world.queue.bodies().await, ["x"]);
}

#[tokio::test]
async fn no_send_starts_in_the_second_half_of_a_lease() {
    let world = World::<Postgres>::new("orders").await;
    world.enqueue(Outgoing::text("x")).await;
    let latches = (Latch::at("with fence", "is answered"), Latch::at("select id, queue_url", "is answered"));
    let pool = pool_through(&world, &latches).await;
    let tokens = Some("select max(token) from redrive_outbox_lane");
    let listener = Arc::new(Meanwhile { when_it_leaves: tokens, ..Meanwhile::new(&world.pool) });
    let relay = relay_heard_by(&world, &pool, &listener).lease(secs(20)).drain_until(std::future::pending());
    // Each of the two stays within its own limit, which is a third of the lease.
    let slow = async {
        for latch in [&latches.0, &latches.1] {
            latch.has_come().await;
            advance(secs(6)).await;
            latch.open();
        }
    };
    let (ended, ()) = tokio::join!(in_time(relay), slow);
    ended.unwrap();
    assert_eq!(listener.numbers(), [2], "the first claim has begun nothing, and the second has");
    assert_eq!(world.states().await, ["sent"]);
}

#[tokio::test]
async fn no_transaction_is_open_while_a_call_is_under_way() {
    let world = World::<Postgres>::new("orders").await;
    world.enqueue(Outgoing::text("x")).await;
    // Chores and looks have short transactions too.
    let takes = Duration::from_millis(1_500);
    let open = Some(
        "select count(*) from pg_stat_activity where datname = current_database() and state like 'idle in transaction%'
            and xact_start < clock_timestamp() - interval '1 s'",
    );
    let listener = Arc::new(Meanwhile { when_it_leaves: open, takes, ..Meanwhile::new(&world.pool) });
    in_time(relay_heard_by(&world, &world.pool, &listener).drain_until(std::future::pending())).await.unwrap();
    assert_eq!(listener.numbers(), [0]);
}

/// Another client that writes for longer than a relay's connections wait.
#[derive(Debug)]
struct Busy(Pool<Sqlite>);

impl Listener for Busy {
    fn answered<'a>(&'a self, _: &'a [String], _: Option<&'a [String]>) -> BoxFuture<'a, ()> {
        Box::pin(async {
            let writing = self.0.begin_with("begin immediate").await.unwrap();
            tokio::spawn(async move {
                sleep(Duration::from_millis(300)).await;
                writing.rollback().await.unwrap();
            });
        })
    }
}

#[tokio::test]
async fn mark_waits_for_another_writer() {
    let world = World::<Sqlite>::new("orders").await;
    world.enqueue(Outgoing::text("x")).await;
    let options = world.pool.connect_options().as_ref().clone().busy_timeout(Duration::ZERO);
    let pool = SqlitePoolOptions::new().max_connections(4).connect_with(options).await.unwrap();
    let listener = Arc::new(Busy(world.pool.clone()));
    in_time(relay_heard_by(&world, &pool, &listener).drain_until(std::future::pending())).await.unwrap();
    assert_eq!(world.states().await, ["sent"]);
    assert_eq!(world.queue.bodies().await, ["x"]);
}
