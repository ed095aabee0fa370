//! Message attributes that the sender set.

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

/// Extracts one message attribute into your type, which names the attribute.
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
/// Other attributes are not parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attribute<A>(pub A);

wraps!(Attribute<A>);

/// A type that can be read from one message attribute.
pub trait FromAttribute: Sized {
    /// The attribute's name, which is case-sensitive.
    const NAME: &'static str;

    /// Reads the value. An error rejects the record as malformed.
    fn from_attribute(value: AttributeValue) -> Result<Self, BoxError>;
}

/// The value of a message attribute: text or bytes, with the sender's data type.
///
/// SQS documents attributes:
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-message-metadata.html>.
#[derive(Clone, PartialEq, Eq)]
pub struct AttributeValue {
    data_type: String,
    text: Option<String>,
    bytes: Option<Vec<u8>>,
}

impl AttributeValue {
    /// Creates a `String`.
    pub fn string(text: impl Into<String>) -> Self {
        Self { data_type: "String".to_owned(), text: Some(text.into()), bytes: None }
    }

    /// Creates a `Number`, as text. SQS accepts up to 38 digits, but only checks that it is a number.
    pub fn number(number: impl fmt::Display) -> Self {
        Self { data_type: "Number".to_owned(), text: Some(number.to_string()), bytes: None }
    }

    /// Creates a `Binary`.
    pub fn binary(bytes: impl Into<Vec<u8>>) -> Self {
        Self { data_type: "Binary".to_owned(), text: None, bytes: Some(bytes.into()) }
    }

    /// Returns the value with a custom label in its type: `int` turns `Number` into `Number.int`.
    pub fn labelled(mut self, label: &str) -> Self {
        self.data_type = format!("{}.{label}", self.data_type);
        self
    }

    /// Returns the length of the value in bytes.
    #[cfg(feature = "producer")]
    pub(crate) fn len(&self) -> usize {
        self.text.as_ref().map_or(0, String::len) + self.bytes.as_ref().map_or(0, Vec::len)
    }

    /// Converts the value into an event's format.
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

    /// Returns the data type: `String`, `Number` or `Binary`, with the sender's label, as in `Number.int`.
    pub fn data_type(&self) -> &str {
        &self.data_type
    }

    /// Returns the text of a `String` or a `Number`.
    pub fn as_str(&self) -> Option<&str> {
        self.text.as_deref()
    }

    /// Returns the bytes of a `Binary`.
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

/// An attribute in an SNS envelope:
/// <https://docs.aws.amazon.com/sns/latest/dg/sns-message-attributes.html>
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SnsWire {
    r#type: String,
    value: String,
}

impl AttributeValue {
    /// Reads an SNS attribute: text, in base64 if its type is `Binary`. A `String.Array` keeps the text of its JSON
    /// list.
    pub(super) fn of_sns(json: &str) -> Result<Self, JsonError> {
        let SnsWire { r#type: data_type, value } = serde_json::from_str(json)?;
        if data_type.split('.').next() != Some("Binary") {
            return Ok(Self { data_type, text: Some(value), bytes: None });
        }
        let bytes: Base64Data = serde_json::from_value(value.into())?;
        Ok(Self { data_type, text: None, bytes: Some(bytes.to_vec()) })
    }
}

/// An attribute in an event. Its two lists are always empty and are skipped.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AttributeJson {
    #[serde(default)]
    data_type: Option<String>,
    #[serde(default)]
    string_value: Option<String>,
    #[serde(default)]
    binary_value: Option<Base64Data>,
}

impl From<AttributeJson> for AttributeValue {
    fn from(wire: AttributeJson) -> Self {
        let basic_type = if wire.binary_value.is_some() { "Binary" } else { "String" };
        Self {
            data_type: wire.data_type.unwrap_or_else(|| basic_type.to_owned()),
            text: wire.string_value,
            bytes: wire.binary_value.map(|bytes| bytes.to_vec()),
        }
    }
}

#[cfg(feature = "worker")]
impl AttributeValue {
    fn of_sdk(value: &MessageAttributeValue) -> Self {
        Self {
            data_type: value.data_type().to_owned(),
            text: value.string_value().map(str::to_owned),
            bytes: value.binary_value().map(|bytes| bytes.as_ref().to_vec()),
        }
    }
}

impl Record {
    /// Returns a message attribute by its name.
    ///
    /// # Errors
    ///
    /// Returns an error if the attribute is malformed, or if the attributes are not an object.
    pub fn message_attribute(&self, name: &str) -> Result<Option<AttributeValue>, JsonError> {
        match self.raw_message_attribute(name)? {
            Some(RawAttribute::Json(json)) => {
                let wire: Option<AttributeJson> = serde_json::from_str(json)?;
                Ok(wire.map(AttributeValue::from))
            }
            #[cfg(feature = "worker")]
            Some(RawAttribute::Received(value)) => Ok(Some(AttributeValue::of_sdk(value))),
            None => Ok(None),
        }
    }

    /// Returns all message attributes by name.
    #[cfg(feature = "sqs")]
    pub(crate) fn message_attributes(&self) -> Result<BTreeMap<String, AttributeValue>, JsonError> {
        let mut attributes = match self.backing() {
            Backing::Event(record) => match record.message_attributes() {
                "" => BTreeMap::new(),
                json => attributes_from_json(json)?,
            },
            #[cfg(feature = "worker")]
            Backing::Received(received) => received
                .message_attributes()
                .map(|(name, value)| (name.clone(), AttributeValue::of_sdk(value)))
                .collect(),
        };
        // SQS refuses an attribute without a value, so it is left out.
        let hidden = self.hidden_attribute();
        attributes
            .retain(|name, value| (value.text.is_some() || value.bytes.is_some()) && Some(name.as_str()) != hidden);
        Ok(attributes)
    }
}

/// Converts message attributes from an event's format.
#[cfg(feature = "sqs")]
pub(crate) fn attributes_from_json(json: &str) -> Result<BTreeMap<String, AttributeValue>, JsonError> {
    let wires: Option<BTreeMap<String, Option<AttributeJson>>> = serde_json::from_str(json)?;
    Ok(wires.into_iter().flatten().filter_map(|(name, wire)| Some((name, wire?.into()))).collect())
}

/// Converts message attributes into an event's format.
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
