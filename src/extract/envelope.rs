//! Messages inside the envelope of another service.

mod detail;

use std::collections::BTreeMap;

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::attribute::{AttributeValue, FromAttribute};
use super::body::{Body, body};
use super::form::{Form, misplaced};
use super::json::parse;
use super::{FromRecord, Rejection};
use crate::json::{JsonError, find};
use crate::record::Record;

/// Extracts a message that arrived through an SNS topic, without its envelope.
///
/// ```
/// use redrive::Sns;
///
/// # #[derive(serde::Deserialize)] struct Order {}
/// async fn place(Sns { message: order, topic_arn, .. }: Sns<Order>) { /* ... */ }
/// # let _ = redrive::handler(place);
/// ```
///
/// The published message is parsed as JSON. If `T` is [`Body`], it stays text:
///
/// ```
/// use redrive::{Body, Sns};
///
/// async fn read(Sns { message: Body(text), subject, .. }: Sns<Body>) { /* ... */ }
/// # let _ = redrive::handler(read);
/// ```
///
/// Use it unless the subscription has [raw message
/// delivery](https://docs.aws.amazon.com/sns/latest/dg/sns-large-payload-raw-message-delivery.html). With raw delivery
/// the body is the message itself, so use [`Json`](crate::Json).
///
/// The published attributes are in the envelope, not among the attributes of the SQS message. `attributes` has all of
/// them, and [`SnsAttribute`] extracts one as an argument.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sns<T> {
    /// The published message.
    pub message: T,
    /// The id that SNS assigned.
    pub message_id: String,
    /// The ARN of the topic.
    pub topic_arn: String,
    /// The subject, if there is one.
    pub subject: Option<String>,
    /// The time of publication, in ISO 8601.
    pub timestamp: String,
    /// The published attributes by name, without those that cannot be read.
    pub attributes: BTreeMap<String, AttributeValue>,
}

/// The envelope: <https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html>
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
    #[serde(default)]
    message_attributes: Option<Box<RawValue>>,
}

/// The envelope, when only its attributes are needed.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SnsAttributes {
    r#type: String,
    #[serde(default)]
    message_attributes: Option<Box<RawValue>>,
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

/// Extracts one attribute of a message that arrived through SNS into your type, which names the attribute.
///
/// SNS puts attributes into the envelope, next to the message. With raw message delivery an attribute belongs to the
/// SQS message, and [`Attribute`](crate::Attribute) extracts it.
///
/// ```
/// use redrive::{AttributeValue, BoxError, FromAttribute, Sns, SnsAttribute};
///
/// struct Tenant(String);
///
/// impl FromAttribute for Tenant {
///     const NAME: &'static str = "tenant";
///
///     fn from_attribute(value: AttributeValue) -> Result<Self, BoxError> {
///         Ok(Self(value.as_str().ok_or("a tenant is a text")?.to_owned()))
///     }
/// }
///
/// # #[derive(serde::Deserialize)] struct Order {}
/// async fn place(Sns { message: order, .. }: Sns<Order>, SnsAttribute(tenant): SnsAttribute<Tenant>) { /* ... */ }
/// # let _ = redrive::handler(place);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnsAttribute<A>(pub A);

impl<S: Sync, A: FromAttribute> FromRecord<S> for SnsAttribute<A> {
    type Rejection = Rejection;

