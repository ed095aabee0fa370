//! A poison message at the head of a FIFO group: what stands behind it has not failed.

use redrive::{Backoff, Body, Effects, ReceiveCount};
use redrive_local::{Delivery, Kit};

use crate::kit::secs;

/// How often each of these has run, where "poison" always fails, and "follower" at its first run. A message that fails three times is a
/// dead letter, by what `effects` counts.
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
async fn a_follower_that_fails_for_the_first_time_is_no_dead_letter() {
    let runs = runs(|effects| effects).await;
    assert_eq!(runs, [("poison", 3), ("follower", 2), ("last", 1), ("dead letters", 1)]);
}

#[tokio::test(start_paused = true)]
async fn receives_count_where_that_is_asked_for() {
    let runs = runs(Effects::count_receives).await;
    assert_eq!(runs, [("poison", 3), ("follower", 1), ("last", 1), ("dead letters", 2)]);
}
