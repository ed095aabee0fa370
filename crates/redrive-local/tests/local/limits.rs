//! Tests the limits of SQS.

use aws_sdk_sqs::error::ProvideErrorMetadata;
use aws_sdk_sqs::types::{
    MessageAttributeValue, MessageSystemAttributeNameForSends as SystemName, MessageSystemAttributeValue,
    SendMessageBatchRequestEntry as Entry,
};

use crate::kit::{Queue, code};

const MIB: usize = 1_048_576;

fn entry(id: impl Into<String>, body: impl Into<String>) -> Entry {
    Entry::builder().id(id).message_body(body).build().unwrap()
}

async fn send_all(queue: &Queue, entries: Vec<Entry>) -> Result<usize, String> {
    let send = queue.client.send_message_batch().queue_url(&queue.url).set_entries(Some(entries));
    send.send().await.map(|answer| answer.failed.len()).map_err(|error| code(&error))
}

#[tokio::test(start_paused = true)]
async fn message_with_its_attributes_has_at_most_one_mebibyte() {
    let queue = Queue::standard().await;
    // The attribute's name, type and value have 1, 6 and 3 bytes.
    let value = MessageAttributeValue::builder().data_type("String").string_value("abc").build().unwrap();
    for (body, fits) in [(MIB - 10, true), (MIB - 9, false)] {
        let send = queue.client.send_message().queue_url(&queue.url).message_body("x".repeat(body));
        let sent = send.message_attributes("a", value.clone()).send().await;
        assert_eq!(
            sent.map(drop).map_err(|error| code(&error)).err(),
            (!fits).then(|| "InvalidParameterValue".to_owned())
        );
    }
    queue.set("MaximumMessageSize", "1024").await;
    assert_eq!(send_all(&queue, vec![entry("a", "x".repeat(1_025)), entry("b", "x".repeat(1_024))]).await, Ok(1));
}

#[tokio::test(start_paused = true)]
async fn batch_over_one_mebibyte_is_refused_as_a_whole() {
    let queue = Queue::standard().await;
    let halves = |more: usize| vec![entry("a", "x".repeat(MIB / 2)), entry("b", "x".repeat(MIB / 2 + more))];
    assert_eq!(send_all(&queue, halves(0)).await, Ok(0));
    assert_eq!(send_all(&queue, halves(1)).await, Err("AWS.SimpleQueueService.BatchRequestTooLong".to_owned()));
    assert_eq!(queue.counts().await[0], "2");
}

#[tokio::test(start_paused = true)]
async fn batch_has_one_to_ten_entries_with_distinct_ids() {
    let queue = Queue::standard().await;
    let numbered = |count: usize| (0..count).map(|n| entry(n.to_string(), "x")).collect::<Vec<_>>();
    assert_eq!(send_all(&queue, numbered(10)).await, Ok(0));
    let refused = [
        (numbered(0), "EmptyBatchRequest"),
        (numbered(11), "TooManyEntriesInBatchRequest"),
        (vec![entry("a", "x"), entry("a", "y")], "BatchEntryIdsNotDistinct"),
        (vec![entry("a b", "x")], "InvalidBatchEntryId"),
        (vec![entry("", "x")], "InvalidBatchEntryId"),
        (vec![entry("x".repeat(81), "x")], "InvalidBatchEntryId"),
    ];
    for (entries, expected) in refused {
        assert_eq!(send_all(&queue, entries).await, Err(format!("AWS.SimpleQueueService.{expected}")));
    }
    assert_eq!(queue.counts().await[0], "10");
}

#[tokio::test(start_paused = true)]
async fn bad_message_in_a_batch_does_not_stop_the_others() {
    let queue = Queue::standard().await;
    assert_eq!(send_all(&queue, vec![entry("a", "\u{1}"), entry("b", ""), entry("c", "good")]).await, Ok(2));
    assert_eq!(queue.bodies().await, ["good"]);
}

