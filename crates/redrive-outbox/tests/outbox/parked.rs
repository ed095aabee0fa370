//! SQS refuses a message: it is parked, and the messages behind it wait until there is no reason to.

use redrive_outbox::{Outbox, WhenParked};

use crate::database::{TestDatabase, on_each_database};
use crate::kit::{World, enqueue_all, of};

on_each_database! {
    refused_message_is_parked_and_holds_its_group
    refused_message_is_parked_and_its_group_continues
    retried_parked_message_is_sent
    held_rows_continue_in_order_after_the_parked_row_is_deleted
    held_rows_continue_when_parked_rows_stop_holding
    row_behind_held_rows_waits_for_them
    row_before_a_parked_row_is_sent
}

/// Writes a row that SQS refuses, as another program might.
async fn poison<DB: TestDatabase>(world: &World<DB>, body: &str) {
    world.enqueue(of(&body[..1], body)).await;
    DB::execute(&world.pool, &format!("update redrive_outbox set body = '' where body = '{body}'")).await;
}

/// Relays until this many messages are parked and held, and no other is left.
async fn relay_until_held<DB: TestDatabase>(world: &World<DB>, parked: u64, held: u64) {
    let until = world.until(|status| (status.parked, status.held, status.pending) == (parked, held, 0));
    world.relay().park_after(1).run_until(until).await.unwrap();
}

async fn refused_message_is_parked_and_holds_its_group<DB: TestDatabase>() {
    let world = World::<DB>::new("orders.fifo").await;
    enqueue_all(&world, &["a1", "b1"]).await;
    poison(&world, "a2").await;
    enqueue_all(&world, &["a3", "b2"]).await;
    let parked = world.until(|status| status.parked == 1 && status.held == 1 && status.pending == 0);
    world.relay().park_after(2).run_until(parked).await.unwrap();
    // A row that is written later waits too.
    enqueue_all(&world, &["a4", "b3"]).await;
    relay_until_held(&world, 1, 2).await;
    assert_eq!(world.states().await, ["sent", "sent", "parked", "held", "sent", "held", "sent"]);
    let parked = Outbox::parked(&world.pool, 10).await.unwrap().pop().unwrap();
    assert_eq!((parked.id, parked.attempts, parked.group.as_deref()), (3, 2, Some("a")));
    assert!(parked.error.contains("empty"), "{}", parked.error);
}

async fn refused_message_is_parked_and_its_group_continues<DB: TestDatabase>() {
    let world = World::<DB>::new("orders.fifo").await;
    poison(&world, "a1").await;
    enqueue_all(&world, &["a2", "a3"]).await;
    let relay = world.relay().park_after(3).when_parked(WhenParked::GoOn);
    relay.run_until(world.until(|status| status.pending == 0)).await.unwrap();
    assert_eq!(world.states().await, ["parked", "sent", "sent"]);
    assert_eq!(world.queue.bodies().await, ["a2", "a3"]);
}

async fn retried_parked_message_is_sent<DB: TestDatabase>() {
    let world = World::<DB>::new("orders.fifo").await;
    poison(&world, "a1").await;
    poison(&world, "b1").await;
    enqueue_all(&world, &["a2", "b2"]).await;
    relay_until_held(&world, 2, 2).await;
    DB::execute(&world.pool, "update redrive_outbox set body = 'mended' where body = ''").await;
    assert_eq!(Outbox::retry(&world.pool, Some(&[1])).await.unwrap(), 1);
    assert_eq!(world.states().await, ["pending", "parked", "pending", "held"]);
    world.relay_all().await;
    assert_eq!(world.queue.bodies().await, ["mended", "a2"]);
    assert_eq!(Outbox::retry(&world.pool, None).await.unwrap(), 1);
    world.relay_all().await;
    assert_eq!(world.queue.bodies().await, ["mended", "b2"]);
}

async fn held_rows_continue_in_order_after_the_parked_row_is_deleted<DB: TestDatabase>() {
    let world = World::<DB>::new("orders.fifo").await;
    poison(&world, "a1").await;
    enqueue_all(&world, &["a2", "a3"]).await;
    relay_until_held(&world, 1, 2).await;
    DB::execute(&world.pool, "delete from redrive_outbox where state = 'parked'").await;
    enqueue_all(&world, &["a4"]).await;
    world.relay().run_until(world.until(|status| status.pending + status.held == 0)).await.unwrap();
    assert_eq!(world.queue.bodies().await, ["a2", "a3", "a4"]);
}

async fn held_rows_continue_when_parked_rows_stop_holding<DB: TestDatabase>() {
    let world = World::<DB>::new("orders.fifo").await;
    poison(&world, "a1").await;
    enqueue_all(&world, &["a2", "a3"]).await;
    relay_until_held(&world, 1, 2).await;
    // No relay has marked this row as held.
    enqueue_all(&world, &["a4"]).await;
    let relay = world.relay().when_parked(WhenParked::GoOn);
    relay.run_until(world.until(|status| status.pending + status.held == 0)).await.unwrap();
    assert_eq!(world.states().await, ["parked", "sent", "sent", "sent"]);
    assert_eq!(world.queue.bodies().await, ["a2", "a3", "a4"]);
}

async fn row_behind_held_rows_waits_for_them<DB: TestDatabase>() {
    let world = World::<DB>::new("orders.fifo").await;
    poison(&world, "a1").await;
    enqueue_all(&world, &["a2"]).await;
    relay_until_held(&world, 1, 1).await;
    // This state arises when a row is retried while a relay holds one behind it.
    DB::execute(&world.pool, "update redrive_outbox set state = 'sent' where state = 'parked'").await;
    enqueue_all(&world, &["a3", "b1"]).await;
    // A relay releases held rows at its first look and then every minute. This relay is past its first look.
    let relay = world.relay();
    let held_again = async {
        world.until(|status| status.held + status.pending == 0).await;
        DB::execute(&world.pool, "update redrive_outbox set state = 'held' where body = 'a2'").await;
        enqueue_all(&world, &["a4", "b2"]).await;
        world.until(|status| (status.held, status.pending) == (1, 1)).await;
    };
    relay.run_until(held_again).await.unwrap();
    assert_eq!(world.states().await, ["sent", "held", "sent", "sent", "pending", "sent"]);
}

async fn row_before_a_parked_row_is_sent<DB: TestDatabase>() {
    let world = World::<DB>::new("orders.fifo").await;
    enqueue_all(&world, &["a1"]).await;
    // This row's transaction commits late.
    DB::execute(&world.pool, "update redrive_outbox set state = 'sent'").await;
    poison(&world, "a2").await;
    enqueue_all(&world, &["a3"]).await;
    relay_until_held(&world, 1, 1).await;
    DB::execute(&world.pool, "update redrive_outbox set state = 'pending' where body = 'a1'").await;
    relay_until_held(&world, 1, 1).await;
    assert_eq!(world.queue.bodies().await, ["a1"]);
}
