//! Extracts the whole message.

use aws_lambda_events::sqs::SqsMessage;
use serde_json::Value;

use super::json::parse;
use super::{FromRecord, Rejection};
use crate::record::Record;

/// Extracts the whole message as the type of `aws_lambda_events`.
///
/// ```
/// use redrive::Message;
///
/// async fn forward(Message(message): Message) {
///     println!("{:?} from {:?}", message.message_id, message.event_source_arn);
/// }
/// # let _ = redrive::handler(forward);
/// ```
///
/// It parses the whole record, so a fault anywhere in it rejects the record. Other extractors read only their own part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message(pub SqsMessage);

impl<S: Sync> FromRecord<S> for Message {
    type Rejection = Rejection;

    async fn from_record(record: &Record, _: &S) -> Result<Self, Rejection> {
        let (json, body) = record.in_parts();
        let message = parse(json, "message").or_else(|rejection| without_nulls(json).ok_or(rejection));
        let mut message: SqsMessage = message?;
        if let Some(body) = body {
            message.body = Some(body.to_owned());
        }
        Ok(Self(message))
    }
}

/// Parses a message whose only fault is a null in place of a list or a map, which `aws_lambda_events` refuses.
fn without_nulls(json: &str) -> Option<SqsMessage> {
    let mut message: Value = serde_json::from_str(json).ok()?;
    remove_nulls(&mut message);
    serde_json::from_value(message).ok()
}

fn remove_nulls(value: &mut Value) {
    match value {
        Value::Object(entries) => {
            entries.retain(|_, value| !value.is_null());
            entries.values_mut().for_each(remove_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(remove_nulls),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
