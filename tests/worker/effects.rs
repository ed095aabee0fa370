//! Tests effects on a worker, whose leases may end while an effect is under way.

use std::time::Duration;

use aws_sdk_sqs::Client;
use redrive::{Backoff, Body, Consumer, Effects, Fifo, HandlerKind, Json, LastReceive, Outcome, ReceiveCount, State};
use redrive_local::Faults;
use tokio::time::{Instant, sleep};

use crate::kit::{Notes, Queue, Running, secs, timed};
use crate::wire::{self, broken};

/// Returns a client whose dead letters take `time` to send.
fn with_slow_letters(client: &Client, time: Duration) -> Client {
    wire::through(client, move |call| async move {
        if call.operation == "SendMessage" {
            sleep(time).await;
        }
        call.pass().await
    })
}

/// Returns a client that cannot change a visibility once the worker has begun.
fn without_heartbeats(client: &Client) -> Client {
    let began = Instant::now();
    wire::through(client, move |call| async move {
        match call.operation == "ChangeMessageVisibilityBatch" && began.elapsed() > secs(1) {
            true => broken(),
            false => call.pass().await,
        }
    })
}

/// Returns a consumer that notes each body and dead-letters those that begin with "poison".
fn dead_letters(client: Client, notes: &Notes) -> Consumer<impl HandlerKind> {
    let place = |Body(body): Body, State(notes): State<Notes>| async move {
        notes.add(&body);
        if body.starts_with("poison") { Outcome::DeadLetter("poison".into()) } else { Outcome::Done }
    };
    redrive::handler(place).effects(Effects::with_client(client)).with_state(notes.clone())
}

