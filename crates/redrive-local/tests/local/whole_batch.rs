//! Tests dead letters of a batch that is retried as a whole: each is sent once.

use std::sync::{Arc, Mutex};

use redrive::{Body, Consumer, Effects, HandlerKind, Outcome, ReceiveCount};
use redrive_local::{Delivery, Kit, TestQueue};

use crate::kit::{Queue, secs};
use crate::log;
use crate::wire::{self, broken};

/// Returns a consumer that dead-letters "poison" and fails "flaky" at its first four receives. Any failure fails the
/// batch.
fn consumer(effects: Effects) -> Consumer<impl HandlerKind + Sync> {
    let place = |Body(body): Body, ReceiveCount(count): ReceiveCount| async move {
        match &*body {
            "poison" => Ok(Outcome::DeadLetter("poison".into())),
            "flaky" if count < 5 => Err("not yet"),
            _ => Ok(Outcome::Done),
        }
    };
    redrive::handler(place).fail_batch_on_any_failure().effects(effects)
}

async fn filled(kit: &Kit, name: &str) -> TestQueue {
    let orders = kit.queue(name).max_receive_count(50).create().await.unwrap();
    for body in ["poison", "flaky", "after"] {
        match name.ends_with(".fifo") {
            true => orders.send_to("g", body).await.unwrap(),
            false => orders.send(body).await.unwrap(),
        };
    }
    orders
}

async fn dead_letters(orders: &TestQueue) -> usize {
    let url = orders.url().replace("orders", "orders-dlq");
    Queue { client: orders.client().clone(), url }.receive().await.len()
}

#[tokio::test(start_paused = true)]
async fn dead_letter_is_sent_once_when_a_failure_fails_the_batch() {
    for name in ["orders", "orders.fifo"] {
        let kit = Kit::with_seed(1);
        let orders = filled(&kit, name).await;
        let consumer = consumer(Effects::with_client(orders.client().clone()));
        orders.mapping(consumer).without_report_batch_item_failures().start().unwrap();
        kit.until_idle().await;
        let deliveries = orders.deliveries();
        let runs_of = |body: &str| deliveries.iter().filter(|each| each.body.as_deref() == Some(body)).count();
        assert_eq!((runs_of("poison"), runs_of("flaky")), (1, 5), "{name}: {deliveries:?}");
        assert_eq!(dead_letters(&orders).await, 1, "{name}");
        let done = deliveries.iter().filter(|each| each.done);
        let mut done: Vec<_> = done.filter_map(|Delivery { body, .. }| body.as_deref()).collect();
        if name == "orders" {
            // A standard queue has no order.
            done.sort_unstable_by_key(|body| *body == "after");
        }
        assert_eq!(done, ["flaky", "after"], "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn warning_is_logged_when_a_dead_lettered_message_cannot_be_deleted() {
    let logged = Arc::<Mutex<Vec<String>>>::default();
    let lines = logged.clone();
    let _log = log::to(move |line| lines.lock().unwrap().push(line.text));
    let kit = Kit::with_seed(1);
    let orders = kit.queue("orders").max_receive_count(5).create().await.unwrap();
    let client = wire::through(orders.client(), |call| async move {
        if call.operation == "DeleteMessageBatch" { broken() } else { call.pass().await }
    });
    orders.mapping(consumer(Effects::with_client(client))).function_timeout(secs(30)).start().unwrap();
    let id = orders.send("poison").await.unwrap();
    kit.until_idle().await;
    assert_eq!(
        (orders.deliveries().len(), dead_letters(&orders).await),
        (1, 1),
        "the message is not settled, although its dead letter was sent"
    );
    let logged = logged.lock().unwrap().join("\n");
    let line = logged
        .lines()
        .find(|line| line.contains("could not be deleted from its own"))
        .unwrap_or_else(|| panic!("{logged}"));
    assert!(line.contains("WARN") && line.contains(&id) && line.contains("sqs:DeleteMessage"), "{line}");
}

#[tokio::test(start_paused = true)]
async fn dead_lettered_message_is_deleted_when_another_record_has_no_id() {
    use lambda_runtime::{Context, LambdaEvent};
    use tower::Service;

    let kit = Kit::with_seed(1);
    let orders = kit.queue("orders").max_receive_count(5).create().await.unwrap();
    orders.send("poison").await.unwrap();
    let queue = Queue { client: orders.client().clone(), url: orders.url().to_owned() };
    let received = queue.receive().await.remove(0);
    let arn = queue.attribute("QueueArn").await;
    let records = serde_json::json!({ "Records": [
        {
            "messageId": received.message_id(), "receiptHandle": received.receipt_handle(), "body": "poison",
            "attributes": { "ApproximateReceiveCount": "1" }, "eventSource": "aws:sqs", "eventSourceARN": arn,
        },
        { "body": "nameless", "eventSource": "aws:sqs", "eventSourceARN": arn },
    ]});
    let place = |Body(body): Body| async move {
        if body == "poison" { Outcome::DeadLetter("poison".into()) } else { Outcome::Retry }
    };
    let mut consumer = redrive::handler(place).effects(Effects::with_client(orders.client().clone()));
    let event = records.to_string().parse::<redrive::Event>().unwrap();
    let error = consumer.call(LambdaEvent::new(event, Context::default())).await.unwrap_err();
    assert!(error.is_unreportable(), "{error}");
    assert_eq!((queue.counts().await, dead_letters(&orders).await), (["0", "0", "0"].map(str::to_owned), 1));
}

#[tokio::test(start_paused = true)]
async fn dead_letter_needs_no_delete_when_the_answer_names_the_failures() {
    let kit = Kit::with_seed(1);
    let orders = kit.queue("orders").max_receive_count(5).create().await.unwrap();
    let calls = crate::calls::Calls::default();
    let place = |Body(_): Body| async { Outcome::DeadLetter("poison".into()) };
    let effects = Effects::with_client(calls.client_of(kit.sqs()));
    orders.mapping(redrive::handler(place).effects(effects)).start().unwrap();
    orders.send("an order").await.unwrap();
    kit.until_idle().await;
    assert_eq!((calls.count("SendMessage"), calls.count("DeleteMessageBatch")), (1, 0));
}
