//! The attributes that the sender gave the message.

#[cfg(feature = "sqs")]
use std::collections::BTreeMap;
use std::fmt;

use aws_lambda_events::encodings::Base64Data;
#[cfg(feature = "worker")]
use aws_sdk_sqs::types::MessageAttributeValue;
use serde::Deserialize;

use super::{FromRecord, Rejection};
use crate::json::JsonError;
use crate::outcome::BoxError;
#[cfg(feature = "sqs")]
use crate::record::Backing;
use crate::record::{RawAttribute, Record};

/// One message attribute, as a type of yours that knows the attribute's name.
///
/// ```
/// use redrive::{Attribute, AttributeValue, FromAttribute};
///
/// enum Priority { High, Normal }
///
/// impl FromAttribute for Priority {
///     const NAME: &'static str = "priority";
///
///     fn from_attribute(value: AttributeValue) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
///         match value.as_str() {
///             Some("high") => Ok(Self::High),
///             Some("normal") => Ok(Self::Normal),
///             _ => Err("a priority is high or normal".into()),
///         }
///     }
/// }
///
/// async fn place(priority: Option<Attribute<Priority>>) { /* ... */ }
/// # let _ = redrive::handler(place);
/// ```
///
/// Attributes that are not asked for are not parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attribute<A>(pub A);

wraps!(Attribute<A>);

/// A type that is read from one message attribute.
pub trait FromAttribute: Sized {
    /// The attribute's name; names are case-sensitive.
    const NAME: &'static str;

    /// Reads the value. An error rejects the record.
    fn from_attribute(value: AttributeValue) -> Result<Self, BoxError>;
}

/// The value of a message attribute: a text or bytes, and the type that the sender gave it.
///
/// Attributes: <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-message-metadata.html>.
#[derive(Clone, PartialEq, Eq)]
pub struct AttributeValue {
    data_type: String,
    text: Option<String>,
    bytes: Option<Vec<u8>>,
}

impl AttributeValue {
    /// A text.
    pub fn string(text: impl Into<String>) -> Self {
        Self { data_type: "String".to_owned(), text: Some(text.into()), bytes: None }
    }

    /// A number, as text: SQS takes up to 38 digits, and checks no more than that it is one.
    pub fn number(number: impl fmt::Display) -> Self {
        Self { data_type: "Number".to_owned(), text: Some(number.to_string()), bytes: None }
    }

    /// Bytes.
    pub fn binary(bytes: impl Into<Vec<u8>>) -> Self {
        Self { data_type: "Binary".to_owned(), text: None, bytes: Some(bytes.into()) }
    }

    /// The same value, whose type says more: `int` makes a `Number.int` of a `Number`.
    pub fn labelled(mut self, label: &str) -> Self {
        self.data_type = format!("{}.{label}", self.data_type);
        self
    }

    /// The bytes of the value.
    #[cfg(feature = "producer")]
    pub(crate) fn len(&self) -> usize {
        self.text.as_ref().map_or(0, String::len) + self.bytes.as_ref().map_or(0, Vec::len)
    }

    /// As an event has it.
    #[cfg(feature = "producer")]
    fn to_wire(&self) -> serde_json::Value {
        use base64::Engine as _;
        let mut wire = serde_json::json!({ "dataType": self.data_type });
        if let Some(text) = &self.text {
            wire["stringValue"] = text.as_str().into();
        }
        if let Some(bytes) = &self.bytes {
            wire["binaryValue"] = base64::engine::general_purpose::STANDARD.encode(bytes).into();
        }
        wire
    }

    /// `String`, `Number` or `Binary`, with what the sender put after it, as in `Number.int`.
    pub fn data_type(&self) -> &str {
        &self.data_type
    }

    /// The text of a `String` or a `Number`.
    pub fn as_str(&self) -> Option<&str> {
        self.text.as_deref()
    }

    /// The bytes of a `Binary`.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        self.bytes.as_deref()
    }
}

/// Shows the type, never the value.
impl fmt::Debug for AttributeValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AttributeValue").field("data_type", &self.data_type).finish_non_exhaustive()
    }
}

/// The attribute as it is in the envelope of SNS.
/// <https://docs.aws.amazon.com/sns/latest/dg/sns-message-attributes.html>
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SnsWire {
    r#type: String,
    value: String,
}

