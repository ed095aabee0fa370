//! Tests polling: messages reach handlers, and no poll exceeds the permits.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use redrive::{Body, Consumer, FromRecord, HandlerKind, Json, Outcome, ReceiveCount, State};
use redrive_local::Faults;
use tokio::time::Instant;

use crate::kit::{Notes, Queue, Running, secs, timed};
use crate::script::{Reply, Script};

async fn note(Body(body): Body, State(notes): State<Notes>) {
    notes.add(body);
}

#[tokio::test(start_paused = true)]
async fn each_message_is_processed_and_deleted() {
    let (queue, notes) = (Queue::with_messages(25).await, Notes::default());
    let worker = queue.run(redrive::handler(note).with_state(notes.clone()));
    queue.drained().await;
    worker.end().await.unwrap();
    let mut seen: Vec<usize> = notes.all().iter().map(|body| body.parse().unwrap()).collect();
    seen.sort_unstable();
    assert_eq!(seen, (0..25).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_thousand_messages_of_a_full_queue_take_few_calls() {
    let (queue, notes) = (Queue::with_messages(1_000).await, Notes::default());
    let worker = queue.run(redrive::handler(note).with_state(notes.clone()));
    notes.until(1_000).await;
    queue.drained().await;
    assert!(queue.calls.total() <= 215, "{:?}", queue.calls.counts());
    worker.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_empty_queue_gets_one_poll_at_a_time() {
    let (queue, notes) = (Queue::with_messages(200).await, Notes::default());
    let worker = queue.run(redrive::handler(note).with_state(notes.clone()));
    notes.until(200).await;
    tokio::time::sleep(secs(60)).await;
    queue.calls.clear();
    tokio::time::sleep(secs(600)).await;
    assert!((29..=31).contains(&queue.calls.count("ReceiveMessage")), "{:?}", queue.calls.counts());
    worker.end().await.unwrap();
}

/// Returns how often a worker polls an empty queue in a minute, with this wait time.
async fn polls_a_minute(queue: &Queue, wait_time: Duration) -> usize {
    let worker = Running::begin(queue.worker(redrive::handler(note).with_state(Notes::default())).wait_time(wait_time));
    tokio::time::sleep(secs(10)).await;
    queue.calls.clear();
    tokio::time::sleep(secs(60)).await;
    let polls = queue.calls.count("ReceiveMessage");
    let (result, took) = timed(worker.end()).await;
    assert!(result.is_ok() && took <= secs(20), "{took:?}");
    polls
}

#[tokio::test(start_paused = true)]
async fn an_empty_queue_is_polled_once_a_second_without_a_wait_time() {
    for queue in [Queue::standard().await, Queue::fifo().await] {
        let polls = polls_a_minute(&queue, Duration::ZERO).await;
        assert!((59..=61).contains(&polls), "{polls}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_wait_time_below_a_second_is_rounded_up() {
    let polls = polls_a_minute(&Queue::standard().await, Duration::from_millis(1)).await;
    assert!((58..=61).contains(&polls), "{polls}");
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_ignores_the_wait_time_is_polled_once_a_second() {
    let script = Script::standard(|call| match &*call.operation {
        "ReceiveMessage" => Reply::messages([]),
        _ => Reply::usual(),
    });
    let worker = Running::begin(script.worker(redrive::handler(note).with_state(Notes::default())));
    tokio::time::sleep(secs(60)).await;
    worker.end().await.unwrap();
    let polls = script.calls("ReceiveMessage").len();
    assert!((55..=70).contains(&polls), "{polls}");
}

#[tokio::test(start_paused = true)]
async fn a_message_resets_the_pause_between_polls() {
    let (queue, notes) = (Queue::standard().await, Notes::default());
    let worker = queue.worker(redrive::handler(note).with_state(notes.clone())).wait_time(Duration::ZERO);
    let worker = Running::begin(worker);
    tokio::time::sleep(secs(60)).await;
    queue.send("first").await;
    let ((), took) = timed(notes.until(1)).await;
    assert!(took <= secs(1), "{took:?}");
    // The next message does not wait for a second.
    queue.send("second").await;
    let ((), took) = timed(notes.until(2)).await;
    assert!(took <= Duration::from_millis(200), "{took:?}");
    worker.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_does_not_wait_for_the_pause_between_polls() {
    let queue = Queue::standard().await;
    let worker = queue.worker(redrive::handler(note).with_state(Notes::default())).wait_time(Duration::ZERO);
    let worker = Running::begin(worker);
    tokio::time::sleep(Duration::from_millis(10_300)).await;
    let (result, took) = timed(worker.end()).await;
    assert!(result.is_ok() && took < Duration::from_millis(200), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn no_message_is_received_without_a_permit() {
    let queue = Queue::with_messages(100).await;
    let hang = |Body(_): Body| async { pending::<()>().await };
    let _worker = queue.run(redrive::handler(hang).concurrency(23));
    for _ in 0..50 {
        tokio::time::sleep(secs(1)).await;
        assert!(queue.counts().await.1 <= 23, "{:?}", queue.counts().await);
    }
    assert_eq!(queue.counts().await, (77, 23));
}

#[tokio::test(start_paused = true)]
async fn one_slow_message_does_not_stop_the_polling() {
    let (queue, notes) = (Queue::standard().await, Notes::default());
    // One poll receives both messages.
    queue.send("slow").await;
    queue.send("quick").await;
    let place = |Body(body): Body, State(notes): State<Notes>| async move {
        if body == "slow" {
            pending::<()>().await;
        }
        notes.add(body);
    };
    let _worker = queue.run(redrive::handler(place).concurrency(2).with_state(notes.clone()));
    notes.until(1).await;
    for number in 0..100 {
        queue.send(number.to_string()).await;
    }
    let ((), took) = timed(notes.until(101)).await;
    assert!(took < secs(5), "{took:?}");
}

/// Counts how many handlers run at a time.
#[derive(Clone, Default)]
struct Busy {
    running: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

impl Busy {
    /// Runs as a handler for that time.
    async fn for_a(&self, time: Duration) {
        self.most.fetch_max(self.running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        tokio::time::sleep(time).await;
        self.running.fetch_sub(1, Ordering::SeqCst);
    }

    fn most(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }
}

#[tokio::test(start_paused = true)]
async fn as_many_handlers_run_as_the_concurrency_allows() {
    let queue = Queue::standard().await;
    let busy = Busy::default();
    for number in 0..500 {
        queue.send(number.to_string()).await;
    }
    let place = |Body(_): Body, State(busy): State<Busy>| async move { busy.for_a(secs(1)).await };
    let consumer = redrive::handler(place).concurrency(50).with_state(busy.clone());
    let began = Instant::now();
    let _worker = queue.run(consumer);
    queue.drained().await;
    assert_eq!(busy.most(), 50);
    assert!(began.elapsed() < Duration::from_millis(10_500), "{:?}", began.elapsed());
}

/// Returns a batch handler for chunks of this size at this concurrency. It takes a second for each message.
fn chunks<T: FromRecord<Busy> + Send + 'static>(
    chunk_size: usize,
    concurrency: usize,
    busy: &Busy,
) -> Consumer<impl HandlerKind> {
    let place = |State(busy): State<Busy>, bodies: Vec<T>| async move {
        let count = bodies.len();
        busy.for_a(secs(count as u64)).await;
        vec![Outcome::Done; count]
    };
    redrive::batch(place).chunk_size(chunk_size).concurrency(concurrency).with_state(busy.clone())
}

#[tokio::test(start_paused = true)]
async fn small_chunks_run_at_the_full_concurrency_and_no_more() {
    for (concurrency, chunk_size) in [(1, 100), (4, 100), (3, 10), (5, 7), (3, 3), (2, 1), (25, 3)] {
        let (queue, busy) = (Queue::standard().await, Busy::default());
        let worker = queue.run(chunks::<Body>(chunk_size, concurrency, &busy));
        for number in 0..60 {
            queue.send(number.to_string()).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        queue.drained().await;
        assert_eq!(busy.most(), concurrency, "chunks of {chunk_size} that trickle in");
        worker.end().await.unwrap();

        let (queue, busy) = (Queue::with_messages(300).await, Busy::default());
        let worker = queue.run(chunks::<Body>(chunk_size, concurrency, &busy));
        queue.drained().await;
        assert_eq!(busy.most(), concurrency, "chunks of {chunk_size} of a full queue");
        worker.end().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn one_slow_chunk_does_not_stop_the_polling() {
    for chunk_size in [2, 3, 5, 10] {
        let (queue, notes) = (Queue::standard().await, Notes::default());
        let place = |State(notes): State<Notes>, bodies: Vec<Body>| async move {
            if bodies.iter().any(|Body(body)| body == "slow") {
                pending::<()>().await;
            }
            bodies.iter().for_each(|Body(body)| notes.add(body.clone()));
            bodies.iter().map(|_| Outcome::Done).collect::<Vec<_>>()
        };
        for number in 0..40 {
            queue.send(if number == 0 { "slow".to_owned() } else { number.to_string() }).await;
        }
        let consumer = redrive::batch(place).chunk_size(chunk_size).concurrency(2).with_state(notes.clone());
        let _worker = queue.run(consumer);
        notes.until(40 - chunk_size).await;
    }
}

/// Tests that a message that ends before its chunk's call leaves no room for another call.
#[tokio::test(start_paused = true)]
async fn rejected_messages_of_a_chunk_free_no_permit_for_another_call() {
    for chunk_size in [10, 5] {
        let (queue, busy) = (Queue::standard().await, Busy::default());
        for number in 0..100 {
            queue.send(if number % 5 == 0 { "7" } else { "no number" }).await;
        }
        let _worker = queue.run(chunks::<Json<u32>>(chunk_size, 3, &busy));
        tokio::time::sleep(secs(1_000)).await;
        assert_eq!(busy.most(), 3, "chunks of {chunk_size}");
    }
}

#[tokio::test(start_paused = true)]
async fn chunks_of_groups_of_different_lengths_run_at_the_full_concurrency() {
    for (concurrency, chunk_size) in [(2, 10), (3, 3), (4, 2), (5, 7)] {
        let (queue, busy) = (Queue::fifo().await, Busy::default());
        for number in 0..200_usize {
            queue.send_to(&(number % 23 * (number % 3)).to_string(), number.to_string()).await;
        }
        let worker = queue.run(chunks::<Body>(chunk_size, concurrency, &busy));
        queue.drained().await;
        assert_eq!(busy.most(), concurrency, "chunks of {chunk_size}");
        worker.end().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn chunks_shortened_by_a_rate_limit_run_at_the_full_concurrency() {
    let (queue, busy) = (Queue::with_messages(60).await, Busy::default());
    let worker = Running::begin(queue.worker(chunks::<Body>(10, 2, &busy)).messages_per_second(4.0));
    queue.drained().await;
    assert_eq!(busy.most(), 2);
    worker.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_failed_message_comes_back_at_its_visibility_timeout() {
    let (queue, notes) = (Queue::standard().await, Notes::default());
    queue.send("an order").await;
    let place = |ReceiveCount(count): ReceiveCount, State(notes): State<Notes>| async move {
        notes.add(count.to_string());
        if count < 3 { Outcome::Retry } else { Outcome::Done }
    };
    let _worker = queue.run(redrive::handler(place).with_state(notes.clone()));
    let ((), took) = timed(queue.drained()).await;
    assert_eq!(notes.all(), ["1", "2", "3"]);
    assert_eq!(took.as_secs(), 60);
}

#[tokio::test(start_paused = true)]
async fn a_poll_without_an_answer_is_given_up() {
    let (queue, notes) = (Queue::standard().await, Notes::default());
    let worker = queue.run(redrive::handler(note).with_state(notes.clone()));
    tokio::time::sleep(secs(1)).await;
    queue.sqs.set_faults(Faults::none().slow_calls(1.0, secs(1_000_000)));
    // The next poll begins and gets no answer.
    tokio::time::sleep(secs(25)).await;
    queue.sqs.set_faults(Faults::none());
    queue.send("an order").await;
    let ((), took) = timed(notes.until(1)).await;
    assert!(took < secs(40), "{took:?}");
    worker.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn polling_continues_after_throttles_and_broken_connections() {
    let (queue, notes) = (Queue::standard().await, Notes::default());
    let worker = queue.run(redrive::handler(note).with_state(notes.clone()));
    tokio::time::sleep(secs(1)).await;
    for faults in [Faults::none().throttles(1.0), Faults::none().lost_requests(1.0)] {
        queue.sqs.set_faults(faults);
        tokio::time::sleep(secs(300)).await;
        queue.sqs.set_faults(Faults::none());
        notes.clear();
        queue.send("an order").await;
        let ((), took) = timed(notes.until(1)).await;
        assert!(took < secs(30), "{took:?}");
        queue.drained().await;
    }
    worker.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_processed_message_that_comes_back_is_deleted_without_a_run() {
    let (queue, notes) = (Queue::standard().await, Notes::default());
    let worker = queue.run(redrive::handler(note).with_state(notes.clone()));
    tokio::time::sleep(secs(1)).await;
    queue.send("an order").await;
    // No delete arrives.
    while notes.len() == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    queue.sqs.set_faults(Faults::none().refused_entries(1.0));
    tokio::time::sleep(secs(20)).await;
    queue.sqs.set_faults(Faults::none());
    assert_eq!(queue.counts().await, (0, 1));
    queue.drained().await;
    assert_eq!(notes.all(), ["an order"]);
    worker.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_message_received_twice_runs_once_and_is_settled_twice() {
    let (queue, notes) = (Queue::with_messages(100).await, Notes::default());
    queue.sqs.set_faults(Faults::none().duplicates(0.5));
    let worker = queue.run(redrive::handler(note).with_state(notes.clone()));
    queue.drained().await;
    assert_eq!(notes.len(), 100);
    worker.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_paused_worker_does_not_poll_until_it_is_resumed() {
    let (queue, notes) = (Queue::standard().await, Notes::default());
    let worker = queue.worker(redrive::handler(note).with_state(notes.clone()));
    let handle = worker.handle();
    let worker = Running::begin(worker);
    tokio::time::sleep(secs(1)).await;
    handle.pause();
    // The poll under way ends.
    tokio::time::sleep(secs(21)).await;
    queue.send("an order").await;
    tokio::time::sleep(secs(3_600)).await;
    assert_eq!((queue.counts().await, handle.is_paused()), ((1, 0), true));
    handle.resume();
    queue.drained().await;
    handle.pause();
    let (result, took) = timed(worker.end()).await;
    assert!(result.is_ok() && took < secs(21), "a paused worker ends too: {took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_poll_skipped_during_a_pause_uses_no_rate_limit() {
    let (queue, notes) = (Queue::with_messages(2).await, Notes::default());
    let slow = redrive::handler(async |body: Body, notes: State<Notes>| {
        note(body, notes).await;
        tokio::time::sleep(secs(20)).await;
    });
    // The limit is one message in ten seconds. One token is there when the first message has ended.
    let worker = queue.worker(slow.with_state(notes.clone()).concurrency(1)).messages_per_second(0.1);
    let handle = worker.handle();
    let worker = Running::begin(worker);
    tokio::time::sleep(secs(15)).await;
    handle.pause();
    tokio::time::sleep(secs(6)).await;
    assert_eq!(notes.len(), 1);
    handle.resume();
    let ((), took) = timed(notes.until(2)).await;
    assert!(took < secs(1), "{took:?}");
    worker.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn messages_begin_within_the_rate_limit() {
    let (queue, notes) = (Queue::with_messages(200).await, Notes::default());
    let worker = queue.worker(redrive::handler(note).with_state(notes.clone())).messages_per_second(10.0);
    let worker = Running::begin(worker);
    let ((), took) = timed(notes.until(200)).await;
    assert!((secs(18)..secs(21)).contains(&took), "{took:?}");
    worker.end().await.unwrap();
}
