//! Tests FIFO queues: order within a group, turns among groups, and deduplication.

use aws_sdk_sqs::error::ProvideErrorMetadata;
use aws_sdk_sqs::types::{Message, SendMessageBatchRequestEntry};

use crate::kit::{Queue, attribute, bodies, client, code, pass, receive_count, secs, timed};

async fn receive_one(queue: &Queue) -> Message {
    queue.client.receive_message().queue_url(&queue.url).send().await.unwrap().messages.unwrap().remove(0)
}

#[tokio::test(start_paused = true)]
async fn message_in_flight_holds_back_later_messages_of_its_group() {
    let queue = Queue::fifo().await;
    for (group, body) in [("a", "a1"), ("a", "a2"), ("b", "b1")] {
        queue.send_to(group, body).await;
    }
    let one = receive_one(&queue).await;
    assert_eq!(one.body(), Some("a1"));
    assert_eq!(queue.bodies().await, ["b1"]);
    assert!(queue.receive().await.is_empty());
    queue.delete(&one).await;
    assert_eq!(queue.bodies().await, ["a2"]);
}

#[tokio::test(start_paused = true)]
async fn messages_before_the_first_one_in_flight_can_be_received() {
    let queue = Queue::fifo().await;
    for body in ["1", "2", "3", "4", "5"] {
        queue.send_to("a", body).await;
    }
    let received = queue.receive().await;
    for given_back in [&received[0], &received[1], &received[4]] {
        queue.hide_for(given_back, 0).await.unwrap();
    }
    assert_eq!(queue.counts().await, ["3", "2", "0"]);
    let before = queue.receive().await;
    assert_eq!(bodies(&before), ["1", "2"], "the fifth is behind two messages in flight");
    queue.delete(&before[0]).await;
    queue.delete(&before[1]).await;
    queue.delete(&received[2]).await;
    assert!(queue.receive().await.is_empty(), "the fourth is not in flight");
    queue.delete(&received[3]).await;
    assert_eq!(queue.bodies().await, ["5"]);
}

#[tokio::test(start_paused = true)]
async fn released_tail_waits_for_its_head_and_not_for_other_groups() {
    let queue = Queue::fifo().await;
    for (group, body) in [("a", "a1"), ("a", "a2"), ("a", "a3"), ("b", "b1")] {
        queue.send_to(group, body).await;
    }
    let received = queue.receive().await;
    for tail in &received[1..3] {
        queue.hide_for(tail, 0).await.unwrap();
    }
    let (nothing, took) = timed(queue.receive_for(secs(20))).await;
    assert_eq!((bodies(&nothing), took), (vec![], secs(20)), "the head is not in flight");
    let (again, took) = timed(queue.receive_for(secs(20))).await;
    assert_eq!((bodies(&again), took), (["a1", "a2", "a3", "b1"].map(str::to_owned).to_vec(), secs(10)));
}

#[tokio::test(start_paused = true)]
async fn long_poll_wakes_when_the_blocking_message_is_deleted() {
    let queue = Queue::fifo().await;
    queue.send_to("a", "1").await;
    queue.send_to("a", "2").await;
    let one = receive_one(&queue).await;
    let later = async {
        tokio::time::sleep(secs(3)).await;
        queue.delete(&one).await;
    };
    let ((next, ()), took) = timed(async { tokio::join!(queue.receive_for(secs(20)), later) }).await;
    assert_eq!((bodies(&next), took), (vec!["2".to_owned()], secs(3)));
}

#[tokio::test(start_paused = true)]
async fn group_goes_behind_waiting_groups_after_a_receive() {
    let queue = Queue::fifo().await;
    for (group, body) in [("a", "a1"), ("a", "a2"), ("a", "a3"), ("b", "b1"), ("b", "b2"), ("c", "c1")] {
        queue.send_to(group, body).await;
    }
    let mut order = Vec::new();
    for _ in 0..6 {
        let one = receive_one(&queue).await;
        queue.delete(&one).await;
        order.push(one.body.unwrap());
    }
    assert_eq!(order, ["a1", "b1", "c1", "a2", "b2", "a3"]);
}

#[tokio::test(start_paused = true)]
async fn failing_group_does_not_delay_other_groups() {
    let queue = Queue::fifo().await;
    for (group, body) in [("a", "poison"), ("b", "b1"), ("c", "c1")] {
        queue.send_to(group, body).await;
    }
    let mut order = Vec::new();
    for _ in 0..6 {
        let one = receive_one(&queue).await;
        queue.hide_for(&one, 0).await.unwrap();
        order.push(one.body.unwrap());
    }
    assert_eq!(order, ["poison", "b1", "c1", "poison", "b1", "c1"]);
}

