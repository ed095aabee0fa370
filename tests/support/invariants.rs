//! What holds of every answer, whatever the event: for the properties here and for the fuzz target.

#![allow(dead_code, reason = "the tests and the fuzz target each use a part of it")]

use std::collections::HashSet;

use lambda_runtime::{Context, LambdaEvent};
use redrive::{Body, Event};
use serde_json::Value;
use tower::Service;

/// Hands the bytes to a consumer as lambda_runtime would, and checks its answer. The handler takes bodies that begin
/// with an even byte.
pub(crate) async fn check(bytes: &[u8]) {
    let Ok(event) = Event::from_slice(bytes) else {
        return;
    };
    let json: Value = serde_json::from_slice(bytes).unwrap_or(Value::Null);
    let mut consumer = redrive::handler(|Body(body): Body| async move { takes(&body).then_some(()).ok_or("odd") });
    let Ok(answer) = consumer.call(LambdaEvent::new(event, Context::default())).await else {
        // A whole batch that comes back loses nothing.
        return;
    };
    let reported: Vec<&str> =
        answer.batch_item_failures.iter().map(|failure| failure.item_identifier.as_str()).collect();
    let distinct: HashSet<&str> = reported.iter().copied().collect();
    assert_eq!(distinct.len(), reported.len(), "an id is reported twice");
    assert!(!distinct.contains(""), "an empty id is reported");

    let records = json["Records"].as_array().map_or(&[][..], Vec::as_slice);
    let ids: Vec<&str> = records.iter().filter_map(|record| record["messageId"].as_str()).collect();
    let mut in_order = ids.iter();
    assert!(
        reported.iter().all(|id| in_order.any(|known| known == id)),
        "an id is none of the batch's, or out of order"
    );
    for record in records {
        let taken = record["body"].as_str().is_some_and(takes);
        let id = record["messageId"].as_str().filter(|id| !id.is_empty());
        let unique = ids.iter().filter(|known| Some(**known) == id).count() == 1;
        if !taken && unique {
            assert!(id.is_some_and(|id| distinct.contains(id)), "a record that failed is not reported");
        }
        if !taken && id.is_none() {
            panic!("a record that failed and cannot be named was passed over");
        }
    }
}

fn takes(body: &str) -> bool {
    body.as_bytes().first().is_some_and(|byte| byte % 2 == 0)
}
