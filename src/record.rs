//! One record, parsed no further than it is asked for.

use std::any::Any;
use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::json::JsonError;

/// What a host knows of a batch that the records do not say: the Lambda context, for one.
pub(crate) type Origin = Arc<dyn Any + Send + Sync>;

/// One message of a batch: what extractors read, and what layers pass on.
///
/// The record stays raw JSON. Its parts are found at the first look, and each is parsed when it is asked for, so an odd
/// attribute is no matter to a handler that does not read it. Cloning is cheap.
///
/// It can be an argument of a handler itself, where no extractor fits.
#[derive(Clone)]
pub struct Record {
    inner: Arc<Inner>,
}

struct Inner {
    text: Box<RawValue>,
    origin: Origin,
    /// Found by whoever looks first: as a rule the record's own task, or else the answer that has to name the record.
    parts: OnceLock<Parts>,
}

/// Where in the text the parts are. Only the message id, which is always needed, is taken out.
#[derive(Default)]
struct Parts {
    message_id: Option<Arc<str>>,
    receipt_handle: Span,
    body: Span,
    attributes: Span,
    message_attributes: Span,
    event_source: Span,
    event_source_arn: Span,
    /// What was found up to the fault stands, so that a record with a fault can be reported by its id.
    fault: Option<JsonError>,
}

/// A part of the record's text; empty where the record has no such part.
type Span = Range<usize>;

impl Record {
    pub(crate) fn new(text: Box<RawValue>, origin: Origin) -> Self {
        let parts = OnceLock::new();
        Self { inner: Arc::new(Inner { text, origin, parts }) }
    }

    /// The id that SQS gave the message, where the record has one: a string that is not empty.
    pub fn message_id(&self) -> Option<&str> {
        self.parts().message_id.as_deref()
    }

    pub(crate) fn shared_message_id(&self) -> Option<Arc<str>> {
        self.parts().message_id.clone()
    }

    /// The handle of this receipt, to delete the message or change its visibility with.
    ///
    /// # Errors
    ///
    /// Where it is there, but is not a string.
    pub fn receipt_handle(&self) -> Result<Option<Cow<'_, str>>, JsonError> {
        self.string(&self.parts().receipt_handle)
    }

    /// The message's text.
    ///
    /// # Errors
    ///
    /// Where it is there, but is not a string.
    pub fn body(&self) -> Result<Option<Cow<'_, str>>, JsonError> {
        self.string(&self.parts().body)
    }

    /// What SQS says of the message: `SentTimestamp`, `ApproximateReceiveCount`, `MessageGroupId` and so on.
    ///
    /// # Errors
    ///
    /// Where the attribute is there, but is not a string, or the attributes are not an object.
    pub fn attribute(&self, name: &str) -> Result<Option<Cow<'_, str>>, JsonError> {
        match pick(self.part(&self.parts().attributes), name)? {
            Some(value) => string(value.get()),
            None => Ok(None),
        }
    }

    /// The JSON of an attribute that the sender gave the message.
    pub(crate) fn raw_message_attribute(&self, name: &str) -> Result<Option<&str>, JsonError> {
        let value = pick(self.part(&self.parts().message_attributes), name)?;
        Ok(value.map(RawValue::get))
    }

    /// The ARN of the queue.
    ///
    /// # Errors
    ///
    /// Where it is there, but is not a string.
    pub fn queue_arn(&self) -> Result<Option<Cow<'_, str>>, JsonError> {
        self.string(&self.parts().event_source_arn)
    }

    /// Where the record says that it comes from; `aws:sqs`, if it is one of SQS's.
    pub(crate) fn event_source(&self) -> Result<Option<Cow<'_, str>>, JsonError> {
        self.string(&self.parts().event_source)
    }

    /// The record as it came, JSON.
    pub fn as_json(&self) -> &str {
        self.inner.text.get()
    }

    pub(crate) fn origin(&self) -> &Origin {
        &self.inner.origin
    }

    /// Why this is not a record at all, if it is not.
    pub(crate) fn fault(&self) -> Option<&JsonError> {
        self.parts().fault.as_ref()
    }

    fn parts(&self) -> &Parts {
        self.inner.parts.get_or_init(|| Parts::find(&self.inner.text))
    }

    fn part(&self, span: &Span) -> &str {
        self.as_json().get(span.clone()).unwrap_or_default()
    }

    fn string(&self, span: &Span) -> Result<Option<Cow<'_, str>>, JsonError> {
        string(self.part(span))
    }
}

