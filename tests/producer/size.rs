//! Queues with a size limit below 1 MiB.

use aws_sdk_sqs::types::{Message, MessageSystemAttributeName as System, QueueAttributeName as Name};
use redrive::{AttributeValue, Outgoing, Producer, ProducerBuilder, TraceContext};
use serde_json::{Value, json};

use crate::fake_sqs;
use crate::kit::{Queue, secs, system, text};

const LIMIT_BYTES: usize = 2_048;
const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
/// The bytes of the attributes that a producer adds: names, types and values.
const ID_BYTES: usize = "redrive.id".len() + "String".len() + 32;
const PARENT_BYTES: usize = "traceparent".len() + "String".len() + PARENT.len();

async fn small(name: &str) -> Queue {
    Queue::with(name, 1, &[(Name::MaximumMessageSize, "2048")]).await
}

fn traced(builder: ProducerBuilder) -> Producer {
    builder.trace_context(|| TraceContext::default().traceparent(PARENT.to_owned())).build()
}

/// Returns a body with which the message, and this much of the added attributes, reaches the queue's limit.
fn body(added_bytes: usize) -> String {
    "x".repeat(LIMIT_BYTES - added_bytes)
}

fn has(message: &Message) -> (bool, bool) {
    (text(message, "traceparent").is_some(), text(message, "redrive.id").is_some())
}

#[tokio::test(start_paused = true)]
async fn added_attributes_are_left_out_in_order() {
    for (added, expected) in [
        (ID_BYTES + PARENT_BYTES, (true, true)),
        (ID_BYTES + PARENT_BYTES - 1, (false, true)),
        (ID_BYTES, (false, true)),
        (ID_BYTES - 1, (false, false)),
        (0, (false, false)),
    ] {
        let queue = small("orders").await;
        let producer = traced(queue.builder());
        for _ in 0..2 {
            producer.send(Outgoing::text(body(added))).await.unwrap();
        }
        let messages = queue.take_all().await;
        assert_eq!(messages.iter().map(has).collect::<Vec<_>>(), [expected; 2], "{added} bytes are added");
        let refused = usize::from(expected != (true, true));
        assert_eq!(queue.calls.total(), 2 + refused, "the limit is learned once");
    }
}

