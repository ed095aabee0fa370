//! What SQS refuses is put aside, and what is behind it waits, for as long as there is a reason.

use redrive_outbox::{Outbox, WhenParked};

use crate::database::{TestDatabase, on_each_database};
use crate::kit::{World, enqueue_all, of};

on_each_database! {
    poison_is_parked_and_holds_its_group
    poison_is_parked_and_its_group_goes_on
    what_was_parked_is_sent_when_it_is_retried
    what_is_held_goes_on_in_order_when_the_parked_row_is_deleted
    what_is_held_goes_on_when_parked_rows_hold_no_more
    what_is_written_behind_held_rows_waits_for_them
    a_row_before_the_parked_one_is_sent
}

/// A row that SQS refuses, as one may write who knows better.
async fn poison<DB: TestDatabase>(world: &World<DB>, body: &str) {
    world.enqueue(of(&body[..1], body)).await;
    DB::execute(&world.pool, &format!("update redrive_outbox set body = '' where body = '{body}'")).await;
}

/// Until so many are parked and held, and nothing else is left.
async fn relay_until_held<DB: TestDatabase>(world: &World<DB>, parked: u64, held: u64) {
    let until = world.until(|status| (status.parked, status.held, status.pending) == (parked, held, 0));
    world.relay().park_after(1).run_until(until).await.unwrap();
}

async fn poison_is_parked_and_holds_its_group<DB: TestDatabase>() {
    let world = World::<DB>::new("orders.fifo").await;
    enqueue_all(&world, &["a1", "b1"]).await;
    poison(&world, "a2").await;
    enqueue_all(&world, &["a3", "b2"]).await;
    let parked = world.until(|status| status.parked == 1 && status.held == 1 && status.pending == 0);
    world.relay().park_after(2).run_until(parked).await.unwrap();
    // What is written later waits too.
    enqueue_all(&world, &["a4", "b3"]).await;
    relay_until_held(&world, 1, 2).await;
    assert_eq!(world.states().await, ["sent", "sent", "parked", "held", "sent", "held", "sent"]);
    let parked = Outbox::parked(&world.pool, 10).await.unwrap().pop().unwrap();
    assert_eq!((parked.id, parked.attempts, parked.group.as_deref()), (3, 2, Some("a")));
    assert!(parked.error.contains("empty"), "{}", parked.error);
}

async fn poison_is_parked_and_its_group_goes_on<DB: TestDatabase>() {
    let world = World::<DB>::new("orders.fifo").await;
    poison(&world, "a1").await;
    enqueue_all(&world, &["a2", "a3"]).await;
    let relay = world.relay().park_after(3).when_parked(WhenParked::GoOn);
    relay.run_until(world.until(|status| status.pending == 0)).await.unwrap();
    assert_eq!(world.states().await, ["parked", "sent", "sent"]);
    assert_eq!(world.queue.bodies().await, ["a2", "a3"]);
}

async fn what_was_parked_is_sent_when_it_is_retried<DB: TestDatabase>() {
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

async fn what_is_held_goes_on_in_order_when_the_parked_row_is_deleted<DB: TestDatabase>() {
    let world = World::<DB>::new("orders.fifo").await;
    poison(&world, "a1").await;
    enqueue_all(&world, &["a2", "a3"]).await;
    relay_until_held(&world, 1, 2).await;
    DB::execute(&world.pool, "delete from redrive_outbox where state = 'parked'").await;
    enqueue_all(&world, &["a4"]).await;
    world.relay().run_until(world.until(|status| status.pending + status.held == 0)).await.unwrap();
    assert_eq!(world.queue.bodies().await, ["a2", "a3", "a4"]);
}

async fn what_is_held_goes_on_when_parked_rows_hold_no_more<DB: TestDatabase>() {
    let world = World::<DB>::new("orders.fifo").await;
    poison(&world, "a1").await;
    enqueue_all(&world, &["a2", "a3"]).await;
    relay_until_held(&world, 1, 2).await;
    // Nobody has put it aside.
    enqueue_all(&world, &["a4"]).await;
    let relay = world.relay().when_parked(WhenParked::GoOn);
    relay.run_until(world.until(|status| status.pending + status.held == 0)).await.unwrap();
    assert_eq!(world.states().await, ["parked", "sent", "sent", "sent"]);
    assert_eq!(world.queue.bodies().await, ["a2", "a3", "a4"]);
}

async fn what_is_written_behind_held_rows_waits_for_them<DB: TestDatabase>() {
    let world = World::<DB>::new("orders.fifo").await;
    poison(&world, "a1").await;
    enqueue_all(&world, &["a2"]).await;
    relay_until_held(&world, 1, 1).await;
    // As when the row was retried while one behind it was put aside.
    DB::execute(&world.pool, "update redrive_outbox set state = 'sent' where state = 'parked'").await;
    enqueue_all(&world, &["a3", "b1"]).await;
    // It has held rows go on at its first look, and every minute; this relay is past its first.
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

async fn a_row_before_the_parked_one_is_sent<DB: TestDatabase>() {
    let world = World::<DB>::new("orders.fifo").await;
    enqueue_all(&world, &["a1"]).await;
    // Its transaction is committed late.
    DB::execute(&world.pool, "update redrive_outbox set state = 'sent'").await;
    poison(&world, "a2").await;
    enqueue_all(&world, &["a3"]).await;
    relay_until_held(&world, 1, 1).await;
    DB::execute(&world.pool, "update redrive_outbox set state = 'pending' where body = 'a1'").await;
    relay_until_held(&world, 1, 1).await;
    assert_eq!(world.queue.bodies().await, ["a1"]);
}
