//! Builds the events that Lambda hands to a function for a standard queue, with all fields in Lambda's order.

use std::ops::RangeInclusive;

use axum::body::Bytes;
use serde::Serialize;
use serde_json::{Value, json};

use crate::Handler;

/// The length of a body before it is escaped as a string of the event.
const BODY_BYTES: usize = 128;

/// The average length of a record. Bodies with more quotes grow more by escaping.
const RECORD_BYTES: RangeInclusive<usize> = 880..=920;

/// The length of a receipt handle, which fills the record. SQS's are sometimes longer.
const RECEIPT_HANDLE_BYTES: usize = 176;

/// Returns an event of this many records, each with the body that the handler expects.
pub(crate) fn event(handler: Handler, records: usize) -> Bytes {
    let event = Event { records: (0..records).map(|number| Record::new(handler, number)).collect() };
    let json = serde_json::to_vec(&event).expect("strings and lists are JSON");
    let record = json.len() / records;
    assert!(RECORD_BYTES.contains(&record), "a record has {record} bytes: the limits are for {RECORD_BYTES:?}");
    json.into()
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Event {
    records: Vec<Record>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    message_id: String,
    receipt_handle: String,
    body: String,
    attributes: Value,
    message_attributes: Value,
    md5_of_message_attributes: String,
    md5_of_body: String,
    event_source: &'static str,
    #[serde(rename = "eventSourceARN")]
    event_source_arn: &'static str,
    aws_region: &'static str,
}

impl Record {
    fn new(handler: Handler, number: usize) -> Self {
        let body = match handler {
            Handler::Noop | Handler::Wait => padded(|padding| order_placed(number, padding)),
            Handler::Work => padded(|padding| order(number, padding)),
        };
        Self {
            message_id: format!("059f36b4-87a3-44ab-83d2-{number:012x}"),
            receipt_handle: format!("AQEB{number:0>width$x}==", width = RECEIPT_HANDLE_BYTES - "AQEB==".len()),
            body,
            attributes: json!({
                "ApproximateReceiveCount": "1",
                "SentTimestamp": "1545082649183",
                "SenderId": "AIDAIENQZJOLO23YVJ4VO",
                "ApproximateFirstReceiveTimestamp": "1545082649185",
            }),
            message_attributes: json!({
                "source": {
                    "stringValue": "web",
                    "stringListValues": [],
                    "binaryListValues": [],
                    "dataType": "String",
                },
            }),
            md5_of_message_attributes: format!("00bece6a3a2bd1a7{number:016x}"),
            md5_of_body: format!("e4e68fb7bd0e697a{number:016x}"),
            event_source: "aws:sqs",
            event_source_arn: "arn:aws:sqs:us-east-2:123456789012:orders",
            aws_region: "us-east-2",
        }
    }
}

/// `orders_work::OrderPlaced`
fn order_placed(number: usize, padding: &str) -> String {
    let total = 995 + number;
    format!(
        r#"{{"order_id":"ord-{number:08}","customer_id":"cus-{number:08}{padding}","currency":"EUR","total_cents":{total}}}"#
    )
}

/// `orders_work::Order`
fn order(number: usize, padding: &str) -> String {
    let price = 100 + number;
    let total = 2 * price + 990 + 3 * 125;
    format!(
        r#"{{"id":{number},"customer":{{"name":"Ada{padding}","address":{{"city":"Oslo"}}}},"items":[["A1",2,{price}],["B2",1,990],["C3",3,125]],"total":{total}}}"#
    )
}

/// Returns a body that is padded to its length.
fn padded(body: impl Fn(&str) -> String) -> String {
    let missing = BODY_BYTES.checked_sub(body("").len()).expect("a body that is not too long to be padded");
    body(&"x".repeat(missing))
}
