//! Messages that came through another service, and are wrapped in its envelope.

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
///
/// Attributes that it was published with are in the envelope too, and not among the attributes of the SQS message: they are in
/// `attributes`, and [`SnsAttribute`] takes one of them as an argument.
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
    /// The attributes that it was published with, by name. An attribute that cannot be read is left out.
    pub attributes: BTreeMap<String, AttributeValue>,
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
    #[serde(default)]
    message_attributes: Option<Box<RawValue>>,
}

/// The same, for a look at the attributes alone.
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

/// One attribute that a message was published to an SNS topic with, as a type of yours that knows the attribute's name.
///
/// SNS puts it into the envelope, next to the message. With raw message delivery it becomes an attribute of the SQS message, and
/// [`Attribute`](crate::Attribute) takes it.
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
    let problem = "it is not a Notification: a subscription that waits to be confirmed, perhaps";
    Err(Rejection::malformed(SNS, problem))
}

/// Parses the body as an envelope. A body of another form is told which extractor takes it.
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
///
/// EventBridge Scheduler sends the detail as a text, `"{}"` where a schedule has none. Where `T` is no text, the JSON inside it is
/// parsed; of an empty object a unit, or a struct without fields, is made:
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
    pub resources: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Event {
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

/// Reads JSON: the detail is looked at twice where it is a text.
impl<'de, T: DeserializeOwned> Deserialize<'de> for EventBridge<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Event { detail, detail_type, source, id, account, region, time, resources } =
            Event::deserialize(deserializer)?;
        let detail = detail::parse(detail.get()).map_err(|error| D::Error::custom(error.problem()))?;
        let resources = resources.unwrap_or_default();
        Ok(Self { detail, detail_type, source, id, account, region, time, resources })
    }
}
