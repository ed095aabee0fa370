//! Tests the attributes of queues.

use aws_sdk_sqs::types::QueueAttributeName as Name;

use crate::kit::{Queue, client, code, pass, secs};

#[tokio::test(start_paused = true)]
async fn standard_queue_has_all_attributes_with_their_defaults() {
    let queue = Queue::standard().await;
    pass(secs(5)).await;
    queue.set("VisibilityTimeout", "60").await;
    let get = queue.client.get_queue_attributes().queue_url(&queue.url).attribute_names(Name::All);
    let attributes = get.send().await.unwrap().attributes.unwrap();
    let mut attributes: Vec<_> = attributes.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    attributes.sort_unstable();
    let expected = [
        ("ApproximateNumberOfMessages", "0"),
        ("ApproximateNumberOfMessagesDelayed", "0"),
        ("ApproximateNumberOfMessagesNotVisible", "0"),
        ("CreatedTimestamp", "1767225600"),
        ("DelaySeconds", "0"),
        ("LastModifiedTimestamp", "1767225605"),
        ("MaximumMessageSize", "1048576"),
        ("MessageRetentionPeriod", "345600"),
        ("QueueArn", "arn:aws:sqs:us-east-1:000000000000:orders"),
        ("ReceiveMessageWaitTimeSeconds", "0"),
        ("SqsManagedSseEnabled", "true"),
        ("VisibilityTimeout", "60"),
    ];
    assert_eq!(attributes, expected);
}

#[tokio::test(start_paused = true)]
async fn fifo_queue_has_additional_attributes() {
    let queue = Queue::fifo().await;
    for (name, value) in [
        ("FifoQueue", "true"),
        ("ContentBasedDeduplication", "true"),
        ("DeduplicationScope", "queue"),
        ("FifoThroughputLimit", "perQueue"),
    ] {
        assert_eq!(queue.attribute(name).await, value, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn unknown_attribute_is_refused() {
    let queue = Queue::standard().await;
    let get = queue.client.get_queue_attributes().queue_url(&queue.url).attribute_names("Nonsense".into());
    assert_eq!(code(&get.send().await.unwrap_err()), "InvalidAttributeName");
    let receive =
        queue.client.receive_message().queue_url(&queue.url).message_system_attribute_names("Nonsense".into());
    assert_eq!(code(&receive.send().await.unwrap_err()), "InvalidAttributeName");
}

#[tokio::test(start_paused = true)]
async fn dead_letter_queue_must_exist_have_the_same_type_and_allow_the_source() {
    let client = client();
    let queue = Queue::new(&client, "orders", &[]).await;
    let redrive_to = async |name: &str| {
        let policy =
            format!(r#"{{"deadLetterTargetArn": "arn:aws:sqs:us-east-1:000000000000:{name}", "maxReceiveCount": 5}}"#);
        let set = client.set_queue_attributes().queue_url(&queue.url).attributes(Name::RedrivePolicy, policy);
        set.send().await.map(drop).map_err(|error| code(&error))
    };
    let refused = Err("InvalidAttributeValue".to_owned());
    assert_eq!(redrive_to("dlq").await, refused);
    let dlq = Queue::new(&client, "dlq", &[("RedriveAllowPolicy", r#"{"redrivePermission": "denyAll"}"#)]).await;
    assert_eq!(redrive_to("dlq").await, refused);
    dlq.set("RedriveAllowPolicy", "").await;
    assert_eq!(redrive_to("dlq").await, Ok(()));
    Queue::new(&client, "dlq.fifo", &[]).await;
    assert_eq!(redrive_to("dlq.fifo").await, refused);

    let sources = client.list_dead_letter_source_queues().queue_url(&dlq.url).send().await.unwrap();
    assert_eq!(sources.queue_urls(), [queue.url]);
}
