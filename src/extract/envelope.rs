//! Messages that came through another service, and are wrapped in its envelope.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::body::Body;
use super::json::{parse, parse_body};
use super::{FromRecord, Rejection};
use crate::record::Record;

/// A message that came through an SNS topic, without its envelope.
///
/// ```
/// use redrive::Sns;
///
/// # #[derive(serde::Deserialize)] struct Order {}
/// async fn place(Sns { message: order, topic_arn, .. }: Sns<Order>) { /* ... */ }
/// # let _ = redrive::handler(place);
/// ```
///
/// What was published is parsed as JSON, and taken as it is, a text, where `T` is [`Body`]:
///
/// ```
/// use redrive::{Body, Sns};
///
/// async fn read(Sns { message: Body(text), subject, .. }: Sns<Body>) { /* ... */ }
/// # let _ = redrive::handler(read);
/// ```
///
/// Use it unless the subscription has
/// [raw message delivery](https://docs.aws.amazon.com/sns/latest/dg/sns-large-payload-raw-message-delivery.html) on:
/// then the body is the message, and [`Json`](crate::Json) takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sns<T> {
    /// What was published.
    pub message: T,
    /// The id that SNS gave it.
    pub message_id: String,
    /// The topic that it was published to.
    pub topic_arn: String,
    /// The subject, if it was published with one.
    pub subject: Option<String>,
    /// When it was published, in ISO 8601.
    pub timestamp: String,
}

/// <https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html>
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SnsEnvelope {
    r#type: String,
    message_id: String,
    topic_arn: String,
    #[serde(default)]
    subject: Option<String>,
    message: String,
    timestamp: String,
}

impl<S: Sync, T: DeserializeOwned> FromRecord<S> for Sns<T> {
    type Rejection = Rejection;

    async fn from_record(record: &Record, _: &S) -> Result<Self, Rejection> {
        let envelope = notification(record)?;
        let message = parse(&envelope.message, "SNS message")?;
        Ok(envelope.with(message))
    }
}

impl<S: Sync> FromRecord<S> for Sns<Body> {
    type Rejection = Rejection;

    async fn from_record(record: &Record, _: &S) -> Result<Self, Rejection> {
        let mut envelope = notification(record)?;
        let message = std::mem::take(&mut envelope.message);
        Ok(envelope.with(Body(message)))
    }
}

fn notification(record: &Record) -> Result<SnsEnvelope, Rejection> {
    let envelope: SnsEnvelope = parse_body(record, "SNS envelope")?;
    if envelope.r#type != "Notification" {
        let problem = "it is not a Notification: a subscription that waits to be confirmed, perhaps";
        return Err(Rejection::malformed("SNS envelope", problem));
    }
    Ok(envelope)
}

impl SnsEnvelope {
    fn with<T>(self, message: T) -> Sns<T> {
        let Self { message_id, topic_arn, subject, timestamp, .. } = self;
        Sns { message, message_id, topic_arn, subject, timestamp }
    }
}

/// An event that came through EventBridge, without its envelope.
///
/// ```
/// use redrive::EventBridge;
///
/// # #[derive(serde::Deserialize)] struct OrderPlaced {}
/// async fn place(EventBridge { detail, detail_type, .. }: EventBridge<OrderPlaced>) { /* ... */ }
/// # let _ = redrive::handler(place);
/// ```
///
/// A rule with an
/// [input transformer](https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-transform-target-input.html) sends
/// what that makes: take it with [`Json`](crate::Json).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub struct EventBridge<T> {
    /// What happened, in the form that its source gives it.
    pub detail: T,
    /// What kind of event it is.
    pub detail_type: String,
    /// Who reports it: `aws.ec2`, or a name of your own.
    pub source: String,
    /// The id of the event.
    pub id: String,
    /// The account that it comes from.
    pub account: String,
    /// The region that it comes from.
    pub region: String,
    /// When it happened, in ISO 8601.
    pub time: String,
    /// The ARNs of what it concerns.
    #[serde(default)]
    pub resources: Vec<String>,
}

impl<S: Sync, T: DeserializeOwned> FromRecord<S> for EventBridge<T> {
    type Rejection = Rejection;

    async fn from_record(record: &Record, _: &S) -> Result<Self, Rejection> {
        parse_body(record, "EventBridge envelope")
    }
}
