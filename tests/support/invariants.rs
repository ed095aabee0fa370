//! Properties of every answer, for any event. The property tests and the fuzz target use them.

#![allow(dead_code, reason = "the tests and the fuzz target each use a part of it")]

use std::collections::HashSet;
use std::fmt;

use lambda_runtime::{Context, LambdaEvent};
use redrive::{Body, Event};
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use tower::Service;

/// Hands the bytes to a consumer as lambda_runtime does, and checks its answer. The handler accepts bodies that begin
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
        // A batch that is retried as a whole loses nothing.
        return;
    };
    let reported: Vec<&str> =
        answer.batch_item_failures.iter().map(|failure| failure.item_identifier.as_str()).collect();
    let distinct: HashSet<&str> = reported.iter().copied().collect();
    assert_eq!(distinct.len(), reported.len(), "an id is reported twice");
    assert!(!distinct.contains(""), "an empty id is reported");

    // Bytes that are not UTF-8 are allowed in parts that are not read.
    let records = records(&String::from_utf8_lossy(bytes));
    let mut in_order = records.iter();
    assert!(
        reported.iter().all(|id| in_order.any(|record| record.ids.iter().any(|known| known == id))),
        "an id does not belong to the batch, or is out of order"
    );
    for record in records.iter().filter(|record| !record.taken) {
        assert!(!record.ids.is_empty(), "a failed record without an id was not reported");
        // Copies share the outcome of the first one, so the copy of an accepted record need not be reported.
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

/// The certain parts of a record. JSON may repeat a key without a rule which value counts. So a record may have several
/// ids, and it may be accepted if any of its bodies is.
struct Record {
    ids: Vec<String>,
    taken: bool,
}

fn records(event: &str) -> Vec<Record> {
    let list = match values(event, "Records").pop() {
        Some(list) => list,
        // EventBridge Pipes sends the bare list.
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

/// Returns the values of a key in their order, or none if this is not an object. Other values stay unparsed, because
/// `serde_json::Value` cannot represent half a surrogate pair or an unbounded number.
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