#[tokio::test(start_paused = true)]
async fn receive_takes_all_it_can_from_one_group_before_the_next() {
    let queue = Queue::fifo().await;
    for body in 0..6 {
        queue.send_to("a", &format!("a{body}")).await;
        queue.send_to("b", &format!("b{body}")).await;
    }
    assert_eq!(queue.bodies().await, ["a0", "a1", "a2", "a3", "a4", "a5", "b0", "b1", "b2", "b3"]);
}

#[tokio::test(start_paused = true)]
async fn group_continues_with_its_oldest_message_after_a_timeout() {
    let queue = Queue::fifo().await;
    for body in ["1", "2", "3", "4"] {
        queue.send_to("a", body).await;
    }
    let received = queue.receive().await;
    queue.delete(&received[0]).await;
    pass(secs(30)).await;
    let again = queue.receive().await;
    assert_eq!(bodies(&again), ["2", "3", "4"]);
    assert_eq!(again.iter().map(receive_count).collect::<Vec<_>>(), [2, 2, 2]);
}

#[tokio::test(start_paused = true)]
async fn released_head_is_received_while_later_messages_are_in_flight() {
    let queue = Queue::fifo().await;
    for body in ["1", "2"] {
        queue.send_to("a", body).await;
    }
    let received = queue.receive().await;
    queue.hide_for(&received[0], 0).await.unwrap();
    assert_eq!(queue.bodies().await, ["1"]);
    queue.hide_for(&received[1], 0).await.unwrap();
    assert!(queue.receive().await.is_empty(), "the head does not hold back its group");
}

#[tokio::test(start_paused = true)]
async fn stale_handle_changes_nothing_on_a_fifo_queue() {
    let queue = Queue::fifo().await;
    queue.send_to("a", "1").await;
    let first = queue.receive().await.remove(0);
    pass(secs(30)).await;
    assert_eq!(queue.hide_for(&first, 60).await, Err("InvalidParameterValue".to_owned()), "the message is visible");
    queue.receive().await;
    assert_eq!(queue.hide_for(&first, 0).await, Err("InvalidParameterValue".to_owned()), "another receive has it");
    assert_eq!(queue.counts().await, ["0", "1", "0"]);
}

#[tokio::test(start_paused = true)]
async fn late_delete_is_an_error() {
    let queue = Queue::fifo().await;
    queue.send_to("a", "1").await;
    let message = queue.receive().await.remove(0);
    pass(secs(30)).await;
    let delete =
        || queue.client.delete_message().queue_url(&queue.url).receipt_handle(message.receipt_handle().unwrap()).send();
    assert_eq!(code(&delete().await.unwrap_err()), "InvalidParameterValue");
    let again = queue.receive().await.remove(0);
    assert_eq!(code(&delete().await.unwrap_err()), "InvalidParameterValue");
    queue.delete(&again).await;
    delete().await.unwrap();
}

async fn send(queue: &Queue, group: &str, id: &str) -> (String, String) {
    let send = queue.client.send_message().queue_url(&queue.url).message_body("x").message_group_id(group);
    let sent = send.message_deduplication_id(id).send().await.unwrap();
    (sent.message_id.unwrap(), sent.sequence_number.unwrap())
}