fn leased_for(worker: redrive::Worker<impl HandlerKind>, seconds: u64) -> Running {
    Running::begin(worker.visibility_timeout(secs(seconds)))
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_kept_while_its_dead_letter_is_sent() {
    let (queue, dead) = Queue::with_dead_letters("orders", 5).await;
    let notes = Notes::default();
    queue.send("poison").await;
    // A worker that holds the message receives no other one meanwhile. If it came back, the other worker would receive
    // it.
    let consumer = dead_letters(with_slow_letters(&queue.client, secs(8)), &notes).concurrency(1);
    let one = leased_for(queue.worker(consumer.clone()), 5);
    let other = leased_for(queue.worker(consumer), 5);
    let ((), took) = timed(queue.drained()).await;
    assert_eq!((notes.all(), took.as_secs()), (vec!["poison".to_owned()], 8));
    assert_eq!(dead.counts().await, (1, 0));
    one.end().await.unwrap();
    other.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_leases_behind_a_dead_letter_are_kept_while_it_is_sent() {
    let (queue, dead) = Queue::with_dead_letters("orders.fifo", 5).await;
    let notes = Notes::default();
    for body in ["1", "poison", "2", "3"] {
        queue.send_to("g", body).await;
    }
    let consumer = dead_letters(with_slow_letters(&queue.client, secs(8)), &notes);
    let one = leased_for(queue.worker(consumer.clone()), 5);
    let other = leased_for(queue.worker(consumer), 5);
    let ((), took) = timed(queue.drained()).await;
    assert_eq!(notes.all(), ["1", "poison", "2", "3"], "the group continues");
    assert_eq!((took.as_secs(), dead.counts().await), (8, (1, 0)));
    one.end().await.unwrap();
    other.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_does_not_run_again_though_its_lease_was_lost() {
    for name in ["orders", "orders.fifo"] {
        let (queue, dead) = Queue::with_dead_letters(name, 5).await;
        let notes = Notes::default();
        match name {
            "orders" => drop(queue.send("poison").await),
            _ => queue.send_to("g", "poison").await,
        }
        let consumer = dead_letters(with_slow_letters(&queue.client, secs(8)), &notes);
        let worker = leased_for(consumer.worker(without_heartbeats(&queue.client), &queue.url), 5);
        let ((), took) = timed(queue.drained()).await;
        assert_eq!((notes.all(), dead.counts().await), (vec!["poison".to_owned()], (1, 0)), "{name}");
        assert!(took < secs(21), "{took:?}");
        worker.end().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_whose_lease_was_lost_is_not_dead_lettered_here() {
    let (queue, dead) = Queue::with_dead_letters("orders", 5).await;
    let notes = Notes::default();
    queue.send("an order").await;
    let place = |ReceiveCount(count): ReceiveCount, State(notes): State<Notes>| async move {
        notes.add(count.to_string());
        if count == 1 {
            sleep(secs(100)).await;
        }
        Ok::<(), &str>(())
    };
    // The handler is cut off at the first receive, which would count as a failure.
    let effects = Effects::with_client(queue.client.clone()).dead_letter_at(1);
    let consumer = redrive::handler(place).effects(effects).with_state(notes.clone());
    let worker = leased_for(consumer.worker(without_heartbeats(&queue.client), &queue.url), 5);
    queue.drained().await;
    assert_eq!((notes.len(), dead.counts().await), (2, (0, 0)));
    worker.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_delay_is_not_set_after_the_end_of_the_lease() {
    let (queue, notes) = (Queue::with_messages(1).await, Notes::default());
    let place = |ReceiveCount(count): ReceiveCount, State(notes): State<Notes>| async move {
        notes.add(count.to_string());
        if count == 1 { Outcome::RetryAfter(secs(1_000)) } else { Outcome::Done }
    };
    // The first visibility change after the permission checks does not arrive in time.
    let began = Instant::now();
    let slow = wire::through(&queue.client, move |call| async move {
        if call.operation == "ChangeMessageVisibilityBatch" && began.elapsed() < secs(1) {
            sleep(secs(25)).await;
        }
        call.pass().await
    });
    let consumer = redrive::handler(place).effects(Effects::with_client(slow)).with_state(notes.clone());
    let worker = leased_for(queue.worker(consumer), 5);
    let ((), took) = timed(notes.until(2)).await;
    assert!(
        took < secs(12),
        "the message runs again at its visibility timeout, and the permit is free by then: {took:?}"
    );
    queue.drained().await;
    worker.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_message_is_retried_if_its_dead_letter_does_not_arrive() {
    let (queue, dead) = Queue::with_dead_letters("orders.fifo", 99).await;
    let notes = Notes::default();
    for body in ["poison", "2"] {
        queue.send_to("g", body).await;
    }
    let began = Instant::now();
    let client = wire::through(&queue.client, move |call| async move {
        let breaks = call.operation == "SendMessage" && began.elapsed() < secs(50);
        if breaks { broken() } else { call.pass().await }
    });
    let worker = queue.run(dead_letters(client, &notes));
    let ((), took) = timed(queue.drained()).await;
    assert_eq!(notes.all(), ["poison", "poison", "poison", "2"], "the group waits for the message");
    assert_eq!(dead.counts().await, (1, 0));
    assert_eq!(took.as_secs(), 60, "at its visibility timeout each time");
    worker.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_handler_knows_its_last_chance() {
    let (queue, dead) = Queue::with_dead_letters("orders", 9).await;
    let notes = Notes::default();
    queue.send("an order").await;
    let place = |ReceiveCount(count): ReceiveCount, LastReceive(is_last): LastReceive, State(notes): State<Notes>| async move {
        notes.add(format!("{count} {is_last}"));
        Err::<(), _>("down")
    };
    let effects = Effects::with_client(queue.client.clone()).dead_letter_at(3);
    let effects = effects.backoff(Backoff::exponential(secs(1)..secs(1)));
    let worker = queue.run(redrive::handler(place).effects(effects).with_state(notes.clone()));
    queue.drained().await;
    assert_eq!((notes.all(), dead.counts().await), (vec!["1 false".into(), "2 false".into(), "3 true".into()], (1, 0)));
    worker.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_delay_that_stops_the_batch_applies_to_its_own_group() {
    let (queue, notes) = (Queue::fifo().await, Notes::default());
    for body in ["a0", "a1", "b0", "c0", "a2", "b1"] {
        queue.send_to(&body[..1], body).await;
    }
    let place = |Body(body): Body, ReceiveCount(count): ReceiveCount, State(notes): State<Notes>| async move {
        if body == "a1" && count == 1 {
            return Outcome::RetryAfter(secs(12 * 3_600));
        }
        notes.add(body);
        Outcome::Done
    };
    let effects = Effects::with_client(queue.client.clone());
    let consumer = redrive::handler(place).fifo(Fifo::StopBatch).effects(effects).with_state(notes.clone());
    let worker = queue.run(consumer);
    sleep(secs(2)).await;
    let mut soon = notes.all();
    soon.sort();
    assert_eq!((soon, queue.counts().await), (vec!["a0".into(), "b0".into(), "b1".into(), "c0".into()], (0, 2)));
    let ((), took) = timed(notes.until(6)).await;
    assert_eq!(notes.all()[4..], ["a1", "a2"]);
    assert!(took > secs(11 * 3_600), "{took:?}");
    queue.drained().await;
    worker.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_outcomes_of_a_batch_handler_reach_the_queue() {
    let (queue, dead) = Queue::with_dead_letters("orders", 9).await;
    for number in 0..30 {
        queue.send(number.to_string()).await;
    }
    let store = |State(notes): State<Notes>, orders: Vec<(Json<u32>, ReceiveCount)>| async move {
        let outcome = |&(Json(number), ReceiveCount(count)): &(Json<u32>, ReceiveCount)| {
            notes.add(number.to_string());
            match number % 3 {
                0 if count < 2 => Outcome::RetryAfter(secs(5)),
                1 => Outcome::DeadLetter("one".into()),
                _ => Outcome::Done,
            }
        };
        orders.iter().map(outcome).collect::<Vec<_>>()
    };
    let effects = Effects::with_client(queue.client.clone());
    let worker = queue.run(redrive::batch(store).effects(effects).with_state(Notes::default()));
    let ((), took) = timed(queue.drained()).await;
    assert_eq!((took.as_secs(), dead.counts().await), (5, (10, 0)));
    worker.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_dead_letters_of_a_batch_handler_arrive_despite_faults() {
    let (queue, dead) = Queue::with_dead_letters("orders.fifo", 99).await;
    let notes = Notes::default();
    for number in 0..60 {
        queue.send_to(&(number % 6).to_string(), number.to_string()).await;
    }
    let store = |State(notes): State<Notes>, orders: Vec<Json<u32>>| async move {
        let outcome = |&Json(number): &Json<u32>| {
            notes.add(number.to_string());
            if number % 5 == 3 { Outcome::DeadLetter("a third".into()) } else { Outcome::Done }
        };
        orders.iter().map(outcome).collect::<Vec<_>>()
    };
    let effects = Effects::with_client(queue.client.clone());
    let consumer = redrive::batch(store).effects(effects).with_state(notes.clone());
    let (one, other) = (queue.run(consumer.clone()), queue.run(consumer));
    queue.sqs.set_faults(Faults::none().throttles(0.05).lost_requests(0.05).failed_entries(0.1));
    queue.drained().await;
    queue.sqs.set_faults(Faults::none());
    assert_eq!(dead.counts().await, (12, 0));
    for group in 0..6 {
        let of_group: Vec<u32> =
            notes.all().iter().map(|note| note.parse().unwrap()).filter(|number| number % 6 == group).collect();
        assert!(of_group.is_sorted(), "{of_group:?}");
    }
    one.end().await.unwrap();
    other.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_message_that_comes_back_at_once_runs_again() {
    let queue = Queue::standard().await;
    let place = |ReceiveCount(count): ReceiveCount| async move {
        if count < 4 { Outcome::RetryAfter(Duration::ZERO) } else { Outcome::Done }
    };
    let effects = Effects::with_client(queue.client.clone());
    queue.send("an order").await;
    let worker = leased_for(queue.worker(redrive::handler(place).effects(effects)), 3_600);
    let ((), took) = timed(queue.drained()).await;
    assert!(took < secs(10), "{took:?}");
    worker.end().await.unwrap();
}
