//! What a relay does with what is written.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use redrive::{Backoff, Outgoing};
use redrive_local::Faults;
use redrive_outbox::{Outbox, Relay};

use crate::database::{TestDatabase, on_each_database};
use crate::kit::{MOMENT, World, enqueue_all, in_time, of, quick};
use crate::queue::secs;
use crate::tap::{Listener, tapped};

on_each_database! {
    groups_are_sent_in_order
    what_fails_is_tried_again_and_its_group_waits
    a_queue_that_is_not_there_parks_nothing
    a_relay_that_died_is_followed_by_another
    the_shortest_lease_has_time_for_a_slow_network
    a_clock_that_is_set_back_has_nobody_wait
    a_mark_is_not_written_in_lanes_that_another_has
    a_mark_counts_after_the_lease_while_nobody_else_has_the_lanes
    a_relay_that_drains_ends_by_itself
    sent_rows_are_cleaned
    without_tables_there_is_one_clear_error
    attributes_of_others_that_cannot_be_read_are_parked
}

/// Those of one group.
fn of_group<'a>(bodies: &'a [String], group: &str) -> Vec<&'a str> {
    bodies.iter().map(String::as_str).filter(|body| body.starts_with(group)).collect()
}

async fn groups_are_sent_in_order<DB: TestDatabase>() {
    let world = World::<DB>::new("orders.fifo").await;
    enqueue_all(&world, &["a1", "b1", "a2", "c1", "a3", "b2"]).await;
    let relays = [world.relay(), world.relay(), world.relay()];
    let sent = || world.until(|status| status.pending == 0);
    for ended in futures_util::future::join_all(relays.map(|relay| relay.run_until(sent()))).await {
        ended.unwrap();
    }
    let bodies = world.queue.bodies().await;
    assert_eq!(bodies.len(), 6);
    assert_eq!(of_group(&bodies, "a"), ["a1", "a2", "a3"]);
    assert_eq!(of_group(&bodies, "b"), ["b1", "b2"]);
}

async fn what_fails_is_tried_again_and_its_group_waits<DB: TestDatabase>() {
    let world = World::<DB>::new("orders.fifo").await;
    world.queue.sqs.set_faults(Faults::none().failed_entries(0.8).throttles(0.2));
    let bodies: Vec<String> = (0..12).map(|n| format!("{}{n:02}", ["a", "b", "c"][n % 3])).collect();
    enqueue_all(&world, &bodies.iter().map(String::as_str).collect::<Vec<_>>()).await;
    // So that a producer gives up soon, and the relay has something to do.
    let relay = world.relay().lease(secs(10));
    relay.run_until(world.until(|status| status.pending == 0)).await.unwrap();
    let again = "select count(*) from redrive_outbox where attempts > 1";
    assert!(DB::numbers(&world.pool, again).await[0] > 0);
    world.queue.sqs.set_faults(Faults::none());
    let there = world.queue.bodies().await;
    assert_eq!(there.len(), bodies.len());
    for group in ["a", "b", "c"] {
        assert_eq!(of_group(&there, group), of_group(&bodies, group));
    }
}

async fn a_queue_that_is_not_there_parks_nothing<DB: TestDatabase>() {
    let mut world = World::<DB>::new("orders").await;
    world.enqueue(Outgoing::text("goes on")).await;
    world.outbox = Outbox::new(world.queue.url.replace("orders", "missing"));
    world.enqueue(Outgoing::text("waits")).await;
    let tried = async {
        let often = "select id from redrive_outbox where attempts > 3";
        while DB::numbers(&world.pool, often).await.is_empty() {
            tokio::time::sleep(MOMENT).await;
        }
    };
    world.relay().park_after(1).run_until(in_time(tried)).await.unwrap();
    assert_eq!(world.states().await, ["sent", "pending"]);
    let error = DB::texts(&world.pool, "select last_error from redrive_outbox where attempts > 3").await;
    assert!(error[0].contains("sqs:SendMessage"), "{error:?}");
}

async fn a_relay_that_died_is_followed_by_another<DB: TestDatabase>() {
    let world = World::<DB>::new("orders").await;
    world.enqueue(Outgoing::text("x")).await;
    // It has claimed the lane, and never comes back.
    world.queue.sqs.set_faults(Faults::none().slow_calls(1.0, secs(60)));
    let dead = tokio::time::timeout(Duration::from_millis(300), world.relay().run_until(std::future::pending()));
    assert!(dead.await.is_err());
    world.queue.sqs.set_faults(Faults::none());
    in_time(world.relay().drain_until(std::future::pending())).await.unwrap();
    assert_eq!(world.states().await, ["pending"], "the lease held no one back");
    DB::end_leases(&world.pool).await;
    world.relay_all().await;
    assert_eq!(world.states().await, ["sent"]);
}

async fn the_shortest_lease_has_time_for_a_slow_network<DB: TestDatabase>() {
    let world = World::<DB>::new("orders").await;
    world.enqueue(Outgoing::text("x")).await;
    let slow = tapped(&world.queue.client(), Arc::new(Slow(secs(1))));
    let relay = quick(Relay::new(world.pool.clone(), slow)).lease(Duration::ZERO);
    relay.run_until(world.until(|status| status.pending == 0)).await.unwrap();
    assert_eq!(DB::numbers(&world.pool, "select cast(attempts as bigint) from redrive_outbox").await, [1]);
}