#[tokio::test(start_paused = true)]
async fn numbers_out_of_range_are_refused() {
    let queue = Queue::standard().await;
    let receive = || queue.client.receive_message().queue_url(&queue.url);
    let refused = [
        receive().max_number_of_messages(0),
        receive().max_number_of_messages(11),
        receive().wait_time_seconds(-1),
        receive().wait_time_seconds(21),
        receive().visibility_timeout(-1),
        receive().visibility_timeout(43_201),
    ];
    for receive in refused {
        assert_eq!(code(&receive.send().await.unwrap_err()), "InvalidParameterValue");
    }
    for delay in [-1, 901] {
        let send = queue.client.send_message().queue_url(&queue.url).message_body("x").delay_seconds(delay);
        assert_eq!(code(&send.send().await.unwrap_err()), "InvalidParameterValue");
    }
}

#[tokio::test(start_paused = true)]
async fn refusals_have_the_texts_of_aws() {
    let (queue, fifo) = (Queue::standard().await, Queue::fifo().await);
    let wait = queue.client.receive_message().queue_url(&queue.url).wait_time_seconds(21).send().await.unwrap_err();
    let text = "Value 21 for parameter WaitTimeSeconds is invalid. Reason: Must be >= 0 and <= 20, if provided.";
    assert_eq!(wait.message(), Some(text));

    let send = || fifo.client.send_message().queue_url(&fifo.url).message_body("x");
    let group = send().message_group_id("a b").send().await.unwrap_err();
    let text = "Value a b for parameter MessageGroupId is invalid. Reason: MessageGroupId can only include \
                alphanumeric and punctuation characters. 1 to 128 in length.";
    assert_eq!(group.message(), Some(text));
    let delay = send().message_group_id("a").delay_seconds(1).send().await.unwrap_err();
    let text = "Value 1 for parameter DelaySeconds is invalid. Reason: The request include parameter that is not valid \
                for this queue type.";
    assert_eq!(delay.message(), Some(text));

    let none: &[Entry] = &[];
    let empty = queue.client.send_message_batch().queue_url(&queue.url).set_entries(Some(none.to_vec()));
    let empty = empty.send().await.unwrap_err();
    assert_eq!(empty.message(), Some("There should be at least one SendMessageBatchRequestEntry in the request."));
    let empty = queue.client.delete_message_batch().queue_url(&queue.url).set_entries(Some(Vec::new()));
    let empty = empty.send().await.unwrap_err();
    assert_eq!(empty.message(), Some("There should be at least one DeleteMessageBatchRequestEntry in the request."));

    queue.set("MaximumMessageSize", "1024").await;
    let large = "x".repeat(1_025);
    let batch =
        queue.client.send_message_batch().queue_url(&queue.url).entries(entry("a", &large)).send().await.unwrap();
    let text = "One or more parameters cannot be validated. Reason: Message must be shorter than 1024 bytes.";
    assert_eq!(batch.failed()[0].message(), Some(text));
    let alone = queue.client.send_message().queue_url(&queue.url).message_body(&large).send().await.unwrap_err();
    let text = "One or more parameters are invalid. Reason: Message must be shorter than 1024 bytes.";
    assert_eq!(alone.message(), Some(text));

    let delete = queue.client.delete_message().queue_url(&queue.url).receipt_handle("x").send().await.unwrap_err();
    assert_eq!(delete.message(), Some("The input receipt handle is invalid."));
}

#[tokio::test(start_paused = true)]
async fn at_most_120_000_messages_are_in_flight() {
    let queue = Queue::standard().await;
    for _ in 0..12_001 {
        send_all(&queue, (0..10).map(|n| entry(n.to_string(), "x")).collect()).await.unwrap();
    }
    let receive =
        || queue.client.receive_message().queue_url(&queue.url).max_number_of_messages(10).visibility_timeout(600);
    for _ in 0..12_000 {
        assert_eq!(receive().send().await.unwrap().messages().len(), 10);
    }
    assert_eq!(code(&receive().send().await.unwrap_err()), "OverLimit");
    let waited = receive().wait_time_seconds(1).send().await.unwrap();
    assert!(waited.messages().is_empty());
}

#[tokio::test(start_paused = true)]
async fn trace_header_has_to_be_a_string() {
    let queue = Queue::standard().await;
    let value = MessageSystemAttributeValue::builder().data_type("Number").string_value("1").build().unwrap();
    let send = queue.client.send_message().queue_url(&queue.url).message_body("x");
    let sent = send.message_system_attributes(SystemName::AwsTraceHeader, value).send().await;
    assert_eq!(code(&sent.unwrap_err()), "InvalidParameterValue");
}
