//! Tests the setting that dead-letters malformed messages at their first receive.

use redrive::{Body, Effects, FromRecord, Json, Outcome, ReceiveCount, Record, Rejection};
use redrive_local::{Kit, TestQueue};
use tokio::time::Instant;

use crate::kit::Queue;

fn effects(queue: &TestQueue) -> Effects {
    Effects::with_client(queue.client().clone()).dead_letter_malformed()
}

async fn orders(kit: &Kit, name: &str) -> TestQueue {
    kit.queue(name).max_receive_count(4).create().await.unwrap()
}

/// Returns how often the message with this body was received.
fn receives(orders: &TestQueue, body: &str) -> usize {
    orders.deliveries().iter().filter(|each| each.body.as_deref() == Some(body)).count()
}

/// Returns the reasons of the dead letters.
async fn reasons(orders: &TestQueue) -> Vec<String> {
    let url = orders.url().replace("orders", "orders-dlq");
    let dead = Queue { client: orders.client().clone(), url }.receive().await;
    let reason = |message: &aws_sdk_sqs::types::Message| {
        let attributes = message.message_attributes()?;
        Some(attributes.get("redrive.reason")?.string_value()?.to_owned())
    };
    dead.iter().map(|message| reason(message).unwrap_or_default()).collect()
}

#[tokio::test(start_paused = true)]
async fn malformed_body_is_dead_lettered_at_its_first_receive() {
    let kit = Kit::with_seed(1);
    let orders = orders(&kit, "orders").await;
    let place = |Json(_): Json<u32>| async {};
    orders.mapping(redrive::handler(place).effects(effects(&orders))).start().unwrap();
    for body in ["no number", "7"] {
        orders.send(body).await.unwrap();
    }
    kit.until_idle().await;
    assert_eq!((receives(&orders, "no number"), receives(&orders, "7")), (1, 1));
    let reasons = reasons(&orders).await;
    assert!(reasons.len() == 1 && reasons[0].contains("body is malformed"), "{reasons:?}");
    assert!(!reasons[0].contains("no number"), "the reason contains the private payload: {reasons:?}");
}

#[tokio::test(start_paused = true)]
async fn malformed_body_is_retried_by_default() {
    let kit = Kit::with_seed(1);
    let orders = orders(&kit, "orders").await;
    let place = |Json(_): Json<u32>| async {};
    let effects = Effects::with_client(orders.client().clone());
    orders.mapping(redrive::handler(place).effects(effects)).start().unwrap();
    orders.send("no number").await.unwrap();
    kit.until_idle().await;
    assert_eq!(receives(&orders, "no number"), 4);
}

#[tokio::test(start_paused = true)]
async fn malformed_item_of_a_batch_handler_is_dead_lettered_and_the_others_are_handled() {
    let kit = Kit::with_seed(1);
    let orders = orders(&kit, "orders").await;
    async fn store(_: Vec<(Json<u32>, ReceiveCount)>) -> Result<(), &'static str> {
        Ok(())
    }
    orders.mapping(redrive::batch(store).effects(effects(&orders))).start().unwrap();
    for body in ["no number", "7", "{}"] {
        orders.send(body).await.unwrap();
    }
    kit.until_idle().await;
    assert!(orders.deliveries().len() == 3 && orders.deliveries().iter().all(|each| each.done));
    assert_eq!(reasons(&orders).await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn group_continues_once_the_dead_letter_is_accepted() {
    for arrives in [true, false] {
        let kit = Kit::with_seed(1);
        let orders = orders(&kit, "orders.fifo").await;
        let place = |Json(_): Json<u32>| async {};
        let mut effects = effects(&orders);
        if !arrives {
            effects = effects.dead_letter_queue(orders.url().replace("orders", "nowhere"));
        }
        orders.mapping(redrive::handler(place).effects(effects)).start().unwrap();
        for body in ["1", "malformed", "2"] {
            orders.send_to("g", body).await.unwrap();
        }
        let began = Instant::now();
        kit.until_idle().await;
        let first: Vec<_> = orders.deliveries()[..3].iter().map(|each| each.done).collect();
        assert_eq!(first, [true, arrives, arrives], "later messages have to wait for the dead letter");
        assert_eq!(began.elapsed().as_secs() == 0, arrives);
    }
}

/// Rejects the bodies "absent" and "malformed" with the rejection of that name.
struct Address;

impl<S: Sync> FromRecord<S> for Address {
    type Rejection = Rejection;

    async fn from_record(record: &Record, state: &S) -> Result<Self, Rejection> {
        match &*Body::from_record(record, state).await?.0 {
            "absent" => Err(Rejection::absent("address")),
            "malformed" => Err(Rejection::malformed("address", "it has no street")),
            _ => Ok(Self),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn malformed_rejection_of_a_custom_extractor_is_dead_lettered_and_other_rejections_are_retried() {
    let kit = Kit::with_seed(1);
    let orders = orders(&kit, "orders").await;
    let place = |_: Address| async {};
    orders.mapping(redrive::handler(place).effects(effects(&orders))).start().unwrap();
    for body in ["absent", "malformed", "address"] {
        orders.send(body).await.unwrap();
    }
    kit.until_idle().await;
    assert_eq!(["absent", "malformed", "address"].map(|body| receives(&orders, body)), [4, 1, 1]);
}

#[tokio::test(start_paused = true)]
async fn rejection_that_a_handler_returns_is_retried() {
    let kit = Kit::with_seed(1);
    let orders = orders(&kit, "orders").await;
    let place = |order: Result<Json<u32>, Rejection>| async move { order.map(|_| ()) };
    orders.mapping(redrive::handler(place).effects(effects(&orders))).start().unwrap();
    orders.send("no number").await.unwrap();
    kit.until_idle().await;
    assert_eq!(receives(&orders, "no number"), 4, "an error of the handler has to be retried");
}

#[tokio::test(start_paused = true)]
async fn error_of_a_layer_is_retried() {
    let kit = Kit::with_seed(1);
    let orders = orders(&kit, "orders").await;
    let place = |Body(_): Body| async { Outcome::Done };
    let consumer = redrive::handler(place).layer(tower::layer::layer_fn(|_| {
        tower::service_fn(|_: Record| async { Err::<Outcome, redrive::BoxError>("the breaker is open".into()) })
    }));
    orders.mapping(consumer.effects(effects(&orders))).start().unwrap();
    orders.send("an order").await.unwrap();
    kit.until_idle().await;
    assert_eq!(receives(&orders, "an order"), 4);
}
