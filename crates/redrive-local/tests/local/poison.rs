//! Tests a poison message at the head of a FIFO group: later messages of the group have not failed.

use redrive::{Backoff, Body, Effects, ReceiveCount};
use redrive_local::{Delivery, Kit};

use crate::kit::secs;

/// Returns how often each message runs. "poison" always fails, and "follower" fails at its first run. A message is
/// dead-lettered after three failures, as `effects` counts them.
async fn runs(effects: impl Fn(Effects) -> Effects) -> Vec<(&'static str, usize)> {
    let kit = Kit::with_seed(1);
    let orders = kit.queue("orders.fifo").max_receive_count(50).create().await.unwrap();
    let place = |Body(body): Body, ReceiveCount(count): ReceiveCount| async move {
        if body == "poison" || (body == "follower" && count < 4) { Err("not yet") } else { Ok(()) }
    };
    let ours = Effects::with_client(orders.client().clone()).backoff(Backoff::exponential(secs(1)..secs(1)));
    orders.mapping(redrive::handler(place).effects(effects(ours.dead_letter_at(3)))).start().unwrap();
    for body in ["poison", "follower", "last"] {
        orders.send_to("g", body).await.unwrap();
    }
    kit.until_idle().await;
    let deliveries = orders.deliveries();
    let runs_of =
        |body: &str| deliveries.iter().filter(|Delivery { body: ran, .. }| ran.as_deref() == Some(body)).count();
    let mut runs: Vec<_> = ["poison", "follower", "last"].map(|body| (body, runs_of(body))).into();
    runs.push(("dead letters", orders.dead_letters().len()));
    runs
}

#[tokio::test(start_paused = true)]
async fn follower_that_fails_for_the_first_time_is_not_dead_lettered() {
    let runs = runs(|effects| effects).await;
    assert_eq!(runs, [("poison", 3), ("follower", 2), ("last", 1), ("dead letters", 1)]);
}

#[tokio::test(start_paused = true)]
async fn receives_count_as_failures_when_that_is_set() {
    let runs = runs(Effects::count_receives).await;
    assert_eq!(runs, [("poison", 3), ("follower", 1), ("last", 1), ("dead letters", 2)]);
}
