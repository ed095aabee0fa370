//! The trace context that a message carries to its receiver.

use std::sync::atomic::{AtomicUsize, Ordering};

use aws_sdk_sqs::types::MessageSystemAttributeName as System;
use redrive::{
    Attribute, AttributeValue, BoxError, FromAttribute, Outgoing, Producer, SendId, TraceContext, TraceHeader,
};
use redrive_local::Kit;

use crate::kit::{Queue, system, text};

const HEADER: &str = "Root=1-5759e988-bd862e3fe1be46a994272793";
const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn context() -> TraceContext {
    TraceContext::default().trace_header(HEADER).traceparent(PARENT)
}

#[tokio::test(start_paused = true)]
async fn message_carries_the_trace_context() {
    let queue = Queue::new("orders", 1).await;
    let producer = queue.builder().trace_context(context).build();
    producer.send(Outgoing::text("x")).await.unwrap();
    producer
        .send(Outgoing::text("y").trace_header("Root=2").attribute("traceparent", AttributeValue::string("own")))
        .await
        .unwrap();
    let messages = queue.take_all().await;
    let seen = messages.iter().map(|message| {
        (
            message.body().unwrap(),
            system(message, System::AwsTraceHeader).unwrap(),
            text(message, "traceparent").unwrap(),
        )
    });
    let mut seen: Vec<_> = seen.collect();
    seen.sort();
    let owned = |header: &str, parent: &str| (header.to_owned(), parent.to_owned());
    let ((x, y), (own_x, own_y)) = (("x", "y"), (owned(HEADER, PARENT), owned("Root=2", "own")));
    assert_eq!(seen, [(x, own_x.0, own_x.1), (y, own_y.0, own_y.1)]);
}

#[tokio::test(start_paused = true)]
async fn messages_of_one_send_share_a_trace() {
    let queue = Queue::new("orders", 1).await;
    let asked = AtomicUsize::new(0);
    let next = move || TraceContext::default().trace_header(format!("Root={}", asked.fetch_add(1, Ordering::Relaxed)));
    let producer = queue.builder().trace_context(next).build();
    producer.send(Outgoing::text("x")).await.unwrap();
    producer.send_all(["y", "z"].map(Outgoing::text)).await;
    let messages = queue.take_all().await;
    let trace = |message| system(message, System::AwsTraceHeader).unwrap();
    let mut seen: Vec<_> = messages.iter().map(|message| (message.body().unwrap(), trace(message))).collect();
    seen.sort();
    assert_eq!(seen, [("x", "Root=0".to_owned()), ("y", "Root=1".to_owned()), ("z", "Root=1".to_owned())]);
}

struct Parent(String);

impl FromAttribute for Parent {
    const NAME: &'static str = "traceparent";

    fn from_attribute(value: AttributeValue) -> Result<Self, BoxError> {
        Ok(Self(value.as_str().ok_or("a traceparent is a text")?.to_owned()))
    }
}

#[tokio::test(start_paused = true)]
async fn handler_reads_the_trace_that_the_producer_added() {
    let kit = Kit::with_seed(1);
    for name in ["orders", "orders.fifo"] {
        let queue = kit.queue(name).max_receive_count(1).create().await.unwrap();
        let read = async |SendId(id): SendId,
                          TraceHeader(header): TraceHeader,
                          Attribute(Parent(parent)): Attribute<Parent>| {
            assert_eq!((id.as_str(), header.as_str(), parent.as_str()), ("mine", HEADER, PARENT));
        };
        queue.mapping(redrive::handler(read)).start().unwrap();
        let producer = Producer::builder(queue.client().clone(), queue.url()).trace_context(context).build();
        producer.send(Outgoing::text("x").group("g").deduplication_id("mine")).await.unwrap();
        kit.until_idle().await;
        assert!(queue.deliveries()[0].done, "{:?}", queue.dead_letters());
    }
}

#[tokio::test(start_paused = true)]
async fn trace_that_sqs_would_refuse_is_left_out() {
    let queue = Queue::new("orders", 1).await;
    for wrong in ["", "a\0b", "a\u{b}"] {
        let context = move || TraceContext::default().trace_header(wrong).traceparent(wrong);
        queue.builder().trace_context(context).build().send(Outgoing::text("x")).await.unwrap();
        let message = queue.take_all().await.pop().unwrap();
        assert_eq!((system(&message, System::AwsTraceHeader), text(&message, "traceparent")), (None, None));
    }
}
