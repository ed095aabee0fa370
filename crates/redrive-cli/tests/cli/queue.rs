//! `redrive queue create`.

use serde_json::{Value, json};

use crate::kit::{Ran, command, directory, ran};
use crate::served::Served;

fn create(served: &Served, arguments: &[&str]) -> Ran {
    let arguments = [&["queue", "create", "--endpoint-url", &served.url], arguments].concat();
    ran(command(&directory(), &arguments).output().unwrap())
}

fn refused(ran: &Ran, expected: &[&str]) {
    assert_eq!((ran.status, ran.stdout.as_str()), (2, ""), "{}", ran.stderr);
    for expected in expected {
        assert!(ran.stderr.contains(expected), "{expected}: {}", ran.stderr);
    }
}

#[test]
fn queue_is_created_with_its_dead_letter_queue() {
    let served = Served::with(&[]);
    let ran = create(&served, &["orders"]);
    let expected = format!(
        "queue  {0}/000000000000/orders      arn:aws:sqs:us-east-1:000000000000:orders      new\n\
         dlq    {0}/000000000000/orders-dlq  arn:aws:sqs:us-east-1:000000000000:orders-dlq  new\n",
        served.url
    );
    assert_eq!((ran.status, ran.stdout, ran.stderr.as_str()), (0, expected, ""));
    let has = |name: &str| served.attribute("orders", name);
    assert_eq!(
        ["VisibilityTimeout", "MessageRetentionPeriod", "ReceiveMessageWaitTimeSeconds"].map(has),
        ["60", "345600", "20"]
    );
    assert_eq!(
        serde_json::from_str::<Value>(&has("RedrivePolicy")).unwrap(),
        json!({"deadLetterTargetArn": "arn:aws:sqs:us-east-1:000000000000:orders-dlq", "maxReceiveCount": 5})
    );
    assert_eq!(served.attribute("orders-dlq", "MessageRetentionPeriod"), "1209600");
}

#[test]
fn second_run_finds_the_existing_queues() {
    let served = Served::with(&[]);
    let arguments = ["orders", "--fifo", "--max-receive-count", "3", "--content-based-deduplication", "--json"];
    let first: Value = serde_json::from_str(&create(&served, &arguments).stdout).unwrap();
    assert_eq!(first["queue"]["name"], "orders.fifo");
    assert_eq!(first["dead_letter_queue"]["url"], served.url_of("orders-dlq.fifo"));
    assert_eq!(first["queue"]["created"], true);
    let mut second: Value = serde_json::from_str(&create(&served, &arguments).stdout).unwrap();
    for queue in ["queue", "dead_letter_queue"] {
        assert_eq!(second[queue]["created"], false);
        second[queue]["created"] = true.into();
    }
    assert_eq!(first, second);
    assert_eq!(served.attribute("orders.fifo", "ContentBasedDeduplication"), "true");
}

#[test]
fn queue_with_other_settings_is_reported_and_left_alone() {
    let served = Served::with(&["orders"]);
    served.set("orders", "VisibilityTimeout", "7");
    let ran = create(&served, &["orders"]);
    refused(
        &ran,
        &["orders exists with other settings", "its VisibilityTimeout is 7, not 60", "it has no RedrivePolicy"],
    );
    refused(&ran, &["set-queue-attributes", "its dead-letter queue orders-dlq was created"]);
    assert_eq!(served.attribute("orders", "VisibilityTimeout"), "7");

    refused(
        &create(&served, &["other", "--dlq", "orders"]),
        &["orders exists with other settings", "MessageRetentionPeriod"],
    );
    assert_eq!(served.queues(), ["orders", "orders-dlq"], "no queue is created without its dead-letter queue");
}

#[test]
fn invalid_name_is_refused_before_a_queue_is_created() {
    let served = Served::with(&[]);
    refused(&create(&served, &["a b"]), &["\"a b\" names no queue"]);
    refused(&create(&served, &["orders", "--dlq", "a.b"]), &["\"a.b\" names no queue"]);
    refused(&create(&served, &["orders", "--content-based-deduplication"]), &["--fifo"]);
    refused(&create(&served, &["orders", "--max-receive-count", "1001"]), &["1..=1000"]);
    refused(&create(&served, &[&"x".repeat(77)]), &["cannot create the queue", "80"]);
    assert!(served.queues().is_empty());
}