impl AttributeValue {
    /// Reads an attribute of SNS: a text, in base64 where its type is `Binary`. A `String.Array` is the text of a JSON list.
    pub(super) fn of_sns(json: &str) -> Result<Self, JsonError> {
        let SnsWire { r#type: data_type, value } = serde_json::from_str(json)?;
        if data_type.split('.').next() != Some("Binary") {
            return Ok(Self { data_type, text: Some(value), bytes: None });
        }
        let bytes: Base64Data = serde_json::from_value(value.into())?;
        Ok(Self { data_type, text: None, bytes: Some(bytes.to_vec()) })
    }
}

/// The attribute as it is in the event. Its two lists, always empty, are passed over.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    #[serde(default)]
    data_type: Option<String>,
    #[serde(default)]
    string_value: Option<String>,
    #[serde(default)]
    binary_value: Option<Base64Data>,
}

impl From<Wire> for AttributeValue {
    fn from(wire: Wire) -> Self {
        let basic_type = if wire.binary_value.is_some() { "Binary" } else { "String" };
        Self {
            data_type: wire.data_type.unwrap_or_else(|| basic_type.to_owned()),
            text: wire.string_value,
            bytes: wire.binary_value.map(|bytes| bytes.to_vec()),
        }
    }
}

#[cfg(feature = "worker")]
impl From<&MessageAttributeValue> for AttributeValue {
    fn from(value: &MessageAttributeValue) -> Self {
        Self {
            data_type: value.data_type().to_owned(),
            text: value.string_value().map(str::to_owned),
            bytes: value.binary_value().map(|bytes| bytes.as_ref().to_vec()),
        }
    }
}

impl Record {
    /// A message attribute by its name.
    ///
    /// # Errors
    ///
    /// Where the attribute is there but malformed, or the attributes are not an object.
    pub fn message_attribute(&self, name: &str) -> Result<Option<AttributeValue>, JsonError> {
        match self.raw_message_attribute(name)? {
            Some(RawAttribute::Json(json)) => {
                let wire: Option<Wire> = serde_json::from_str(json)?;
                Ok(wire.map(AttributeValue::from))
            }
            #[cfg(feature = "worker")]
            Some(RawAttribute::Received(value)) => Ok(Some(value.into())),
            None => Ok(None),
        }
    }

    /// All message attributes, by name.
    #[cfg(feature = "sqs")]
    pub(crate) fn message_attributes(&self) -> Result<BTreeMap<String, AttributeValue>, JsonError> {
        let mut attributes = match self.backing() {
            Backing::Event(record) => match record.message_attributes() {
                "" => BTreeMap::new(),
                json => attributes_from_json(json)?,
            },
            #[cfg(feature = "worker")]
            Backing::Received(received) => {
                received.message_attributes().map(|(name, value)| (name.clone(), value.into())).collect()
            }
        };
        // SQS takes none without a value, and gives none out.
        let hidden = self.hidden_attribute();
        attributes
            .retain(|name, value| (value.text.is_some() || value.bytes.is_some()) && Some(name.as_str()) != hidden);
        Ok(attributes)
    }
}

/// Message attributes as an event has them, by name.
#[cfg(feature = "sqs")]
pub(crate) fn attributes_from_json(json: &str) -> Result<BTreeMap<String, AttributeValue>, JsonError> {
    let wires: Option<BTreeMap<String, Option<Wire>>> = serde_json::from_str(json)?;
    Ok(wires.into_iter().flatten().filter_map(|(name, wire)| Some((name, wire?.into()))).collect())
}

/// The same, the other way.
#[cfg(feature = "producer")]
pub(crate) fn attributes_to_json(attributes: &BTreeMap<String, AttributeValue>) -> String {
    let wire = |(name, value): (&String, &AttributeValue)| (name.clone(), value.to_wire());
    serde_json::Value::Object(attributes.iter().map(wire).collect()).to_string()
}

impl<S: Sync, A: FromAttribute> FromRecord<S> for Attribute<A> {
    type Rejection = Rejection;

    async fn from_record(record: &Record, _: &S) -> Result<Self, Rejection> {
        let malformed = |error: BoxError| Rejection::malformed(format!("message attribute {}", A::NAME), error);
        let value = record.message_attribute(A::NAME).map_err(|error| malformed(error.into()))?;
        let value = value.ok_or_else(|| Rejection::absent(format!("message attribute {}", A::NAME)))?;
        A::from_attribute(value).map(Self).map_err(malformed)
    }
}
