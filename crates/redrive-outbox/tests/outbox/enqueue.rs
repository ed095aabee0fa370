//! Tests of `enqueue`: messages that it writes, and messages that it refuses.

use aws_sdk_sqs::types::MessageSystemAttributeName as System;
use redrive::{AttributeValue, Outgoing, TraceContext};
use redrive_outbox::Outbox;

use crate::database::{TestDatabase, on_each_database};
use crate::kit::{World, of};
use crate::queue::{secs, system, text};

on_each_database! {
    message_is_sent_only_if_its_transaction_commits
    message_arrives_with_all_its_parts
    message_that_sqs_would_refuse_is_not_written
    json_with_characters_that_sqs_refuses_is_enqueued
    second_migration_changes_nothing
    message_carries_the_trace_of_its_transaction
}

async fn message_is_sent_only_if_its_transaction_commits<DB: TestDatabase>() {
    let world = World::<DB>::new("orders").await;
    let mut transaction = world.pool.begin().await.unwrap();
    world.outbox.enqueue(&mut transaction, Outgoing::text("undone")).await.unwrap();
    transaction.rollback().await.unwrap();
    let mut transaction = world.pool.begin().await.unwrap();
    world.outbox.enqueue(&mut transaction, &7).await.unwrap();
    world.outbox.enqueue(&mut transaction, &8).await.unwrap();
    transaction.commit().await.unwrap();
    world.relay_all().await;
    let mut bodies = world.queue.bodies().await;
    bodies.sort();
    assert_eq!(bodies, ["7", "8"]);
    assert_eq!(world.states().await, ["sent", "sent"]);
}

async fn message_arrives_with_all_its_parts<DB: TestDatabase>() {
    let world = World::<DB>::new("orders").await;
    let message = Outgoing::text("{\"é\": \"\u{1f600}\"}").group("fair").delay(secs(1)).trace_header("Root=1-2-3");
    let message = message.attribute("n", AttributeValue::number(7).labelled("int"));
    let id = world.enqueue(message.attribute("b", AttributeValue::binary([0, 255, 7]))).await;
    world.relay_all().await;
    tokio::time::sleep(secs(1)).await;
    let message = world.queue.take_all().await.pop().unwrap();
    assert_eq!(message.body(), Some("{\"é\": \"\u{1f600}\"}"));
    let attributes = message.message_attributes().unwrap();
    assert_eq!((attributes["n"].data_type(), attributes["n"].string_value()), ("Number.int", Some("7")));
    assert_eq!(attributes["b"].binary_value().unwrap().as_ref(), [0, 255, 7]);
    assert_eq!(text(&message, "redrive.id"), Some(id));
    assert_eq!(system(&message, System::MessageGroupId).as_deref(), Some("fair"));
    assert_eq!(system(&message, System::AwsTraceHeader).as_deref(), Some("Root=1-2-3"));
    let sqs = DB::texts(&world.pool, "select sqs_message_id from redrive_outbox").await;
    assert_eq!(sqs, [message.message_id().unwrap()]);
}

async fn json_with_characters_that_sqs_refuses_is_enqueued<DB: TestDatabase>() {
    let world = World::<DB>::new("orders").await;
    let value = "\u{fffe}\u{ffff}\u{0}";
    let mut transaction = world.pool.begin().await.unwrap();
    world.outbox.enqueue(&mut transaction, value).await.unwrap();
    transaction.commit().await.unwrap();
    world.relay_all().await;
    let bodies = world.queue.bodies().await;
    assert_eq!(serde_json::from_str::<String>(&bodies[0]).unwrap(), value);
}

async fn message_that_sqs_would_refuse_is_not_written<DB: TestDatabase>() {
    let world = World::<DB>::new("orders.fifo").await;
    let mut transaction = world.pool.begin().await.unwrap();
    for message in [Outgoing::text("no group"), of("g", ""), of("g", &"x".repeat(1_048_577))] {
        let error = world.outbox.enqueue(&mut transaction, message).await.unwrap_err();
        assert!(error.as_send_error().is_some(), "{error}");
    }
    // The transaction is still usable.
    let id = world.outbox.enqueue(&mut transaction, of("g", "x").deduplication_id("mine")).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(id, "mine");
    world.relay_all().await;
    let message = world.queue.take_all().await.pop().unwrap();
    assert_eq!(system(&message, System::MessageDeduplicationId).as_deref(), Some("mine"));
    assert_eq!(text(&message, "redrive.id").as_deref(), Some("mine"));
}

async fn second_migration_changes_nothing<DB: TestDatabase>() {
    let (pool, _keeper) = DB::fresh().await;
    tokio::try_join!(Outbox::migrate(&pool), Outbox::migrate(&pool), Outbox::migrate(&pool)).unwrap();
    let versions = DB::numbers(&pool, "select version from redrive_outbox_migration").await;
    assert_eq!(versions, Outbox::migrations::<DB>().iter().map(|step| step.version).collect::<Vec<_>>());
}

async fn message_carries_the_trace_of_its_transaction<DB: TestDatabase>() {
    let mut world = World::<DB>::new("orders").await;
    world.outbox = world.outbox.trace_context(|| {
        let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        TraceContext::default().trace_header("Root=1-5").traceparent(parent)
    });
    world.enqueue(Outgoing::text("x")).await;
    world.relay_all().await;
    let message = world.queue.take_all().await.pop().unwrap();
    assert_eq!(system(&message, System::AwsTraceHeader).as_deref(), Some("Root=1-5"));
    assert!(text(&message, "traceparent").unwrap().starts_with("00-4bf9"));
}