/// A network that takes its time.
#[derive(Debug)]
struct Slow(Duration);

impl Listener for Slow {
    fn leaves<'a>(&'a self, _: &'a [String]) -> BoxFuture<'a, ()> {
        Box::pin(tokio::time::sleep(self.0))
    }
}

async fn a_clock_that_is_set_back_has_nobody_wait<DB: TestDatabase>() {
    let world = World::<DB>::new("orders.fifo").await;
    for (body, seconds) in [("a1", 60), ("a2", 3_600)] {
        // All lanes had somebody, and one has somebody who died.
        DB::execute(&world.pool, "update redrive_outbox_lane set token = token + 1").await;
        world.enqueue(of("a", body)).await;
        world.relay_all().await;
        world.enqueue(of("a", &format!("{body} too"))).await;
        DB::set_clock_back(&world.pool, seconds).await;
        world.relay_all().await;
    }
    assert_eq!(world.queue.bodies().await, ["a1", "a1 too", "a2", "a2 too"]);
    world.enqueue(of("a", "a3")).await;
    world.queue.sqs.set_faults(Faults::none().slow_calls(1.0, secs(60)));
    let dies = tokio::time::timeout(Duration::from_millis(300), world.relay().run_until(std::future::pending()));
    assert!(dies.await.is_err());
    world.queue.sqs.set_faults(Faults::none());
    DB::set_clock_back(&world.pool, 3_600).await;
    world.relay_all().await;
    assert_eq!(world.queue.bodies().await, ["a3"]);
}

/// What happens while a call is under way that takes its time.
async fn relay_with_a_slow_call<DB: TestDatabase>(world: &World<DB>, meanwhile: impl AsyncFnOnce()) {
    world.queue.sqs.set_faults(Faults::none().slow_calls(1.0, secs(4)));
    let relay = world.relay();
    let begun = async {
        while world.queue.calls.total() == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        meanwhile().await;
    };
    in_time(relay.run_until(begun)).await.unwrap();
}

async fn a_mark_is_not_written_in_lanes_that_another_has<DB: TestDatabase>() {
    let world = World::<DB>::new("orders").await;
    for body in ["stolen", "still there"] {
        world.enqueue(Outgoing::text(body)).await;
    }
    DB::execute(&world.pool, "update redrive_outbox set lane = id").await;
    let steal = "update redrive_outbox_lane set token = token + 1000 where lane = 1";
    relay_with_a_slow_call(&world, async || DB::execute(&world.pool, steal).await).await;
    assert_eq!(world.states().await, ["pending", "sent"]);
}

async fn a_mark_counts_after_the_lease_while_nobody_else_has_the_lanes<DB: TestDatabase>() {
    let world = World::<DB>::new("orders").await;
    world.enqueue(Outgoing::text("x")).await;
    relay_with_a_slow_call(&world, async || DB::end_leases(&world.pool).await).await;
    assert_eq!(world.states().await, ["sent"]);
}

async fn a_relay_that_drains_ends_by_itself<DB: TestDatabase>() {
    let mut world = World::<DB>::new("orders").await;
    in_time(world.relay().drain_until(std::future::pending())).await.unwrap();
    for n in 0..300 {
        world.enqueue(Outgoing::text(n.to_string())).await;
    }
    world.outbox = Outbox::new(world.queue.url.replace("orders", "missing"));
    world.enqueue(Outgoing::text("waits for its next try")).await;
    let relay = world.relay().backoff(Backoff::exponential(secs(600)..secs(600)));
    in_time(relay.drain_until(std::future::pending())).await.unwrap();
    let pending = "select cast(attempts as bigint) from redrive_outbox where state = 'pending'";
    assert_eq!(DB::numbers(&world.pool, pending).await, [1]);
    assert_eq!(world.queue.bodies().await.len(), 300);
}

async fn sent_rows_are_cleaned<DB: TestDatabase>() {
    let world = World::<DB>::new("orders").await;
    for n in 0..5 {
        world.enqueue(Outgoing::text(n.to_string())).await;
    }
    world.relay_all().await;
    assert_eq!(world.states().await.len(), 5);
    let gone = async {
        while !world.states().await.is_empty() {
            tokio::time::sleep(MOMENT).await;
        }
    };
    world.relay().keep_sent(Duration::ZERO).run_until(in_time(gone)).await.unwrap();
}

async fn without_tables_there_is_one_clear_error<DB: TestDatabase>() {
    let world = World::<DB>::new("orders").await;
    DB::execute(&world.pool, "drop table redrive_outbox_migration").await;
    let relay = quick(Relay::new(world.pool.clone(), world.queue.client()));
    let error = relay.run_until(std::future::pending()).await.unwrap_err();
    assert!(error.is_no_tables() && error.to_string().contains("redrive outbox migrate"), "{error}");
}

async fn attributes_of_others_that_cannot_be_read_are_parked<DB: TestDatabase>() {
    let world = World::<DB>::new("orders").await;
    world.enqueue(Outgoing::text("x")).await;
    DB::execute(&world.pool, "update redrive_outbox set attributes = '[7]'").await;
    world.relay().park_after(1).run_until(world.until(|status| status.parked == 1)).await.unwrap();
    let error = Outbox::parked(&world.pool, 1).await.unwrap().pop().unwrap().error;
    assert!(error.contains("attributes of its row"), "{error}");
}
