//! Groups in parallel, each in order, whatever happens.

use std::time::Duration;

use redrive::local::Faults;
use redrive::{Body, Effects, Outcome, ReceiveCount, State};
use tokio::time::sleep;

use crate::kit::{Notes, Queue, secs, timed};

async fn fill(queue: &Queue, groups: usize, messages: usize) {
    for number in 0..messages {
        for group in 0..groups {
            queue.send_to(&group.to_string(), format!("{group}-{number}")).await;
        }
    }
}

/// Whether each group's messages are in order, and none is missing.
fn assert_order(notes: &Notes, groups: usize, messages: usize) {
    for group in 0..groups {
        let mut of_group = notes.all();
        of_group.retain(|note| note.starts_with(&format!("{group}-")));
        // What was done and is not deleted may be done by another worker, before the next one is.
        of_group.dedup();
        let expected: Vec<_> = (0..messages).map(|number| format!("{group}-{number}")).collect();
        assert_eq!(of_group, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn groups_run_in_parallel_and_each_in_order() {
    let (queue, notes) = (Queue::fifo().await, Notes::default());
    fill(&queue, 5, 4).await;
    let place = |Body(body): Body, State(notes): State<Notes>| async move {
        sleep(secs(10)).await;
        notes.add(body);
    };
    let worker = queue.run(redrive::handler(place).with_state(notes.clone()));
    let ((), took) = timed(queue.drained()).await;
    assert_order(&notes, 5, 4);
    assert!(took < secs(85), "twenty in a row would take 200 s: {took:?}");
    worker.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_leases_of_those_that_wait_are_kept() {
    let (queue, notes) = (Queue::fifo().await, Notes::default());
    fill(&queue, 1, 5).await;
    let place = |Body(body): Body, ReceiveCount(count): ReceiveCount, State(notes): State<Notes>| async move {
        assert_eq!(count, 1);
        sleep(secs(50)).await;
        notes.add(body);
    };
    let consumer = redrive::handler(place).with_state(notes.clone());
    let (one, other) = (queue.run(consumer.clone()), queue.run(consumer));
    queue.drained().await;
    assert_order(&notes, 1, 5);
    one.end().await.unwrap();
    other.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_failure_gives_the_rest_of_its_group_back() {
    let (queue, notes) = (Queue::fifo().await, Notes::default());
    fill(&queue, 2, 4).await;
    let place = |Body(body): Body, ReceiveCount(count): ReceiveCount, State(notes): State<Notes>| async move {
        if body == "0-1" && count == 1 {
            return Err("not yet");
        }
        notes.add(body);
        Ok(())
    };
    let worker = queue.run(redrive::handler(place).with_state(notes.clone()));
    let ((), took) = timed(queue.drained()).await;
    assert_order(&notes, 2, 4);
    assert_eq!(took.as_secs(), 30, "its visibility timeout, and no longer");
    worker.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_delay_of_the_head_is_that_of_its_group() {
    let (queue, notes) = (Queue::fifo().await, Notes::default());
    fill(&queue, 2, 4).await;
    let place = |Body(body): Body, ReceiveCount(count): ReceiveCount, State(notes): State<Notes>| async move {
        if body == "0-1" && count == 1 {
            return Outcome::RetryAfter(secs(5));
        }
        notes.add(body);
        Outcome::Done
    };
    let effects = Effects::with_client(queue.client.clone());
    let worker = queue.run(redrive::handler(place).effects(effects).with_state(notes.clone()));
    let ((), took) = timed(queue.drained()).await;
    assert_order(&notes, 2, 4);
    assert_eq!(took.as_secs(), 5);
    worker.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_group_does_not_go_on_before_the_delete_has_arrived() {
    let (queue, notes) = (Queue::fifo().await, Notes::default());
    fill(&queue, 1, 3).await;
    let place = |Body(body): Body, State(notes): State<Notes>| async move {
        notes.add(body);
        sleep(secs(1)).await;
    };
    let consumer = redrive::handler(place).with_state(notes.clone());
    let worker = queue.run(consumer.clone());
    notes.until(1).await;
    queue.sqs.set_faults(Faults::none().refused_entries(1.0));
    sleep(secs(5)).await;
    assert_eq!(notes.all(), ["0-0"], "were the next one done, and this worker gone, the first would come after it");
    queue.sqs.set_faults(Faults::none());
    queue.drained().await;
    assert_order(&notes, 1, 3);
    worker.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_receive_that_is_made_again_brings_the_same_messages() {
    let (queue, notes) = (Queue::fifo().await, Notes::default());
    let place = |Body(body): Body, ReceiveCount(_): ReceiveCount, State(notes): State<Notes>| async move {
        notes.add(body);
    };
    let worker = queue.run(redrive::handler(place).with_state(notes.clone()));
    sleep(secs(1)).await;
    fill(&queue, 1, 1).await;
    queue.drained().await;
    notes.clear();
    // The messages are handed out, and the answer is lost. Without the attempt's id they would come after 30 s.
    queue.sqs.set_faults(Faults::none().lost_answers(1.0));
    fill_faulty(&queue, 4).await;
    sleep(Duration::from_millis(500)).await;
    queue.sqs.set_faults(Faults::none());
    let ((), took) = timed(notes.until(4)).await;
    assert!(took < secs(25), "{took:?}");
    queue.drained().await;
    worker.end().await.unwrap();
}

/// Sends to one group, though no answer comes.
async fn fill_faulty(queue: &Queue, messages: usize) {
    for number in 0..messages {
        let send = queue.sqs.client().send_message().queue_url(&queue.url).message_body(format!("0-x{number}"));
        let _ = send.message_group_id("0").send().await;
    }
}

#[tokio::test(start_paused = true)]
async fn order_holds_through_faults() {
    let (queue, notes) = (Queue::fifo().await, Notes::default());
    fill(&queue, 10, 30).await;
    let place = |Body(body): Body, ReceiveCount(count): ReceiveCount, State(notes): State<Notes>| async move {
        sleep(secs(1)).await;
        if body.ends_with('7') && count < 3 {
            return Err("not yet");
        }
        notes.add(body);
        Ok(())
    };
    let consumer = redrive::handler(place).with_state(notes.clone());
    queue.sqs.set_faults(
        Faults::none()
            .throttles(0.05)
            .lost_requests(0.02)
            .lost_answers(0.02)
            .failed_entries(0.05)
            .refused_entries(0.01),
    );
    let workers = [queue.run(consumer.clone()), queue.run(consumer)];
    notes.until(300).await;
    queue.sqs.set_faults(Faults::none());
    queue.drained().await;
    assert_order(&notes, 10, 30);
    for worker in workers {
        worker.end().await.unwrap();
    }
}