#[tokio::test(start_paused = true)]
async fn same_id_within_five_minutes_is_the_same_message() {
    let queue = Queue::fifo().await;
    let first = send(&queue, "a", "id").await;
    let message = queue.receive().await.remove(0);
    queue.delete(&message).await;
    pass(secs(299)).await;
    assert_eq!(send(&queue, "b", "id").await, first);
    assert!(queue.receive().await.is_empty());
    pass(secs(1)).await;
    let second = send(&queue, "a", "id").await;
    assert!(second.0 != first.0 && second.1 > first.1);
    assert_eq!(queue.receive().await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn ids_can_be_compared_within_a_group() {
    let queue = Queue::new(&client(), "orders.fifo", &[("DeduplicationScope", "messageGroup")]).await;
    let first = send(&queue, "a", "id").await;
    assert_ne!(send(&queue, "b", "id").await, first);
    assert_eq!(send(&queue, "a", "id").await, first);
    assert_eq!(queue.receive().await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn content_based_deduplication_uses_the_body_as_the_id() {
    let queue = Queue::fifo().await;
    let first = queue.send_to("a", "hello").await;
    assert_eq!(queue.send_to("a", "hello").await, first);
    assert_ne!(queue.send_to("a", "other").await, first);
    let received = queue.receive().await;
    assert_eq!(received.len(), 2);
    let sha256 = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    assert_eq!(attribute(&received[0], "MessageDeduplicationId"), Some(sha256));

    let queue = Queue::new(&client(), "orders.fifo", &[]).await;
    let send = queue.client.send_message().queue_url(&queue.url).message_body("x").message_group_id("a");
    assert_eq!(code(&send.send().await.unwrap_err()), "InvalidParameterValue");
}

#[tokio::test(start_paused = true)]
async fn fifo_queue_requires_a_group_and_refuses_a_message_delay() {
    let queue = Queue::fifo().await;
    let send = || queue.client.send_message().queue_url(&queue.url).message_body("x");
    assert_eq!(code(&send().send().await.unwrap_err()), "MissingParameter");
    let delayed = send().message_group_id("a").delay_seconds(1).send().await;
    assert_eq!(code(&delayed.unwrap_err()), "InvalidParameterValue");
    send().message_group_id("a").delay_seconds(0).send().await.unwrap();

    let standard = Queue::standard().await;
    let send = standard.client.send_message().queue_url(&standard.url).message_body("x").message_deduplication_id("id");
    assert_eq!(code(&send.send().await.unwrap_err()), "InvalidParameterValue");
    let receive = standard.client.receive_message().queue_url(&standard.url).receive_request_attempt_id("id");
    assert_eq!(code(&receive.send().await.unwrap_err()), "InvalidParameterValue");
}

#[tokio::test(start_paused = true)]
async fn batch_with_an_entry_without_a_group_or_an_id_fails_as_a_whole() {
    let queue = Queue::new(&client(), "orders.fifo", &[]).await;
    let entry = |id: &str| SendMessageBatchRequestEntry::builder().id(id).message_body("x");
    let whole = || entry("whole").message_group_id("a").message_deduplication_id("1").build().unwrap();
    let no_group = entry("bad").message_deduplication_id("2").build().unwrap();
    let no_id = entry("bad").message_group_id("a").build().unwrap();
    for (bad, text) in [
        (no_group, "The request must contain the parameter MessageGroupId."),
        (
            no_id,
            "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly",
        ),
    ] {
        let send = queue.client.send_message_batch().queue_url(&queue.url).entries(whole()).entries(bad);
        let error = send.send().await.unwrap_err();
        assert_eq!((code(&error).as_str(), error.message()), ("InvalidParameterValue", Some(text)));
    }
    assert_eq!(queue.counts().await, ["0", "0", "0"], "a message was sent");
    queue.client.send_message_batch().queue_url(&queue.url).entries(whole()).send().await.unwrap();
    assert_eq!(queue.bodies().await, ["x"]);
}

#[tokio::test(start_paused = true)]
async fn changed_delay_applies_to_waiting_messages() {
    let queue = Queue::fifo().await;
    queue.set("DelaySeconds", "60").await;
    queue.send_to("a", "1").await;
    pass(secs(10)).await;
    queue.set("DelaySeconds", "20").await;
    queue.send_to("a", "2").await;
    pass(secs(10)).await;
    assert_eq!(queue.bodies().await, ["1"]);
}

async fn attempt(queue: &Queue, id: &str) -> Vec<Message> {
    let receive = queue.client.receive_message().queue_url(&queue.url).max_number_of_messages(10);
    receive.receive_request_attempt_id(id).send().await.unwrap().messages.unwrap_or_default()
}

fn handles(messages: &[Message]) -> Vec<&str> {
    messages.iter().map(|message| message.receipt_handle().unwrap()).collect()
}

#[tokio::test(start_paused = true)]
async fn repeated_attempt_receives_the_same_messages_for_a_full_timeout() {
    let queue = Queue::fifo().await;
    queue.send_to("a", "1").await;
    queue.send_to("b", "2").await;
    let first = attempt(&queue, "try").await;
    assert_eq!(first.len(), 2);
    pass(secs(20)).await;
    assert!(attempt(&queue, "another").await.is_empty());
    let again = attempt(&queue, "try").await;
    assert_eq!(handles(&again), handles(&first));
    pass(secs(29)).await;
    assert!(queue.receive().await.is_empty());
    pass(secs(1)).await;
    let later = queue.receive().await;
    assert_eq!(later.iter().map(receive_count).collect::<Vec<_>>(), [2, 2]);
}

#[tokio::test(start_paused = true)]
async fn attempt_with_changed_messages_is_a_new_one() {
    let queue = Queue::fifo().await;
    queue.send_to("a", "1").await;
    queue.send_to("b", "2").await;
    let first = attempt(&queue, "try").await;
    queue.delete(&first[0]).await;
    assert!(attempt(&queue, "try").await.is_empty());
    queue.hide_for(&first[1], 40).await.unwrap();
    queue.send_to("c", "3").await;
    assert_eq!(bodies(&attempt(&queue, "try").await), ["3"]);
    pass(secs(300)).await;
    assert_eq!(bodies(&attempt(&queue, "try").await), ["2", "3"]);
}
