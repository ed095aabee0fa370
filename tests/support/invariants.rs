//! What holds of every answer, whatever the event: for the properties here and for the fuzz target.

#![allow(dead_code, reason = "the tests and the fuzz target each use a part of it")]

use std::collections::HashSet;
use std::fmt;

use lambda_runtime::{Context, LambdaEvent};
use redrive::{Body, Event};
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use tower::Service;

/// Hands the bytes to a consumer as lambda_runtime would, and checks its answer. The handler takes bodies that begin
/// with an even byte.
pub(crate) async fn check(bytes: &[u8]) {
    let event = match Event::from_slice(bytes) {
        Ok(event) => event,
        Err(error) => {
            let says_no_json = error.to_string().contains("it is not JSON");
            let parsed = std::str::from_utf8(bytes).is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok());
            assert_eq!(says_no_json, !parsed, "refused for the wrong reason: {error}");
            return;
        }
    };
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

    // Bytes that are no text may stand where nobody looks.
    let records = records(&String::from_utf8_lossy(bytes));
    let mut in_order = records.iter();
    assert!(
        reported.iter().all(|id| in_order.any(|record| record.ids.iter().any(|known| known == id))),
        "an id is none of the batch's, or out of order"
    );
    for record in records.iter().filter(|record| !record.taken) {
        assert!(!record.ids.is_empty(), "a record that failed and cannot be named was passed over");
        // Copies fare as the first of them: that of a record that was taken need not come back.
        let mut copies = records.iter().filter(|other| other.ids.iter().any(|id| record.ids.contains(id)));
        if copies.all(|copy| !copy.taken) {
            let reported = record.ids.iter().any(|id| distinct.contains(id.as_str()));
            assert!(reported, "a record that failed is not reported");
        }
    }
}

fn takes(body: &str) -> bool {
    body.as_bytes().first().is_some_and(|byte| byte % 2 == 0)
}

/// What is certain of a record. JSON may have a key twice, and which of them counts is not said: so it may have more
/// than one id, and was taken if any of its bodies could be.
struct Record {
    ids: Vec<String>,
    taken: bool,
}

fn records(event: &str) -> Vec<Record> {
    let list = match values(event, "Records").pop() {
        Some(list) => list,
        // EventBridge Pipes send the list alone.
        None if event.trim_ascii_start().starts_with('[') => event,
        None => return Vec::new(),
    };
    let records: Vec<&RawValue> = serde_json::from_str(list).expect("an event that is answered has a list of records");
    let texts = |record, key| values(record, key).into_iter().filter_map(|json| serde_json::from_str(json).ok());
    records
        .into_iter()
        .map(|record| Record {
            ids: texts(record.get(), "messageId").filter(|id: &String| !id.is_empty()).collect(),
            taken: texts(record.get(), "body").any(|body: String| takes(&body)),
        })
        .collect()
}

/// The values of a key, in their order; none where this is no object. They are left as they are: a value of JSON's that
/// is none of `serde_json::Value`'s (half a surrogate pair, a number beyond all bounds) may stand beside them.
fn values<'a>(json: &'a str, key: &str) -> Vec<&'a str> {
    let entries = serde_json::Deserializer::from_str(json).deserialize_map(Entries).unwrap_or_default();
    let is_key = |text: &str| serde_json::from_str(text).is_ok_and(|text: String| text == key);
    entries.into_iter().filter(|(text, _)| is_key(text.get())).map(|(_, value)| value.get()).collect()
}

struct Entries;

impl<'de> Visitor<'de> for Entries {
    type Value = Vec<(&'de RawValue, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        std::iter::from_fn(|| map.next_entry().transpose()).collect()
    }
}