/// Shows the message id only: bodies and attributes are private.
impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Record").field(&self.message_id()).finish()
    }
}

/// A JSON string without its escapes; `None` where there is nothing, or `null`.
fn string(json: &str) -> Result<Option<Cow<'_, str>>, JsonError> {
    if json.is_empty() || json == "null" {
        return Ok(None);
    }
    let text: Text<'_> = serde_json::from_str(json)?;
    Ok(Some(text.0))
}

#[derive(serde::Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// The value of one entry of an object; `None` where there is no such entry, no object, or `null` instead.
fn pick<'a>(json: &'a str, name: &str) -> Result<Option<&'a RawValue>, JsonError> {
    if json.is_empty() || json == "null" {
        return Ok(None);
    }
    let mut parser = serde_json::Deserializer::from_str(json);
    Ok(parser.deserialize_map(Pick { name })?)
}

struct Pick<'n> {
    name: &'n str,
}

impl<'de> Visitor<'de> for Pick<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(hit) = entries.next_key_seed(KeyIs(self.name))? {
            if hit {
                found = Some(entries.next_value()?);
            } else {
                entries.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

/// Compares a key without keeping it.
struct KeyIs<'n>(&'n str);

impl<'de> DeserializeSeed<'de> for KeyIs<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for KeyIs<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<bool, E> {
        Ok(key == self.0)
    }
}

impl Parts {
    fn find(text: &RawValue) -> Self {
        let mut parts = Self::default();
        let mut parser = serde_json::Deserializer::from_str(text.get());
        let fault = parser.deserialize_map(Finder { text: text.get(), parts: &mut parts }).err();
        parts.fault = fault.map(JsonError::from);
        parts
    }
}

/// Fills in the parts as it goes, so that what comes before a fault is kept.
struct Finder<'t, 'p> {
    text: &'t str,
    parts: &'p mut Parts,
}

impl<'de> Visitor<'de> for Finder<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        while let Some(key) = entries.next_key::<Key>()? {
            let span = match key {
                Key::MessageId => {
                    let value = entries.next_value::<&RawValue>()?;
                    self.parts.message_id = message_id(value);
                    continue;
                }
                Key::ReceiptHandle => &mut self.parts.receipt_handle,
                Key::Body => &mut self.parts.body,
                Key::Attributes => &mut self.parts.attributes,
                Key::MessageAttributes => &mut self.parts.message_attributes,
                Key::EventSource => &mut self.parts.event_source,
                Key::EventSourceArn => &mut self.parts.event_source_arn,
                Key::Other => {
                    entries.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            *span = span_of(self.text, entries.next_value::<&RawValue>()?.get());
        }
        Ok(())
    }
}

#[derive(serde::Deserialize)]
#[serde(field_identifier, rename_all = "camelCase")]
enum Key {
    MessageId,
    ReceiptHandle,
    Body,
    Attributes,
    MessageAttributes,
    // SNS writes its own `EventSource` so; it is read for the error message that names it.
    #[serde(alias = "EventSource")]
    EventSource,
    #[serde(rename = "eventSourceARN")]
    EventSourceArn,
    #[serde(other)]
    Other,
}

/// An id that Lambda takes: a string that is not empty. Anything else cannot be reported, and so is no id.
fn message_id(value: &RawValue) -> Option<Arc<str>> {
    let id = string(value.get()).ok()??;
    (!id.is_empty()).then(|| Arc::from(id))
}

/// Where `part`, a slice of `text`, begins and ends in it.
fn span_of(text: &str, part: &str) -> Span {
    let start = part.as_ptr().addr() - text.as_ptr().addr();
    start..start + part.len()
}
