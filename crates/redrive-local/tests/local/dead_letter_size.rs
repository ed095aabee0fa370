//! Tests dead letters for a queue with a lower size limit than the source queue.

use aws_sdk_sqs::types::{Message, MessageAttributeValue, QueueAttributeName as Name};
use redrive::{Body, Effects, Outcome};
use redrive_local::{Kit, TestQueue};

use crate::calls::Calls;
use crate::kit::{Queue, secs};

const LIMIT_BYTES: usize = 2_048;
const ATTRIBUTES: [(&str, &str); 2] = [("traceparent", "00-1-2-01"), ("redrive.id", "7")];

async fn orders(kit: &Kit) -> TestQueue {
    let orders = kit.queue("orders").visibility_timeout(secs(60)).max_receive_count(3).create().await.unwrap();
    let set = orders.client().set_queue_attributes().queue_url(dead_url(&orders));
    set.attributes(Name::MaximumMessageSize, LIMIT_BYTES.to_string()).send().await.unwrap();
    orders
}

fn dead_url(orders: &TestQueue) -> String {
    orders.url().replace("orders", "orders-dlq")
}

/// Sends a message of this many bytes, including the attributes that a producer adds.
async fn send(orders: &TestQueue, bytes: usize) {
    let added: usize = ATTRIBUTES.iter().map(|(name, value)| name.len() + "String".len() + value.len()).sum();
    let mut send = orders.client().send_message().queue_url(orders.url()).message_body("x".repeat(bytes - added));
    for (name, value) in ATTRIBUTES {
        let value = MessageAttributeValue::builder().data_type("String").string_value(value).build().unwrap();
        send = send.message_attributes(name, value);
    }
    send.send().await.unwrap();
}

/// Returns the dead letters of a message of this size that failed for a long reason. Also returns the numbers of calls
/// to the dead-letter queue and of runs.
async fn dead_letter(bytes: usize, effects: impl Fn(Effects) -> Effects) -> (Vec<Message>, usize, usize) {
    let kit = Kit::with_seed(1);
    let orders = orders(&kit).await;
    let calls = Calls::default();
    let fail = |Body(_): Body| async { Outcome::DeadLetter("r".repeat(4_000).into()) };
    let client = calls.client_of(kit.sqs());
    orders.mapping(redrive::handler(fail).effects(effects(Effects::with_client(client)))).start().unwrap();
    send(&orders, bytes).await;
    kit.until_idle().await;
    let dead = Queue { client: orders.client().clone(), url: dead_url(&orders) }.receive().await;
    (dead, calls.count("SendMessage"), orders.deliveries().len())
}

fn names(message: &Message) -> Vec<&str> {
    let mut names: Vec<_> = message.message_attributes().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    names
}

#[tokio::test(start_paused = true)]
async fn dead_letter_over_the_limit_is_sent_again_with_less() {
    let (dead, sends, runs) = dead_letter(LIMIT_BYTES - 500, |effects| effects).await;
    assert_eq!((dead.len(), sends, runs), (1, 2, 1));
    assert!(!names(&dead[0]).contains(&"traceparent") && names(&dead[0]).contains(&"redrive.id"));
    let attributes = dead[0].message_attributes().unwrap();
    let reason = attributes["redrive.reason"].string_value().unwrap();
    assert!((64..4_000).contains(&reason.len()), "the reason has {} bytes", reason.len());
    assert!(names(&dead[0]).contains(&"redrive.source"), "the rest of the note is missing");
}

#[tokio::test(start_paused = true)]
async fn message_of_the_full_size_arrives_without_a_note() {
    let traceparent_bytes = "traceparent".len() + "String".len() + "00-1-2-01".len();
    let id_bytes = "redrive.id".len() + "String".len() + "7".len();
    for (bytes, expected) in [
        (LIMIT_BYTES + traceparent_bytes, vec!["redrive.id"]),
        (LIMIT_BYTES + traceparent_bytes + 1, vec![]),
        (LIMIT_BYTES + traceparent_bytes + id_bytes, vec![]),
    ] {
        let (dead, _, runs) = dead_letter(bytes, |effects| effects).await;
        assert_eq!((dead.len(), runs), (1, 1), "{bytes} bytes");
        assert_eq!(names(&dead[0]), expected, "{bytes} bytes");
    }
}

#[tokio::test(start_paused = true)]
async fn message_over_the_limit_is_retried_and_moved_by_the_redrive_policy() {
    let (dead, sends, runs) = dead_letter(LIMIT_BYTES + 200, |effects| effects).await;
    assert_eq!((dead.len(), runs, sends), (1, 3, 3), "expected one call for each run");
    assert!(names(&dead[0]).contains(&"traceparent"), "SQS changed the message");
}

#[tokio::test(start_paused = true)]
async fn note_can_be_turned_off() {
    let (dead, ..) = dead_letter(1_000, Effects::without_note).await;
    assert_eq!(names(&dead[0]), ["redrive.id", "traceparent"]);
}
