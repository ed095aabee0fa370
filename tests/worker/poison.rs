//! Tests a poison message at the head of a FIFO group: the messages behind it have not failed.

use std::sync::{Arc, Mutex};

use redrive::{Backoff, Body, Effects, LastReceive, State};
use tokio::time::sleep;

use crate::kit::{Notes, Queue, secs};
use crate::log;

fn effects(queue: &Queue) -> Effects {
    Effects::with_client(queue.client.clone()).backoff(Backoff::exponential(secs(1)..secs(1))).dead_letter_at(3)
}

/// Runs these bodies on a queue. "poison" always fails, and "follower" fails at its first run. Returns the runs, each
/// with whether it was the last chance, and the number of dead letters.
async fn run(queue: (Queue, Queue), effects: Effects) -> (Vec<String>, usize) {
    let ((queue, dead), notes) = (queue, Notes::default());
    let place = |Body(body): Body, LastReceive(is_last): LastReceive, State(notes): State<Notes>| async move {
        let is_first = !notes.all().iter().any(|note| note.starts_with(&body));
        notes.add(format!("{body} {is_last}"));
        if body == "poison" || (body == "follower" && is_first) { Err("not yet") } else { Ok(()) }
    };
    let worker = queue.run(redrive::handler(place).effects(effects).with_state(notes.clone()));
    queue.drained().await;
    worker.end().await.unwrap();
    (notes.all(), dead.counts().await.0)
}

#[tokio::test(start_paused = true)]
async fn a_follower_that_fails_once_does_not_become_a_dead_letter() {
    let (queue, dead) = Queue::with_dead_letters("orders.fifo", 50).await;
    for body in ["poison", "follower", "last"] {
        queue.send_to("g", body).await;
    }
    let effects = effects(&queue);
    let (ran, dead) = run((queue, dead), effects).await;
    let expected = ["poison false", "poison false", "poison true", "follower false", "follower false", "last false"];
    assert_eq!((ran, dead), (expected.map(str::to_owned).into(), 1));
}

#[tokio::test(start_paused = true)]
async fn receives_count_as_failures_if_configured() {
    let (queue, dead) = Queue::with_dead_letters("orders.fifo", 50).await;
    for body in ["poison", "follower"] {
        queue.send_to("g", body).await;
    }
    let effects = effects(&queue).count_receives();
    let (ran, dead) = run((queue, dead), effects).await;
    assert_eq!((&*ran[3], dead), ("follower true", 2));
}

#[tokio::test(start_paused = true)]
async fn receives_by_other_consumers_without_a_run_do_not_count_as_failures() {
    let (queue, dead) = Queue::with_dead_letters("orders", 50).await;
    queue.send("follower").await;
    for _ in 0..5 {
        let receive = queue.sqs.client().receive_message().queue_url(&queue.url).visibility_timeout(0);
        assert_eq!(receive.send().await.unwrap().messages().len(), 1);
    }
    let effects = effects(&queue);
    let (ran, dead) = run((queue, dead), effects).await;
    assert_eq!((ran, dead), (vec!["follower false".to_owned(), "follower false".to_owned()], 0));
}

#[tokio::test(start_paused = true)]
async fn a_tail_that_comes_back_unrun_several_times_causes_one_warning() {
    let told = Arc::<Mutex<Vec<String>>>::default();
    let lines = told.clone();
    let _log = log::to(move |line| lines.lock().unwrap().push(line.text));
    let warnings = || told.lock().unwrap().iter().filter(|line| line.contains("return without a run behind")).count();
    let queue = Queue::fifo().await;
    for body in ["1", "2"] {
        queue.send_to("g", body).await;
    }
    let fail = |Body(_): Body| async { Err::<(), _>("down") };
    let _worker = queue.run(redrive::handler(fail));
    // The queue's visibility timeout is 30 s.
    sleep(secs(45)).await;
    assert_eq!(warnings(), 0, "the tail was received only twice");
    sleep(secs(300)).await;
    assert_eq!(warnings(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_standard_queue_causes_no_warning_about_tails() {
    let told = Arc::<Mutex<Vec<String>>>::default();
    let lines = told.clone();
    let _log = log::to(move |line| lines.lock().unwrap().push(line.text));
    let queue = Queue::with_messages(3).await;
    let fail = |Body(_): Body| async { Err::<(), _>("down") };
    let _worker = queue.run(redrive::handler(fail));
    sleep(secs(300)).await;
    assert!(!told.lock().unwrap().iter().any(|line| line.contains("return without a run behind")));
}
