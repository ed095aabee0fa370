//! Tests how many records run at a time, and that invocations are independent.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Condvar, Mutex};
use std::time::Duration;

use lambda_runtime::Context;
use redrive::{Body, Consumer, HandlerKind, MessageId, Outcome, State};
use tokio::time::sleep;

use crate::kit::{answer, event, fifo_record, invoke, on_paused_clock, record, turns_of_another_task};

#[derive(Clone, Default)]
struct Gauge {
    now: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

async fn measured(State(gauge): State<Gauge>) {
    let now = gauge.now.fetch_add(1, Ordering::SeqCst) + 1;
    gauge.most.fetch_max(now, Ordering::SeqCst);
    sleep(Duration::from_secs(1)).await;
    gauge.now.fetch_sub(1, Ordering::SeqCst);
}

/// Returns the largest number of concurrent records and the seconds that the batch took.
fn most<K: HandlerKind>(consumer: impl Fn(Gauge) -> Consumer<K>, records: Vec<serde_json::Value>) -> (usize, u64) {
    on_paused_clock(async {
        let gauge = Gauge::default();
        let consumer = consumer(gauge.clone());
        let began = tokio::time::Instant::now();
        assert!(answer(&consumer, event(records)).await.unwrap().is_empty());
        (gauge.most.load(Ordering::SeqCst), began.elapsed().as_secs())
    })
}

fn records(count: usize) -> Vec<serde_json::Value> {
    (0..count).map(|id| record(&id.to_string(), "")).collect()
}

#[test]
fn concurrency_is_limited() {
    let consumer = |gauge| redrive::handler(measured).with_state(gauge);
    assert_eq!(most(consumer, records(200)), (64, 4));
    assert_eq!(most(|gauge| consumer(gauge).concurrency(7), records(70)), (7, 10));
    assert_eq!(most(|gauge| consumer(gauge).concurrency(0), records(3)), (1, 3));
    assert_eq!(most(|gauge| consumer(gauge).concurrency(1000), records(200)), (200, 1));
}

#[test]
fn concurrency_of_a_fifo_batch_is_its_number_of_groups() {
    let batch = (0..9).map(|id| fifo_record(&id.to_string(), &(id % 3).to_string(), "")).collect();
    assert_eq!(most(|gauge| redrive::handler(measured).with_state(gauge), batch), (3, 3));
}

async fn bulk(State(gauge): State<Gauge>, bodies: Vec<Body>) -> Vec<()> {
    measured(State(gauge)).await;
    vec![(); bodies.len()]
}

#[test]
fn concurrency_of_a_batch_handler_counts_chunks() {
    let consumer = |gauge| redrive::batch(bulk).with_state(gauge).chunk_size(5).concurrency(4);
    assert_eq!(most(consumer, records(100)), (4, 5));
}

#[test]
fn concurrency_of_a_batch_handler_counts_a_partial_chunk() {
    let consumer = |gauge| redrive::batch(bulk).with_state(gauge).chunk_size(2);
    assert_eq!(most(consumer, records(3)), (2, 1));
}

/// Handlers that meet at a barrier prove that they run on different threads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handlers_that_never_wait_use_every_thread() {
    let barrier = Arc::new(Barrier::new(2));
    let threads = Arc::new(Mutex::new(HashSet::new()));
    let consumer = redrive::handler({
        let threads = threads.clone();
        move || {
            threads.lock().unwrap().insert(std::thread::current().id());
            barrier.wait();
            std::future::ready(())
        }
    });
    assert!(answer(&consumer, event(records(2))).await.unwrap().is_empty());
    assert_eq!(threads.lock().unwrap().len(), 2);
}

#[test]
fn waiting_record_lets_the_next_one_start_at_once() {
    let wait = || sleep(Duration::from_millis(1));
    let took = on_paused_clock(async {
        let began = tokio::time::Instant::now();
        assert!(answer(&redrive::handler(wait), event(records(64))).await.unwrap().is_empty());
        began.elapsed()
    });
    assert!(took <= Duration::from_millis(2), "{took:?}");
}

/// A handler in `block_in_place` never returns `Pending`; tokio moves the other tasks to another thread.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn record_in_block_in_place_lets_the_next_one_start() {
    let (met, all) = (Arc::new(Mutex::new(0)), Arc::new(Condvar::new()));
    let meet = move || {
        let mut met = met.lock().unwrap();
        *met += 1;
        all.notify_all();
        let (_met, waited) = all.wait_timeout_while(met, Duration::from_secs(5), |met| *met < 4).unwrap();
        !waited.timed_out()
    };
    let block = move || {
        let met = tokio::task::block_in_place(&meet);
        async move { if met { Outcome::Done } else { Outcome::Retry } }
    };
    assert!(answer(&redrive::handler(block), event(records(4))).await.unwrap().is_empty());
}

/// Each lane clones the handler once, so the clones count the lanes.
#[test]
fn records_that_never_wait_share_a_lane() {
    struct Cloned(Arc<AtomicUsize>);
    impl Clone for Cloned {
        fn clone(&self) -> Self {
            self.0.fetch_add(1, Ordering::SeqCst);
            Self(self.0.clone())
        }
    }
    let clones = Arc::new(AtomicUsize::new(0));
    let of = |count| {
        let cloned = Cloned(clones.clone());
        let handler = redrive::handler(move || {
            let _ = &cloned;
            std::future::ready(())
        });
        on_paused_clock(answer(&handler, event(records(count)))).unwrap();
        clones.swap(0, Ordering::SeqCst)
    };
    assert_eq!(of(64), of(1));
}

/// A lane yields between records even if its handler never waits.
#[tokio::test]
async fn long_batch_yields_to_other_tasks() {
    let turns = turns_of_another_task();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let consumer = redrive::handler({
        let seen = seen.clone();
        move || {
            seen.lock().unwrap().push(turns.load(Ordering::SeqCst));
            // Blocks its thread, as CPU-heavy work does.
            std::thread::sleep(Duration::from_millis(1));
            std::future::ready(())
        }
    });
    assert!(answer(&consumer.concurrency(1), event(records(5))).await.unwrap().is_empty());
    let seen = seen.lock().unwrap();
    // The scheduler decides which of two yielding tasks goes on first.
    assert!(seen[4] >= seen[0] + 3, "{seen:?}");
}

#[tokio::test]
async fn long_batch_of_chunks_yields_to_other_tasks() {
    let turns = turns_of_another_task();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let consumer = redrive::batch({
        let seen = seen.clone();
        move |bodies: Vec<Body>| {
            seen.lock().unwrap().push(turns.load(Ordering::SeqCst));
            std::future::ready(vec![(); bodies.len()])
        }
    });
    assert!(answer(&consumer.chunk_size(1).concurrency(1), event(records(5))).await.unwrap().is_empty());
    let seen = seen.lock().unwrap();
    assert!(seen[4] >= seen[0] + 3, "{seen:?}");
}

#[test]
fn concurrent_invocations_are_independent() {
    on_paused_clock(async {
        // Both use the same message ids, and each fails the records that the other one completes.
        let consumer = redrive::handler(|MessageId(id): MessageId, context: Context| async move {
            sleep(Duration::from_secs(1)).await;
            if context.request_id == id { Outcome::Retry } else { Outcome::Done }
        });
        let call = |request_id: &str| {
            let mut context = Context::default();
            context.request_id = request_id.to_owned();
            invoke(&consumer, event(records(2)), context)
        };
        let (first, second) = tokio::join!(call("0"), call("1"));
        assert_eq!(first.unwrap(), ["0"]);
        assert_eq!(second.unwrap(), ["1"]);
    });
}
