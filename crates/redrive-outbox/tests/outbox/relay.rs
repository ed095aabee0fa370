//! A relay sends the rows of an outbox.

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
    failed_message_is_retried_while_its_group_waits
    missing_queue_parks_no_message
    another_relay_takes_over_after_a_death
    shortest_lease_suffices_for_a_slow_network
    clock_that_is_set_back_delays_no_message
    result_is_not_written_to_partitions_of_another_relay
    mark_counts_after_the_lease_until_another_relay_claims
    draining_relay_ends_when_it_is_idle
    old_sent_rows_are_deleted
    missing_tables_are_one_clear_error
    row_with_unreadable_attributes_is_parked
}

/// Returns the bodies of one group.
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

async fn failed_message_is_retried_while_its_group_waits<DB: TestDatabase>() {
    let world = World::<DB>::new("orders.fifo").await;
    world.queue.sqs.set_faults(Faults::none().failed_entries(0.8).throttles(0.2));
    let bodies: Vec<String> = (0..12).map(|n| format!("{}{n:02}", ["a", "b", "c"][n % 3])).collect();
    enqueue_all(&world, &bodies.iter().map(String::as_str).collect::<Vec<_>>()).await;
    // With a short lease a producer gives up soon, so that the relay itself has to retry.
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

async fn missing_queue_parks_no_message<DB: TestDatabase>() {
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

async fn another_relay_takes_over_after_a_death<DB: TestDatabase>() {
    let world = World::<DB>::new("orders").await;
    world.enqueue(Outgoing::text("x")).await;
    // This relay claims the partition and never comes back.
    world.queue.sqs.set_faults(Faults::none().slow_calls(1.0, secs(60)));
    let dead = tokio::time::timeout(Duration::from_millis(300), world.relay().run_until(std::future::pending()));
    assert!(dead.await.is_err());
    world.queue.sqs.set_faults(Faults::none());
    in_time(world.relay().drain_until(std::future::pending())).await.unwrap();
    assert_eq!(world.states().await, ["pending"], "another relay sent a row under a valid lease");
    DB::end_leases(&world.pool).await;
    world.relay_all().await;
    assert_eq!(world.states().await, ["sent"]);
}

async fn shortest_lease_suffices_for_a_slow_network<DB: TestDatabase>() {
    let world = World::<DB>::new("orders").await;
    world.enqueue(Outgoing::text("x")).await;
    let slow = tapped(&world.queue.client(), Arc::new(Slow(secs(1))));
    let relay = quick(Relay::new(world.pool.clone(), slow)).lease(Duration::ZERO);
    relay.run_until(world.until(|status| status.pending == 0)).await.unwrap();
    assert_eq!(DB::numbers(&world.pool, "select cast(attempts as bigint) from redrive_outbox").await, [1]);
}

/// A slow network.
#[derive(Debug)]
struct Slow(Duration);

impl Listener for Slow {
    fn leaves<'a>(&'a self, _: &'a [String]) -> BoxFuture<'a, ()> {
        Box::pin(tokio::time::sleep(self.0))
    }
}

async fn clock_that_is_set_back_delays_no_message<DB: TestDatabase>() {
    let world = World::<DB>::new("orders.fifo").await;
    for (body, seconds) in [("a1", 60), ("a2", 3_600)] {
        // Other relays had all partitions, and one of them died.
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

/// Runs a relay with a slow call, and other work during the call.
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

async fn result_is_not_written_to_partitions_of_another_relay<DB: TestDatabase>() {
    let world = World::<DB>::new("orders").await;
    for body in ["stolen", "still there"] {
        world.enqueue(Outgoing::text(body)).await;
    }
    DB::execute(&world.pool, "update redrive_outbox set lane = id").await;
    let steal = "update redrive_outbox_lane set token = token + 1000 where lane = 1";
    relay_with_a_slow_call(&world, async || DB::execute(&world.pool, steal).await).await;
    assert_eq!(world.states().await, ["pending", "sent"]);
}

async fn mark_counts_after_the_lease_until_another_relay_claims<DB: TestDatabase>() {
    let world = World::<DB>::new("orders").await;
    world.enqueue(Outgoing::text("x")).await;
    relay_with_a_slow_call(&world, async || DB::end_leases(&world.pool).await).await;
    assert_eq!(world.states().await, ["sent"]);
}

async fn draining_relay_ends_when_it_is_idle<DB: TestDatabase>() {
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

async fn old_sent_rows_are_deleted<DB: TestDatabase>() {
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

async fn missing_tables_are_one_clear_error<DB: TestDatabase>() {
    let world = World::<DB>::new("orders").await;
    DB::execute(&world.pool, "drop table redrive_outbox_migration").await;
    let relay = quick(Relay::new(world.pool.clone(), world.queue.client()));
    let error = relay.run_until(std::future::pending()).await.unwrap_err();
    assert!(error.is_no_tables() && error.to_string().contains("redrive outbox migrate"), "{error}");
}

async fn row_with_unreadable_attributes_is_parked<DB: TestDatabase>() {
    let world = World::<DB>::new("orders").await;
    world.enqueue(Outgoing::text("x")).await;
    DB::execute(&world.pool, "update redrive_outbox set attributes = '[7]'").await;
    world.relay().park_after(1).run_until(world.until(|status| status.parked == 1)).await.unwrap();
    let error = Outbox::parked(&world.pool, 1).await.unwrap().pop().unwrap().error;
    assert!(error.contains("attributes of its row"), "{error}");
}
