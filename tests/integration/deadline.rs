//! Tests that the answer is sent before the deadline.

use std::time::Duration;

use lambda_runtime::Context;
use redrive::{Body, Consumer, HandlerKind};
use tokio::time::{Instant, sleep};

use crate::kit::{answer_within, event, invoke, on_paused_clock, record};

async fn sleeps(Body(seconds): Body) {
    match seconds.parse() {
        Ok(seconds) => sleep(Duration::from_secs(seconds)).await,
        Err(_) => std::future::pending().await,
    }
}

/// Runs a record for each number of seconds. Returns the reported ids and the milliseconds until the answer.
async fn reported<K: HandlerKind>(consumer: &Consumer<K>, seconds: &[&str], within: Duration) -> (Vec<String>, u128) {
    let began = Instant::now();
    let records: Vec<_> = seconds.iter().map(|seconds| record(seconds, seconds)).collect();
    let reported = answer_within(consumer, event(records), within).await.unwrap();
    (reported, began.elapsed().as_millis())
}

#[test]
fn running_records_are_cut_off_a_margin_before_the_deadline() {
    on_paused_clock(async {
        let consumer = redrive::handler(sleeps);
        let (reported, took) = reported(&consumer, &["1", "forever", "2", "60"], Duration::from_secs(10)).await;
        assert_eq!(reported, ["forever", "60"]);
        // The deadline is a wall-clock time in whole milliseconds.
        assert!((9_700..=9_800).contains(&took), "{took}");
    });
}

#[test]
fn records_that_never_ran_are_reported() {
    on_paused_clock(async {
        let consumer = redrive::handler(sleeps).concurrency(2);
        let (reported, _) = reported(&consumer, &["1", "forever", "60", "2"], Duration::from_secs(10)).await;
        assert_eq!(reported, ["forever", "60", "2"]);
    });
}

#[test]
fn margin_is_at_most_half_of_the_remaining_time() {
    on_paused_clock(async {
        let consumer = redrive::handler(sleeps).deadline_margin(Duration::from_secs(4));
        let (_, took) = reported(&consumer, &["forever"], Duration::from_secs(10)).await;
        assert!((5_900..=6_000).contains(&took), "{took}");
        let (_, took) = reported(&consumer, &["forever"], Duration::from_secs(2)).await;
        assert!((900..=1_000).contains(&took), "{took}");
    });
}

#[test]
fn past_or_zero_deadline_is_ignored() {
    on_paused_clock(async {
        for deadline in [0, 600_000] {
            let mut context = Context::default();
            context.deadline = deadline;
            let consumer = redrive::handler(sleeps);
            let reported = invoke(&consumer, event([record("1", "100000")]), context).await.unwrap();
            assert!(reported.is_empty());
        }
    });
}

#[test]
fn done_batch_is_answered_before_the_deadline() {
    on_paused_clock(async {
        let (reported, took) = reported(&redrive::handler(sleeps), &["1"], Duration::from_secs(900)).await;
        assert!(reported.is_empty());
        assert!((1_000..1_100).contains(&took), "{took}");
    });
}

#[test]
fn cut_off_handler_is_dropped() {
    on_paused_clock(async {
        let held = std::sync::Arc::new(());
        let consumer = redrive::handler({
            let held = held.clone();
            move || {
                let held = held.clone();
                async move {
                    std::future::pending::<()>().await;
                    drop(held);
                }
            }
        });
        let before = std::sync::Arc::strong_count(&held);
        let (reported, _) = reported(&consumer, &["forever"], Duration::from_secs(10)).await;
        assert_eq!(reported, ["forever"]);
        tokio::task::yield_now().await;
        drop(consumer);
        assert!(std::sync::Arc::strong_count(&held) <= before);
    });
}
