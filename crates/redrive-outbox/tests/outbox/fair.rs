//! Queues, partitions and groups do not delay one another.

use std::time::Duration;

use redrive::{Backoff, Outgoing};
use redrive_local::Faults;
use redrive_outbox::Outbox;
use tokio::time::Instant;

use crate::database::{TestDatabase, on_each_database};
use crate::kit::{MOMENT, World, in_time, of};

on_each_database! {
    missing_queue_does_not_delay_other_queues
    partitions_with_due_rows_take_turns
    long_group_does_not_delay_other_groups
    large_messages_are_read_a_few_at_a_time
}

/// Copies the first row this many times.
async fn multiply<DB: TestDatabase>(world: &World<DB>, copies: usize) {
    let copy = "insert into redrive_outbox (message_id, queue_url, group_id, order_key, lane, body, attributes)
        select message_id || n, queue_url, group_id, order_key, lane, body, attributes from redrive_outbox,
            (with recursive numbers (n) as (select 1 union all select n + 1 from numbers where n < COPIES)
            select n from numbers) numbers
        where id = 1";
    DB::execute(&world.pool, &copy.replace("COPIES", &copies.to_string())).await;
}

/// Writes a message for a queue that does not exist.
async fn enqueue_for_missing_queue<DB: TestDatabase>(world: &World<DB>) {
    let missing = Outbox::new(world.queue.url.replace("orders", "missing"));
    let mut transaction = world.pool.begin().await.unwrap();
    missing.enqueue(&mut transaction, Outgoing::text("waits")).await.unwrap();
    transaction.commit().await.unwrap();
}

async fn missing_queue_does_not_delay_other_queues<DB: TestDatabase>() {
    let world = World::<DB>::new("orders").await;
    enqueue_for_missing_queue(&world).await;
    multiply(&world, 3_000).await;
    world.enqueue(Outgoing::text("goes")).await;
    // All rows are in one partition, and those for the missing queue are always due first.
    DB::execute(&world.pool, "update redrive_outbox set lane = 0").await;
    let relay = world.relay().backoff(Backoff::exponential(MOMENT..MOMENT));
    relay.run_until(world.until(|status| status.pending == 3_001)).await.unwrap();
    assert_eq!(world.queue.bodies().await, ["goes"]);
    // The first pass has several in flight. After that, one message goes ahead at a time.
    let tried = DB::numbers(&world.pool, "select count(*) from redrive_outbox where attempts > 0").await[0];
    assert!(tried < 1_000, "{tried} of them were tried");
}

async fn partitions_with_due_rows_take_turns<DB: TestDatabase>() {
    let world = World::<DB>::new("orders").await;
    enqueue_for_missing_queue(&world).await;
    // There are more due partitions than a relay claims at a time.
    multiply(&world, 100).await;
    DB::execute(&world.pool, "update redrive_outbox set lane = id - 1").await;
    world.enqueue(Outgoing::text("goes")).await;
    DB::execute(&world.pool, "update redrive_outbox set lane = 255 where body = 'goes'").await;
    let relay = world.relay().backoff(Backoff::exponential(Duration::ZERO..Duration::ZERO));
    relay.run_until(world.until(|status| status.pending == 101)).await.unwrap();
    assert_eq!(world.queue.bodies().await, ["goes"]);
}

async fn long_group_does_not_delay_other_groups<DB: TestDatabase>() {
    let world = World::<DB>::new("orders.fifo").await;
    world.enqueue(of("long", "x")).await;
    multiply(&world, 900).await;
    world.queue.sqs.set_faults(Faults::none().slow_calls(1.0, Duration::from_millis(80)));
    let begin = Instant::now();
    let other_is_sent = async {
        while world.queue.calls.total() == 0 {
            tokio::time::sleep(MOMENT).await;
        }
        world.enqueue(of("other", "y")).await;
        let sent = "select count(*) from redrive_outbox where body = 'y' and state = 'sent'";
        in_time(async {
            while DB::numbers(&world.pool, sent).await == [0] {
                tokio::time::sleep(MOMENT).await;
            }
        })
        .await;
    };
    world.relay().run_until(other_is_sent).await.unwrap();
    let sent = world.states().await.iter().filter(|state| *state == "sent").count();
    assert!(sent < 450, "{sent} were sent before it, in {:?}", begin.elapsed());
}

async fn large_messages_are_read_a_few_at_a_time<DB: TestDatabase>() {
    let world = World::<DB>::new("orders").await;
    world.enqueue(Outgoing::text("x".repeat(1_000_000))).await;
    multiply(&world, 39).await;
    // A pass with all of them would start them all, and the shutdown would wait for them.
    world.queue.sqs.set_faults(Faults::none().slow_calls(1.0, Duration::from_millis(50)));
    let begun = async {
        while world.queue.calls.total() == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    world.relay().concurrency(40).run_until(in_time(begun)).await.unwrap();
    let sent = world.states().await.iter().filter(|state| *state == "sent").count();
    assert!((1..=20).contains(&sent), "{sent} were in memory");
}
