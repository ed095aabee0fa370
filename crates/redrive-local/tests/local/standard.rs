//! Tests the delivery of standard queues.

use aws_sdk_sqs::primitives::Blob;
use aws_sdk_sqs::types::{
    ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry, MessageAttributeValue,
    MessageSystemAttributeNameForSends as SystemName, MessageSystemAttributeValue,
};

use crate::kit::{Queue, attribute, bodies, code, pass, receive_count, secs, timed};

#[tokio::test(start_paused = true)]
async fn message_is_received_with_all_its_attributes() {
    let queue = Queue::standard().await;
    let text = MessageAttributeValue::builder().data_type("String").string_value("eu").build().unwrap();
    let bytes = MessageAttributeValue::builder().data_type("Binary").binary_value(Blob::new([0, 1])).build().unwrap();
    let trace = MessageSystemAttributeValue::builder().data_type("String").string_value("Root=1-2").build().unwrap();
    let send =
        queue.client.send_message().queue_url(&queue.url).message_body("Test message.").message_group_id("tenant");
    let send = send.message_attributes("region", text).message_attributes("bytes", bytes);
    let sent = send.message_system_attributes(SystemName::AwsTraceHeader, trace).send().await.unwrap();
    assert_eq!(sent.md5_of_message_body(), Some("e4e68fb7bd0e697a0ae8f1bb342846b3"));
    assert_eq!(sent.sequence_number(), None);

    pass(secs(1)).await;
    let [message] = &queue.receive().await[..] else { panic!("expected one message") };
    assert_eq!((message.message_id(), message.body()), (sent.message_id(), Some("Test message.")));
    assert_eq!(message.md5_of_body(), sent.md5_of_message_body());
    assert_eq!(message.md5_of_message_attributes(), sent.md5_of_message_attributes());
    let attributes = message.message_attributes().unwrap();
    assert_eq!(attributes["region"].string_value(), Some("eu"));
    assert_eq!(attributes["bytes"].binary_value(), Some(&Blob::new([0, 1])));
    let expected = [
        ("ApproximateReceiveCount", Some("1")),
        ("SentTimestamp", Some("1767225600000")),
        ("ApproximateFirstReceiveTimestamp", Some("1767225601000")),
        ("MessageGroupId", Some("tenant")),
        ("AWSTraceHeader", Some("Root=1-2")),
        ("MessageDeduplicationId", None),
        ("SequenceNumber", None),
        ("DeadLetterQueueSourceArn", None),
    ];
    for (name, value) in expected {
        assert_eq!(attribute(message, name), value, "{name}");
    }
    assert!(attribute(message, "SenderId").is_some());
}

