//! Extracts the whole message.

#[cfg(feature = "worker")]
use aws_lambda_events::encodings::Base64Data;
use aws_lambda_events::sqs::SqsMessage;
#[cfg(feature = "worker")]
use aws_lambda_events::sqs::SqsMessageAttribute;
use serde_json::Value;

use super::json::parse;
use super::{FromRecord, Rejection};
#[cfg(feature = "worker")]
use crate::record::Received;
use crate::record::{Backing, Record};

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
/// On Lambda it parses the whole record, so a fault anywhere in it rejects the record. Other extractors read only their own part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message(pub SqsMessage);

impl<S: Sync> FromRecord<S> for Message {
    type Rejection = Rejection;

    async fn from_record(record: &Record, _: &S) -> Result<Self, Rejection> {
        let mut message = match record.backing() {
            Backing::Event(record) => of_json(record.json())?,
            #[cfg(feature = "worker")]
            Backing::Received(received) => of_received(received),
        };
        if let Some(body) = record.fetched_body() {
            message.body = Some(body.to_owned());
            // SQS computed both of what it carried, which was not this.
            (message.md5_of_body, message.md5_of_message_attributes) = (None, None);
        }
        if let Some(hidden) = record.hidden_attribute() {
            message.message_attributes.remove(hidden);
        }
        Ok(Self(message))
    }
}

fn of_json(json: &str) -> Result<SqsMessage, Rejection> {
    parse(json, "message").or_else(|rejection| without_nulls(json).ok_or(rejection))
}

/// The message as Lambda would pass it on.
#[cfg(feature = "worker")]
fn of_received(received: Received<'_>) -> SqsMessage {
    let (own, rest) = (received.message, received.rest());
    let mut message = SqsMessage::default();
    message.message_id = Some(own.message_id.clone());
    message.receipt_handle = Some(own.receipt_handle.clone());
    message.body = Some(own.body.clone());
    message.md5_of_body = rest.md5_of_body.clone();
    let attributes = rest.attributes.iter().flatten();
    message.attributes = attributes.map(|(name, value)| (name.as_str().to_owned(), value.clone())).collect();
    let attribute = |(name, value): (&String, &_)| (name.clone(), attribute_of(value));
    message.message_attributes = received.message_attributes().map(attribute).collect();
    message.md5_of_message_attributes =
        rest.md5_of_message_attributes.clone().filter(|_| !message.message_attributes.is_empty());
    message.event_source = Some("aws:sqs".to_owned());
    message.event_source_arn = Some(received.queue_arn.to_owned());
    message.aws_region = received.queue_arn.split(':').nth(3).map(str::to_owned);
    message
}

#[cfg(feature = "worker")]
fn attribute_of(value: &aws_sdk_sqs::types::MessageAttributeValue) -> SqsMessageAttribute {
    let mut attribute = SqsMessageAttribute::default();
    attribute.data_type = Some(value.data_type().to_owned());
    attribute.string_value = value.string_value().map(str::to_owned);
    attribute.binary_value = value.binary_value().map(|bytes| {
        let mut data = Base64Data::default();
        data.0 = bytes.as_ref().to_vec();
        data
    });
    attribute
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
