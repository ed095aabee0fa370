//! One record, parsed no further than it is asked for.

use std::any::Any;
use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use serde_json::value::RawValue;

use crate::json::{JsonError, entries, text};
use crate::outcome::BoxError;
use crate::per_lane::PerLane;

/// What a host knows of a batch that the records do not say: the Lambda context, for one.
pub(crate) type Origin = Arc<dyn Any + Send + Sync>;

/// A batch as it came: what its records share.
pub(crate) struct Batch {
    /// The JSON of each record. It stays here until the batch is answered: were each record to free its own, the lanes'
    /// threads would wait for one another in the allocator.
    pub(crate) texts: Vec<Box<RawValue>>,
    pub(crate) origin: Origin,
}

/// One message of a batch: what extractors read, and what layers pass on.
///
/// The record stays raw JSON. Its parts are found at the first look, and each is parsed when it is asked for, so an odd
/// attribute is no matter to a handler that does not read it. Cloning is cheap; a clone that is kept keeps the text of
/// its whole batch.
///
/// It can be an argument of a handler itself, where no extractor fits.
#[derive(Clone)]
pub struct Record {
    inner: Arc<Inner>,
}

struct Inner {
    batch: PerLane<Batch>,
    index: usize,
    /// What every record is asked for, and whether it is one.
    head: OnceLock<Option<Parts>>,
    /// The rest, for who asks for more.
    all: OnceLock<Option<Parts>>,
}

/// Where in the text the parts are.
#[derive(Default)]
struct Parts {
    receipt_handle: Span,
    body: Span,
    attributes: Span,
    message_attributes: Span,
    event_source: Span,
    event_source_arn: Span,
}

/// A part of the record's text; empty where the record has no such part.
type Span = Range<usize>;

impl Record {
    pub(crate) fn new(batch: PerLane<Batch>, index: usize) -> Self {
        Self { inner: Arc::new(Inner { batch, index, head: OnceLock::new(), all: OnceLock::new() }) }
    }

    /// The id that SQS gave the message, where the record has one: a string that is not empty.
    pub fn message_id(&self) -> Option<Cow<'_, str>> {
        message_id(self.as_json())
    }

    /// The handle of this receipt, to delete the message or change its visibility with.
    ///
    /// # Errors
    ///
    /// Where it is there, but is not a string.
    pub fn receipt_handle(&self) -> Result<Option<Cow<'_, str>>, JsonError> {
        self.text(self.rest(|parts| &parts.receipt_handle))
    }

    /// The message's text.
    ///
    /// # Errors
    ///
    /// Where it is there, but is not a string.
    pub fn body(&self) -> Result<Option<Cow<'_, str>>, JsonError> {
        self.text(self.head(|parts| &parts.body))
    }

    /// What SQS says of the message: `SentTimestamp`, `ApproximateReceiveCount`, `MessageGroupId` and so on.
    ///
    /// # Errors
    ///
    /// Where the attribute is there, but is not a string, or the attributes are not an object.
    pub fn attribute(&self, name: &str) -> Result<Option<Cow<'_, str>>, JsonError> {
        self.text(self.entry(self.head(|parts| &parts.attributes), name)?)
    }

    /// The JSON of an attribute that the sender gave the message.
    pub(crate) fn raw_message_attribute(&self, name: &str) -> Result<Option<&str>, JsonError> {
        let value = self.entry(self.rest(|parts| &parts.message_attributes), name)?;
        Ok(value.and_then(|span| self.part(&span)))
    }

    /// The ARN of the queue.
    ///
    /// # Errors
    ///
    /// Where it is there, but is not a string.
    pub fn queue_arn(&self) -> Result<Option<Cow<'_, str>>, JsonError> {
        self.text(self.rest(|parts| &parts.event_source_arn))
    }

    /// Where the record says that it comes from; `aws:sqs`, if it is one of SQS's.
    pub(crate) fn event_source(&self) -> Result<Option<Cow<'_, str>>, JsonError> {
        self.text(self.rest(|parts| &parts.event_source))
    }

    /// The record as it came, JSON.
    pub fn as_json(&self) -> &str {
        self.inner.batch.texts.get(self.inner.index).map_or("", |text| text.get())
    }

    pub(crate) fn origin(&self) -> &Origin {
        &self.inner.batch.origin
    }

    /// Whether this is a record at all.
    pub(crate) fn check(&self) -> Result<(), BoxError> {
        match self.inner.head.get_or_init(|| Parts::head(self.as_json())) {
            Some(_) => Ok(()),
            None => Err("this is no record: it is not a JSON object".into()),
        }
    }

    /// One of the parts that every record is asked for.
    fn head(&self, part: fn(&Parts) -> &Span) -> Option<Span> {
        self.inner.head.get_or_init(|| Parts::head(self.as_json())).as_ref().map(part).cloned()
    }

    /// One of the other parts.
    fn rest(&self, part: fn(&Parts) -> &Span) -> Option<Span> {
        self.inner.all.get_or_init(|| Parts::all(self.as_json())).as_ref().map(part).cloned()
    }

    /// The value of an entry of the object in that place. Nothing there, and `null`, have no entries.
    fn entry(&self, object: Option<Span>, name: &str) -> Result<Option<Span>, JsonError> {
        let Some(object) = object else { return Ok(None) };
        let json = self.part(&object).unwrap_or_default();
        if json.is_empty() || json == "null" {
            return Ok(None);
        }
        let mut entries = entries(json).ok_or_else(JsonError::not_an_object)?;
        let value = entries.find_map(|(key, value)| (key == name).then_some(value));
        Ok(value.map(|value| object.start + value.start..object.start + value.end))
    }

    fn part(&self, span: &Span) -> Option<&str> {
        self.as_json().get(span.clone())
    }

    fn text(&self, span: Option<Span>) -> Result<Option<Cow<'_, str>>, JsonError> {
        text(span.and_then(|span| self.part(&span)).unwrap_or_default())
    }
}

/// Shows the message id only: bodies and attributes are private.
impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Record").field(&self.message_id()).finish()
    }
}

/// The id of a record that has one. What is no text, or an empty one, cannot be reported, and so is no id.
pub(crate) fn message_id(record: &str) -> Option<Cow<'_, str>> {
    let (_, value) = entries(record)?.find(|(key, _)| key == "messageId")?;
    let id = text(record.get(value)?).ok()??;
    (!id.is_empty()).then_some(id)
}

impl Parts {
    /// Looks no further than the parts that every record is asked for. In SQS's records these come first.
    fn head(json: &str) -> Option<Self> {
        let mut parts = Self::default();
        for (key, value) in entries(json)? {
            parts.set(&key, value);
            if !parts.body.is_empty() && !parts.attributes.is_empty() {
                break;
            }
        }
        Some(parts)
    }

    fn all(json: &str) -> Option<Self> {
        let mut parts = Self::default();
        entries(json)?.for_each(|(key, value)| parts.set(&key, value));
        Some(parts)
    }

    fn set(&mut self, key: &str, value: Span) {
        match key {
            "receiptHandle" => self.receipt_handle = value,
            "body" => self.body = value,
            "attributes" => self.attributes = value,
            "messageAttributes" => self.message_attributes = value,
            // SNS writes its own `EventSource` so; it is read for the error message that names it.
            "eventSource" | "EventSource" => self.event_source = value,
            "eventSourceARN" => self.event_source_arn = value,
            _ => {}
        }
    }
}