    async fn from_record(record: &Record, _: &S) -> Result<Self, Rejection> {
        let envelope: SnsAttributes = parse_envelope(record, SNS, Form::Sns)?;
        check_notification(&envelope.r#type)?;
        let what = || format!("SNS message attribute {}", A::NAME);
        let attributes = envelope.message_attributes.as_deref().map_or("null", RawValue::get);
        let json = match attributes {
            "null" => None,
            attributes => find(attributes, A::NAME).map_err(|error| Rejection::malformed(what(), error))?,
        };
        let json = json.and_then(|place| attributes.get(place)).filter(|json| *json != "null");
        let value = AttributeValue::of_sns(json.ok_or_else(|| Rejection::absent(what()))?);
        let value = value.map_err(|error| Rejection::malformed(what(), error))?;
        A::from_attribute(value).map(Self).map_err(|error| Rejection::malformed(what(), error))
    }
}

const SNS: &str = "SNS envelope";
const EVENT_BRIDGE: &str = "EventBridge envelope";

fn notification(record: &Record) -> Result<SnsEnvelope, Rejection> {
    let envelope: SnsEnvelope = parse_envelope(record, SNS, Form::Sns)?;
    check_notification(&envelope.r#type)?;
    Ok(envelope)
}

fn check_notification(r#type: &str) -> Result<(), Rejection> {
    if r#type == "Notification" {
        return Ok(());
    }
    let problem = "its type is not Notification; it may be the confirmation of a subscription";
    Err(Rejection::malformed(SNS, problem))
}

/// Parses the body as an envelope. The error for another format names the extractor for it.
pub(super) fn parse_envelope<T: DeserializeOwned>(
    record: &Record,
    what: &'static str,
    wanted: Form,
) -> Result<T, Rejection> {
    let body = body(record)?;
    serde_json::from_str(&body).map_err(|error| match misplaced(&body, wanted) {
        Some(named) => Rejection::malformed(what, named),
        None => Rejection::malformed(what, JsonError::from(error)),
    })
}

impl SnsEnvelope {
    fn with<T>(self, message: T) -> Sns<T> {
        let Self { message_id, topic_arn, subject, timestamp, message_attributes, .. } = self;
        let attributes = message_attributes.as_deref().map_or("null", RawValue::get);
        let attributes: Option<BTreeMap<String, &RawValue>> = serde_json::from_str(attributes).unwrap_or_default();
        let readable = |(name, json): (String, &RawValue)| Some((name, AttributeValue::of_sns(json.get()).ok()?));
        let attributes = attributes.unwrap_or_default().into_iter().filter_map(readable).collect();
        Sns { message, message_id, topic_arn, subject, timestamp, attributes }
    }
}

/// Extracts an event that arrived through EventBridge, without its envelope.
///
/// ```
/// use redrive::EventBridge;
///
/// # #[derive(serde::Deserialize)] struct OrderPlaced {}
/// async fn place(EventBridge { detail, detail_type, .. }: EventBridge<OrderPlaced>) { /* ... */ }
/// # let _ = redrive::handler(place);
/// ```
///
/// A rule with an [input
/// transformer](https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-transform-target-input.html) sends the
/// transformed text, which [`Json`](crate::Json) extracts.
///
/// EventBridge Scheduler sends the detail as text, or `"{}"` if a schedule has none. Unless `T` is text, the JSON
/// inside it is parsed. An empty object becomes a unit or a struct without fields:
///
/// ```
/// use redrive::EventBridge;
///
/// async fn every_night(EventBridge { time, .. }: EventBridge<()>) { /* ... */ }
/// # let _ = redrive::handler(every_night);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EventBridge<T> {
    /// The event's data, in the format of its source.
    pub detail: T,
    /// The kind of the event.
    pub detail_type: String,
    /// The source: `aws.ec2`, or a name of your own.
    pub source: String,
    /// The id of the event.
    pub id: String,
    /// The account that sent it.
    pub account: String,
    /// The region that sent it.
    pub region: String,
    /// The time of the event, in ISO 8601.
    pub time: String,
    /// The ARNs of the resources concerned.
    pub resources: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct EventBridgeEvent {
    detail: Box<RawValue>,
    detail_type: String,
    source: String,
    id: String,
    account: String,
    region: String,
    time: String,
    #[serde(default)]
    resources: Option<Vec<String>>,
}

impl<S: Sync, T: DeserializeOwned> FromRecord<S> for EventBridge<T> {
    type Rejection = Rejection;

    async fn from_record(record: &Record, _: &S) -> Result<Self, Rejection> {
        parse_envelope(record, EVENT_BRIDGE, Form::EventBridge)
    }
}

/// Reads JSON only, because a detail that is text is parsed twice.
impl<'de, T: DeserializeOwned> Deserialize<'de> for EventBridge<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let EventBridgeEvent { detail, detail_type, source, id, account, region, time, resources } =
            EventBridgeEvent::deserialize(deserializer)?;
        let detail = detail::parse(detail.get()).map_err(|error| D::Error::custom(error.problem()))?;
        let resources = resources.unwrap_or_default();
        Ok(Self { detail, detail_type, source, id, account, region, time, resources })
    }
}