#[tokio::test(start_paused = true)]
async fn message_above_the_limit_is_refused_once_with_the_limit() {
    for name in ["orders", "orders.fifo"] {
        let queue = small(name).await;
        let messages = [body(200), "x".repeat(LIMIT_BYTES + 1), body(200)];
        let results = traced(queue.builder()).send_all(messages.map(|body| Outgoing::text(body).group("g"))).await;
        assert!(results[0].is_ok() && results[2].is_ok(), "{results:?}");
        let error = results[1].as_ref().unwrap_err();
        assert!(error.is_too_large() && !error.is_retryable(), "{error}");
        assert!(error.to_string().contains("accepts 2048 bytes") && !error.to_string().contains("xxx"), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn message_in_another_form_keeps_its_place_and_deduplication_id() {
    let queue = small("orders.fifo").await;
    let messages = ["1", "2", "3"].map(|number| {
        let body = format!("{number}{}", "x".repeat(LIMIT_BYTES - 1));
        Outgoing::text(body).group("g").deduplication_id(number)
    });
    let results = traced(queue.builder()).send_all(messages).await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    let messages = queue.take_all().await;
    let ids: Vec<_> = messages.iter().map(|message| system(message, System::MessageDeduplicationId).unwrap()).collect();
    assert_eq!(ids, ["1", "2", "3"]);
    assert!(messages.iter().all(|message| has(message) == (false, false)));
}

#[tokio::test(start_paused = true)]
async fn raised_limit_is_noticed() {
    let queue = small("orders").await;
    let producer = traced(queue.builder());
    producer.send(Outgoing::text(body(1))).await.unwrap();
    let set = queue.sqs.client().set_queue_attributes().queue_url(&queue.url);
    set.attributes(Name::MaximumMessageSize, "1048576").send().await.unwrap();
    producer.send(Outgoing::text("x".repeat(LIMIT_BYTES + 1))).await.unwrap();
    producer.send(Outgoing::text(body(1))).await.unwrap();
    let messages = queue.take_all().await;
    assert!(messages.iter().any(|message| has(message) == (true, true)), "the last one has both attributes");
}

#[tokio::test(start_paused = true)]
async fn learned_limit_is_forgotten_after_ten_minutes() {
    let queue = small("orders").await;
    let producer = traced(queue.builder());
    producer.send(Outgoing::text(body(1))).await.unwrap();
    let set = queue.sqs.client().set_queue_attributes().queue_url(&queue.url);
    set.attributes(Name::MaximumMessageSize, "4096").send().await.unwrap();
    queue.take_all().await;
    producer.send(Outgoing::text(body(1))).await.unwrap();
    assert_eq!(has(&queue.take_all().await[0]), (false, false), "the limit is still known");
    tokio::time::sleep(secs(600)).await;
    producer.send(Outgoing::text(body(1))).await.unwrap();
    assert_eq!(has(&queue.take_all().await[0]), (true, true));
}

#[tokio::test(start_paused = true)]
async fn send_id_can_be_turned_off() {
    let queue = Queue::new("orders", 1).await;
    let producer = queue.builder().without_send_id().build();
    producer.send(Outgoing::text("x")).await.unwrap();
    producer.send(Outgoing::text("y").deduplication_id("7")).await.unwrap();
    // An outbox row looks like this.
    let row = Outgoing::text("z").deduplication_id("7").attribute("redrive.id", AttributeValue::string("7"));
    producer.send(row).await.unwrap();
    assert!(queue.take_all().await.iter().all(|message| message.message_attributes().is_none()));
}

/// A server's refusal of a message that is too large, for the entry or for the call.
type Refusal = fn(usize) -> (u16, Value);

fn entry_says(code: &str, message: &str) -> (u16, Value) {
    let failed = json!([{ "Id": "0", "Code": code, "Message": message, "SenderFault": true }]);
    (200, json!({ "Successful": [], "Failed": failed }))
}

/// Sends a message to a queue with a limit. Returns the number of calls, and which attributes arrived.
async fn calls_for(limit_bytes: usize, refusal: Refusal, body_bytes: usize) -> (usize, bool, bool) {
    let calls = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = calls.clone();
    let last = std::sync::Arc::new(std::sync::Mutex::new((false, false)));
    let seen = last.clone();
    let client = fake_sqs::client(move |_, request| {
        counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let entry = &request["Entries"][0];
        let attributes = entry["MessageAttributes"].as_object().cloned().unwrap_or_default();
        let of_attributes = attributes
            .iter()
            .map(|(name, value)| name.len() + "String".len() + value["StringValue"].as_str().unwrap().len());
        let bytes = entry["MessageBody"].as_str().unwrap().len() + of_attributes.sum::<usize>();
        *seen.lock().unwrap() = (attributes.contains_key("traceparent"), attributes.contains_key("redrive.id"));
        let answer = match bytes > limit_bytes {
            true => refusal(limit_bytes),
            false => {
                (200, json!({ "Successful": [{ "Id": "0", "MessageId": "m", "MD5OfMessageBody": "" }], "Failed": [] }))
            }
        };
        async move { answer }
    });
    let producer = traced(Producer::builder(client, "http://sqs.localhost/000000000000/orders"));
    producer.send(Outgoing::text("x".repeat(body_bytes))).await.unwrap();
    let (parent, id) = *last.lock().unwrap();
    (calls.load(std::sync::atomic::Ordering::Relaxed), parent, id)
}

#[tokio::test(start_paused = true)]
async fn every_wording_of_a_size_refusal_is_understood() {
    let refusals: [(&str, Refusal); 5] = [
        ("AWS, in an entry", |limit| {
            let message = format!(
                "One or more parameters cannot be validated. Reason: Message must be shorter than {limit} bytes."
            );
            entry_says("InvalidParameterValue", &message)
        }),
        ("AWS, of a call", |limit| {
            let message =
                format!("One or more parameters are invalid. Reason: Message must be shorter than {limit} bytes.");
            (400, json!({ "__type": "com.amazonaws.sqs#InvalidParameterValueException", "message": message }))
        }),
        ("moto", |limit| {
            let message = format!("Batch requests cannot be longer than {limit} bytes. You have sent 2099 bytes.");
            (400, json!({ "__type": "AWS.SimpleQueueService.BatchRequestTooLong", "message": message }))
        }),
        ("without a number", |_| entry_says("MessageTooLong", "MessageTooLong; see the SQS docs.")),
        ("a proxy", |_| (413, json!("<html>413 Request Entity Too Large</html>"))),
    ];
    for (who, refusal) in refusals {
        let (calls, parent, id) = calls_for(LIMIT_BYTES, refusal, LIMIT_BYTES - ID_BYTES).await;
        assert_eq!((calls, parent, id), (2, false, true), "{who}");
        let (calls, parent, id) = calls_for(LIMIT_BYTES, refusal, LIMIT_BYTES).await;
        assert!(calls <= 3 && !parent && !id, "{who}: {calls} calls");
    }
}