#[tokio::test(start_paused = true)]
async fn receive_returns_only_the_requested_attributes() {
    let queue = Queue::standard().await;
    let value = || MessageAttributeValue::builder().data_type("String").string_value("x").build().unwrap();
    let send = queue.client.send_message().queue_url(&queue.url).message_body("hello");
    let send = send.message_attributes("order.id", value()).message_attributes("order.kind", value());
    send.message_attributes("other", value()).send().await.unwrap();
    for (asked, expected) in
        [(vec![], 0), (vec!["other"], 1), (vec!["order.*"], 2), (vec!["All"], 3), (vec!["*"], 3), (vec!["none"], 0)]
    {
        let receive = queue.client.receive_message().queue_url(&queue.url).visibility_timeout(0);
        let received = receive.set_message_attribute_names(Some(asked.iter().map(|&name| name.into()).collect()));
        let message = &received.send().await.unwrap().messages.unwrap()[0];
        assert_eq!(message.message_attributes().map_or(0, |attributes| attributes.len()), expected, "{asked:?}");
        assert_eq!(message.md5_of_message_attributes().is_some(), expected > 0, "{asked:?}");
        assert!(message.attributes().is_none(), "{asked:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn message_is_hidden_for_exactly_its_visibility_timeout() {
    let queue = Queue::standard().await;
    queue.send("hello").await;
    assert_eq!(receive_count(&queue.receive().await[0]), 1);
    assert_eq!(queue.counts().await, ["0", "1", "0"]);
    pass(secs(30) - std::time::Duration::from_millis(1)).await;
    assert!(queue.receive().await.is_empty());
    pass(std::time::Duration::from_millis(1)).await;
    assert_eq!(queue.counts().await, ["1", "0", "0"]);
    assert_eq!(receive_count(&queue.receive().await[0]), 2);
}

#[tokio::test(start_paused = true)]
async fn long_poll_wakes_on_a_send() {
    let queue = Queue::standard().await;
    let sender = queue.clone();
    let later = async move {
        tokio::time::sleep(secs(7)).await;
        sender.send("hello").await;
    };
    let ((received, ()), took) = timed(async { tokio::join!(queue.receive_for(secs(20)), later) }).await;
    assert_eq!((bodies(&received), took), (vec!["hello".to_owned()], secs(7)));
}

#[tokio::test(start_paused = true)]
async fn long_poll_wakes_on_an_expiry_and_on_a_release() {
    let queue = Queue::standard().await;
    queue.send("hello").await;
    queue.set("VisibilityTimeout", "5").await;
    let first = queue.receive().await;
    let (second, took) = timed(queue.receive_for(secs(20))).await;
    assert_eq!((bodies(&second), took), (bodies(&first), secs(5)));

    let back = async {
        tokio::time::sleep(secs(2)).await;
        queue.hide_for(&second[0], 0).await.unwrap();
    };
    let ((third, ()), took) = timed(async { tokio::join!(queue.receive_for(secs(20)), back) }).await;
    assert_eq!((receive_count(&third[0]), took), (3, secs(2)));
}

#[tokio::test(start_paused = true)]
async fn long_poll_of_an_empty_queue_takes_its_full_time() {
    let queue = Queue::standard().await;
    let (received, took) = timed(queue.receive_for(secs(20))).await;
    assert_eq!((received.len(), took), (0, secs(20)));
    queue.set("ReceiveMessageWaitTimeSeconds", "3").await;
    let receive = queue.client.receive_message().queue_url(&queue.url).send();
    assert_eq!(timed(receive).await.1, secs(3));
}

#[tokio::test(start_paused = true)]
async fn deleted_message_is_not_received_again() {
    let queue = Queue::standard().await;
    queue.send("hello").await;
    let message = &queue.receive().await[0];
    queue.delete(message).await;
    assert_eq!(queue.counts().await, ["0", "0", "0"]);
    pass(secs(60)).await;
    assert!(queue.receive().await.is_empty());
    queue.delete(message).await;
    assert_eq!(queue.hide_for(message, 5).await, Err("InvalidParameterValue".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn old_handle_deletes_nothing_and_the_latest_deletes_even_after_its_timeout() {
    let queue = Queue::standard().await;
    queue.send("hello").await;
    let first = queue.receive().await.remove(0);
    pass(secs(30)).await;
    let second = queue.receive().await.remove(0);
    assert_ne!(first.receipt_handle(), second.receipt_handle());
    queue.delete(&first).await;
    assert_eq!(queue.counts().await, ["0", "1", "0"]);
    pass(secs(30)).await;
    queue.delete(&second).await;
    assert_eq!(queue.counts().await, ["0", "0", "0"]);
}

#[tokio::test(start_paused = true)]
async fn old_handle_changes_the_current_flight() {
    let queue = Queue::standard().await;
    queue.send("hello").await;
    let first = queue.receive().await.remove(0);
    pass(secs(30)).await;
    queue.hide_for(&first, 60).await.unwrap();
    assert_eq!(queue.counts().await, ["1", "0", "0"], "the visible message was hidden");

    queue.receive().await;
    queue.hide_for(&first, 60).await.unwrap();
    pass(secs(59)).await;
    assert_eq!(queue.counts().await, ["0", "1", "0"], "the second flight was not extended");
    queue.hide_for(&first, 0).await.unwrap();
    let third = queue.receive().await.remove(0);
    assert_eq!(receive_count(&third), 3, "the late release did not end the second flight");
}

#[tokio::test(start_paused = true)]
async fn unknown_handle_and_handle_of_a_deleted_message_change_nothing() {
    let queue = Queue::standard().await;
    queue.send("hello").await;
    let first = queue.receive().await.remove(0);
    queue.hide_for(&first, 0).await.unwrap();
    let second = queue.receive().await.remove(0);
    queue.hide_for(&second, 0).await.unwrap();
    // Handles of a second queue with the same history and one receive more.
    let other = Queue::standard().await;
    other.send("hello").await;
    let mut third = other.receive().await.remove(0);
    for _ in 0..2 {
        other.hide_for(&third, 0).await.unwrap();
        third = other.receive().await.remove(0);
    }
    assert_eq!(queue.hide_for(&third, 5).await, Err("InvalidParameterValue".to_owned()));
    queue.hide_for(&first, 5).await.unwrap();
    let last = queue.receive().await.remove(0);
    queue.delete(&last).await;
    assert_eq!(queue.hide_for(&first, 5).await, Err("InvalidParameterValue".to_owned()));
    assert_eq!(queue.hide_for(&last, 5).await, Err("InvalidParameterValue".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn old_handle_in_a_batch_changes_the_current_flight() {
    let queue = Queue::standard().await;
    queue.send("hello").await;
    let first = queue.receive().await.remove(0);
    pass(secs(30)).await;
    queue.receive().await;
    let entry = ChangeMessageVisibilityBatchRequestEntry::builder().id("late").visibility_timeout(0);
    let entry = entry.receipt_handle(first.receipt_handle().unwrap()).build().unwrap();
    let change = queue.client.change_message_visibility_batch().queue_url(&queue.url).entries(entry);
    let answer = change.send().await.unwrap();
    assert_eq!((answer.successful().len(), answer.failed().len()), (1, 0));
    assert_eq!(queue.counts().await, ["1", "0", "0"]);
}

#[tokio::test(start_paused = true)]
async fn visibility_starts_at_the_change_and_ends_twelve_hours_after_the_receive() {
    let queue = Queue::standard().await;
    queue.send("hello").await;
    let message = queue.receive().await.remove(0);
    pass(secs(20)).await;
    queue.hide_for(&message, 20).await.unwrap();
    pass(secs(19)).await;
    assert!(queue.receive().await.is_empty());
    queue.hide_for(&message, 43_200 - 39).await.unwrap();
    assert_eq!(queue.hide_for(&message, 43_200 - 38).await, Err("InvalidParameterValue".to_owned()));
    pass(secs(43_200 - 39)).await;
    // The next receive uses the queue's own timeout again.
    assert_eq!(receive_count(&queue.receive().await[0]), 2);
    pass(secs(30)).await;
    assert_eq!(receive_count(&queue.receive().await[0]), 3);
}

#[tokio::test(start_paused = true)]
async fn delay_of_a_message_replaces_the_delay_of_the_queue() {
    let queue = Queue::standard().await;
    queue.set("DelaySeconds", "10").await;
    queue.send("queue's").await;
    let send = queue.client.send_message().queue_url(&queue.url).message_body("own").delay_seconds(5);
    send.send().await.unwrap();
    let send = queue.client.send_message().queue_url(&queue.url).message_body("none").delay_seconds(0);
    send.send().await.unwrap();
    assert_eq!(queue.counts().await, ["1", "0", "2"]);
    assert_eq!(queue.bodies().await, ["none"]);
    let (received, took) = timed(queue.receive_for(secs(20))).await;
    assert_eq!((bodies(&received), took), (vec!["own".to_owned()], secs(5)));
    // Messages in the queue keep their delay.
    queue.set("DelaySeconds", "900").await;
    let (received, took) = timed(queue.receive_for(secs(20))).await;
    assert_eq!((bodies(&received), took), (vec!["queue's".to_owned()], secs(5)));
}

#[tokio::test(start_paused = true)]
async fn messages_expire_after_the_retention_period_in_every_state() {
    let queue = Queue::standard().await;
    queue.set("MessageRetentionPeriod", "60").await;
    queue.send("in flight").await;
    queue.receive().await;
    queue.send("visible").await;
    pass(secs(59)).await;
    assert_eq!(queue.counts().await, ["2", "0", "0"]);
    pass(secs(1)).await;
    assert_eq!(queue.counts().await, ["0", "0", "0"]);
}

#[tokio::test(start_paused = true)]
async fn each_entry_of_a_batch_has_its_own_result() {
    let queue = Queue::standard().await;
    queue.send("hello").await;
    let handle = queue.receive().await[0].receipt_handle().unwrap().to_owned();
    let entry = |id: &str, handle: &str| {
        DeleteMessageBatchRequestEntry::builder().id(id).receipt_handle(handle).build().unwrap()
    };
    let delete = queue.client.delete_message_batch().queue_url(&queue.url);
    let answer = delete.entries(entry("bad", "nonsense")).entries(entry("good", &handle)).send().await.unwrap();
    assert_eq!(answer.successful().iter().map(|entry| entry.id()).collect::<Vec<_>>(), ["good"]);
    let [failed] = answer.failed() else { panic!("expected one failed entry") };
    assert_eq!((failed.id(), failed.code(), failed.sender_fault()), ("bad", "ReceiptHandleIsInvalid", true));
    assert_eq!(queue.counts().await, ["0", "0", "0"]);
}

#[tokio::test(start_paused = true)]
async fn handle_of_another_queue_is_refused() {
    let queue = Queue::standard().await;
    queue.send("hello").await;
    let message = queue.receive().await.remove(0);
    let other = Queue::new(&queue.client, "other", &[]).await;
    let delete = other.client.delete_message().queue_url(&other.url).receipt_handle(message.receipt_handle().unwrap());
    assert_eq!(code(&delete.send().await.unwrap_err()), "ReceiptHandleIsInvalid");
}

#[tokio::test(start_paused = true)]
async fn receive_without_a_visibility_timeout_returns_each_message_once() {
    for queue in [Queue::standard().await, Queue::fifo().await] {
        for body in ["1", "2"] {
            let send = queue.client.send_message().queue_url(&queue.url).message_body(body);
            send.message_group_id("group").send().await.unwrap();
        }
        for count in 1..=2 {
            let receive = queue.client.receive_message().queue_url(&queue.url).max_number_of_messages(10);
            let receive = receive
                .message_system_attribute_names(aws_sdk_sqs::types::MessageSystemAttributeName::All)
                .visibility_timeout(0);
            let received = receive.send().await.unwrap().messages.unwrap();
            assert_eq!((bodies(&received), receive_count(&received[1])), (vec!["1".to_owned(), "2".to_owned()], count));
        }
        assert_eq!(queue.counts().await, ["2", "0", "0"]);
    }
}

#[tokio::test(start_paused = true)]
async fn quiet_groups_do_not_wait_behind_the_backlog_of_a_noisy_one() {
    let queue = Queue::standard().await;
    let send = |group: &str, body: String| {
        queue.client.send_message().queue_url(&queue.url).message_body(body).message_group_id(group).send()
    };
    for number in 0..10_000 {
        send("noisy", format!("noisy {number}")).await.unwrap();
    }
    for number in 0..10 {
        send(&format!("tenant-{number}"), "quiet".to_owned()).await.unwrap();
    }
    let mut received = Vec::new();
    for _ in 0..20 {
        received.extend(queue.bodies().await);
    }
    assert_eq!(received.iter().filter(|body| *body == "quiet").count(), 10);
    assert_eq!(received.len(), 200, "a noisy group is not held back");
}
