//! Tests the RedrivePolicy, which moves messages to a dead-letter queue.

use crate::kit::{Queue, attribute, bodies, client, pass, receive_count, secs};

/// Returns a queue with this `max_receive_count`, and its dead-letter queue.
async fn with_dlq(fifo: &str, max_receive_count: u32) -> (Queue, Queue) {
    let client = client();
    let dlq = Queue::new(&client, &format!("dlq{fifo}"), &[]).await;
    let arn = dlq.attribute("QueueArn").await;
    let policy = format!(r#"{{"deadLetterTargetArn": "{arn}", "maxReceiveCount": {max_receive_count}}}"#);
    let queue = Queue::new(&client, &format!("orders{fifo}"), &[("RedrivePolicy", &policy)]).await;
    (queue, dlq)
}

#[tokio::test(start_paused = true)]
async fn message_is_moved_at_the_receive_after_its_last_one() {
    let (queue, dlq) = with_dlq("", 3).await;
    let id = queue.send("poison").await;
    for count in 1..=3 {
        assert_eq!(receive_count(&queue.receive().await[0]), count);
        pass(secs(30)).await;
    }
    assert_eq!(dlq.counts().await, ["0", "0", "0"]);
    assert!(queue.receive().await.is_empty());
    assert_eq!((queue.counts().await[0].as_str(), dlq.counts().await[0].as_str()), ("0", "1"));

    let dead = dlq.receive().await.remove(0);
    assert_eq!((dead.message_id(), dead.body()), (Some(id.as_str()), Some("poison")));
    let source = queue.attribute("QueueArn").await;
    assert_eq!(attribute(&dead, "DeadLetterQueueSourceArn"), Some(source.as_str()));
    assert_eq!(attribute(&dead, "SentTimestamp"), Some("1767225600000"));
    assert_eq!(receive_count(&dead), 4);
}

#[tokio::test(start_paused = true)]
async fn queues_in_a_circle_deliver_in_turns() {
    let (queue, dlq) = with_dlq("", 1).await;
    let arn = queue.attribute("QueueArn").await;
    dlq.set("RedrivePolicy", &format!(r#"{{"deadLetterTargetArn": "{arn}", "maxReceiveCount": 2}}"#)).await;
    queue.send("poison").await;
    for (from, count) in [(&queue, 1), (&dlq, 2), (&dlq, 3), (&queue, 4)] {
        pass(secs(30)).await;
        let polls = async { tokio::join!(queue.receive_for(secs(20)), dlq.receive_for(secs(20))) };
        let (at_queue, at_dlq) = polls.await;
        let received = if from.url == queue.url { at_queue } else { at_dlq };
        assert_eq!(received.iter().map(receive_count).collect::<Vec<_>>(), [count]);
    }
}

#[tokio::test(start_paused = true)]
async fn queue_cannot_be_its_own_dead_letter_queue() {
    let (queue, _) = with_dlq("", 1).await;
    let policy = format!(r#"{{"deadLetterTargetArn": "{}", "maxReceiveCount": 1}}"#, queue.attribute("QueueArn").await);
    let set = queue.client.set_queue_attributes().queue_url(&queue.url).attributes("RedrivePolicy".into(), policy);
    assert_eq!(crate::kit::code(&set.send().await.unwrap_err()), "InvalidAttributeValue");
}

#[tokio::test(start_paused = true)]
async fn poison_does_not_delay_other_messages() {
    let (queue, dlq) = with_dlq("", 1).await;
    for body in ["1", "2", "3"] {
        queue.send(body).await;
    }
    assert_eq!(queue.bodies().await.len(), 3);
    pass(secs(30)).await;
    queue.send("4").await;
    assert_eq!(queue.bodies().await, ["4"]);
    assert_eq!(dlq.bodies().await, ["1", "2", "3"]);
}

#[tokio::test(start_paused = true)]
async fn long_poll_of_the_dead_letter_queue_wakes_on_a_move() {
    let (queue, dlq) = with_dlq("", 1).await;
    queue.send("poison").await;
    queue.receive().await;
    let redrive = async {
        tokio::time::sleep(secs(30)).await;
        queue.receive().await
    };
    let wait = async {
        tokio::time::sleep(secs(15)).await;
        dlq.receive_for(secs(20)).await
    };
    let (none, dead) = tokio::join!(redrive, wait);
    assert_eq!((none.len(), bodies(&dead)), (0, vec!["poison".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn fifo_group_continues_after_its_poison() {
    let (queue, dlq) = with_dlq(".fifo", 1).await;
    let send = |body: &'static str, id: &'static str| {
        queue
            .client
            .send_message()
            .queue_url(&queue.url)
            .message_body(body)
            .message_group_id("a")
            .message_deduplication_id(id)
    };
    let poison = send("poison", "1").send().await.unwrap().message_id.unwrap();
    let one = queue.receive().await;
    send("next", "2").send().await.unwrap();
    assert_eq!((bodies(&one), queue.receive().await.len()), (vec!["poison".to_owned()], 0));
    pass(secs(30)).await;
    assert_eq!(queue.bodies().await, ["next"]);
    let dead = dlq.receive().await.remove(0);
    assert_eq!(attribute(&dead, "MessageGroupId"), Some("a"));
    assert_eq!(attribute(&dead, "MessageDeduplicationId"), Some(poison.as_str()));
}

#[tokio::test(start_paused = true)]
async fn message_stays_when_its_dead_letter_queue_is_missing() {
    let (queue, dlq) = with_dlq("", 1).await;
    queue.send("poison").await;
    dlq.client.delete_queue().queue_url(&dlq.url).send().await.unwrap();
    for count in 1..=3 {
        assert_eq!(receive_count(&queue.receive().await[0]), count);
        pass(secs(30)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn message_keeps_its_age_in_the_dead_letter_queue() {
    let (queue, dlq) = with_dlq("", 1).await;
    dlq.set("MessageRetentionPeriod", "100").await;
    queue.send("poison").await;
    queue.receive().await;
    pass(secs(30)).await;
    queue.receive().await;
    pass(secs(69)).await;
    assert_eq!(dlq.counts().await[0], "1");
    pass(secs(1)).await;
    assert_eq!(dlq.counts().await[0], "0");
}

#[tokio::test(start_paused = true)]
async fn age_of_a_fifo_dead_letter_starts_at_its_move() {
    let (queue, dlq) = with_dlq(".fifo", 1).await;
    dlq.set("MessageRetentionPeriod", "60").await;
    let send = queue.client.send_message().queue_url(&queue.url).message_body("poison").message_group_id("group");
    send.message_deduplication_id("1").send().await.unwrap();
    assert_eq!(receive_count(&queue.receive().await[0]), 1);
    pass(secs(100)).await;
    assert!(queue.receive().await.is_empty());
    pass(secs(59)).await;
    assert_eq!(dlq.counts().await[0], "1");
    pass(secs(1)).await;
    assert_eq!(dlq.counts().await[0], "0");
}

#[tokio::test(start_paused = true)]
async fn other_attributes_can_be_set_while_the_dead_letter_queue_is_missing() {
    let (queue, dlq) = with_dlq("", 1).await;
    dlq.client.delete_queue().queue_url(&dlq.url).send().await.unwrap();
    queue.set("VisibilityTimeout", "5").await;
    assert_eq!(queue.attribute("VisibilityTimeout").await, "5");
}
