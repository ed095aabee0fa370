//! Tests message move tasks, which return dead letters to their source queues.

use aws_sdk_sqs::error::ProvideErrorMetadata;
use aws_sdk_sqs::types::ListMessageMoveTasksResultEntry as Task;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::kit::{Queue, attribute, client, code, pass, secs};

/// Returns a queue and its dead-letter queue with this many of its messages.
async fn dead(messages: usize) -> (Queue, Queue) {
    let client = client();
    let dlq = Queue::new(&client, "dlq", &[]).await;
    let policy = format!(r#"{{"deadLetterTargetArn": "{}", "maxReceiveCount": 1}}"#, dlq.attribute("QueueArn").await);
    let queue = Queue::new(&client, "orders", &[("RedrivePolicy", &policy)]).await;
    for n in 0..messages {
        queue.send(&n.to_string()).await;
    }
    while !queue.receive().await.is_empty() {}
    pass(secs(30)).await;
    assert!(queue.receive().await.is_empty());
    assert_eq!(dlq.counts().await[0], messages.to_string());
    (queue, dlq)
}

async fn latest(dlq: &Queue) -> Task {
    let list = dlq.client.list_message_move_tasks().source_arn(dlq.attribute("QueueArn").await);
    list.send().await.unwrap().results.unwrap().remove(0)
}

#[tokio::test(start_paused = true)]
async fn moved_messages_are_new_messages() {
    let (queue, dlq) = dead(12).await;
    dlq.client.start_message_move_task().source_arn(dlq.attribute("QueueArn").await).send().await.unwrap();
    pass(secs(1)).await;
    assert_eq!((dlq.counts().await[0].as_str(), queue.counts().await[0].as_str()), ("0", "12"));
    let message = queue.receive().await.remove(0);
    assert_eq!(attribute(&message, "ApproximateReceiveCount"), Some("1"));
    assert_eq!(attribute(&message, "DeadLetterQueueSourceArn"), None);
    assert_eq!(attribute(&message, "SentTimestamp"), Some("1767225630000"));
    let task = latest(&dlq).await;
    assert_eq!((task.status(), task.approximate_number_of_messages_moved()), (Some("COMPLETED"), 12));
    assert_eq!(task.task_handle(), None);
}

#[tokio::test(start_paused = true)]
async fn task_keeps_its_rate_until_it_is_cancelled() {
    let (_queue, dlq) = dead(12).await;
    let other = Queue::new(&dlq.client, "other", &[]).await;
    let (source, destination) = (dlq.attribute("QueueArn").await, other.attribute("QueueArn").await);
    let start = || dlq.client.start_message_move_task().source_arn(&source).destination_arn(&destination);
    start().max_number_of_messages_per_second(2).send().await.unwrap();
    assert_eq!(other.counts().await[0], "1");
    pass(secs(2)).await;
    assert_eq!(other.counts().await[0], "5");
    let second = start().send().await.unwrap_err();
    assert_eq!(code(&second), "InvalidParameterValue");
    assert!(second.message().unwrap().starts_with("There is already a task running."), "{second:?}");
    let task = latest(&dlq).await;
    assert_eq!((task.status(), task.approximate_number_of_messages_to_move()), (Some("RUNNING"), Some(12)));
    let cancel = || dlq.client.cancel_message_move_task().task_handle(task.task_handle().unwrap()).send();
    assert_eq!(cancel().await.unwrap().approximate_number_of_messages_moved(), 5);
    pass(secs(10)).await;
    assert_eq!((other.counts().await[0].as_str(), latest(&dlq).await.status()), ("5", Some("CANCELLED")));
    assert!(cancel().await.is_err());
    start().send().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn long_poll_wakes_when_a_message_is_moved() {
    let (queue, dlq) = dead(3).await;
    let source = dlq.attribute("QueueArn").await;
    let start = dlq.client.start_message_move_task().source_arn(source).max_number_of_messages_per_second(1);
    let moved = async {
        tokio::time::sleep(secs(5)).await;
        start.send().await.unwrap();
    };
    let (received, ()) = tokio::join!(queue.receive_for(secs(20)), moved);
    assert_eq!(received.len(), 1);
    assert_eq!(queue.receive_for(secs(20)).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn task_needs_a_dead_letter_queue() {
    let (queue, dlq) = dead(1).await;
    let start = |arn: String| dlq.client.start_message_move_task().source_arn(arn).send();
    assert_eq!(code(&start(queue.attribute("QueueArn").await).await.unwrap_err()), "InvalidParameterValue");
    let missing = start("arn:aws:sqs:us-east-1:000000000000:none".to_owned()).await.unwrap_err();
    assert_eq!(code(&missing), "ResourceNotFoundException");
    for rate in [0, 501] {
        let start = dlq.client.start_message_move_task().source_arn(dlq.attribute("QueueArn").await);
        let error = start.max_number_of_messages_per_second(rate).send().await.unwrap_err();
        assert_eq!(code(&error), "InvalidParameterValue", "{rate}");
    }
}

#[tokio::test(start_paused = true)]
async fn message_without_its_source_queue_stays_and_its_task_fails() {
    let (queue, dlq) = dead(1).await;
    let source = dlq.attribute("QueueArn").await;
    let keeper = format!(r#"{{"deadLetterTargetArn": "{source}", "maxReceiveCount": 1}}"#);
    Queue::new(&queue.client, "keeper", &[("RedrivePolicy", &keeper)]).await;
    queue.client.delete_queue().queue_url(&queue.url).send().await.unwrap();
    dlq.client.start_message_move_task().source_arn(&source).send().await.unwrap();
    let task = latest(&dlq).await;
    assert_eq!(task.status(), Some("FAILED"));
    assert!(task.failure_reason().is_some());
    assert_eq!(dlq.counts().await[0], "1");
}

#[tokio::test(start_paused = true)]
async fn message_that_cannot_be_moved_keeps_its_place_in_its_group() {
    let client = client();
    let dlq = Queue::new(&client, "dlq.fifo", &[("ContentBasedDeduplication", "true")]).await;
    let arn = dlq.attribute("QueueArn").await;
    let policy = format!(r#"{{"deadLetterTargetArn": "{arn}", "maxReceiveCount": 1}}"#);
    let _source = Queue::new(&client, "orders.fifo", &[("RedrivePolicy", &policy)]).await;
    for body in ["1", "2"] {
        // Sent directly to the dead-letter queue, so it has no source queue.
        let send = client.send_message().queue_url(&dlq.url).message_body(body).message_group_id("group");
        send.send().await.unwrap();
    }
    client.start_message_move_task().source_arn(&arn).send().await.unwrap();
    let task = latest(&dlq).await;
    assert_eq!((task.status(), task.failure_reason()), (Some("FAILED"), Some("CouldNotDetermineMessageSource")));
    assert_eq!(crate::kit::bodies(&dlq.receive().await), ["1", "2"]);
}

#[tokio::test(start_paused = true)]
async fn handle_without_a_task_is_refused_with_the_reason() {
    let (_queue, dlq) = dead(1).await;
    let handle = |arn: &str| {
        let task_id = "10c6ee39-dcf1-4e5b-ab58-0e5b1a2a1e9b";
        BASE64.encode(format!(r#"{{"taskId": "{task_id}", "sourceArn": "{arn}"}}"#))
    };
    let invalid = ("InvalidParameterValue", "Value for parameter TaskHandle is invalid.");
    let no_queue = "The resource that you specified for the SourceArn parameter doesn't exist.";
    for (handle, (expected, text)) in [
        ("nonsense".to_owned(), invalid),
        (BASE64.encode("{}"), invalid),
        (BASE64.encode("nonsense"), invalid),
        (handle("arn:aws:sqs:us-east-1:000000000000:none"), ("ResourceNotFoundException", no_queue)),
        (handle(&dlq.attribute("QueueArn").await), ("ResourceNotFoundException", "Task does not exist.")),
    ] {
        let error = dlq.client.cancel_message_move_task().task_handle(handle).send().await.unwrap_err();
        assert_eq!((code(&error).as_str(), error.message()), (expected, Some(text)));
    }
}

#[tokio::test(start_paused = true)]
async fn cancel_needs_a_task_handle() {
    let cancel = client().cancel_message_move_task().task_handle("").send();
    assert_eq!(code(&cancel.await.unwrap_err()), "MissingParameter");
}
