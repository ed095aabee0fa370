//! One record, parsed no further than it is asked for.

use std::any::Any;
use std::borrow::Cow;
#[cfg(feature = "large-messages")]
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
#[cfg(feature = "large-messages")]
use std::sync::OnceLock;

#[cfg(feature = "large-messages")]
use serde_json::value::{RawValue, to_raw_value};
#[cfg(feature = "large-messages")]
use tokio::sync::OwnedSemaphorePermit;

use crate::batch::OnFailure;
#[cfg(feature = "large-messages")]
use crate::event::Event;
use crate::event::Records;
use crate::json::{JsonError, Scanner, find, text};
use crate::outcome::BoxError;
use crate::per_lane::PerLane;

/// What a host knows of a batch that the records do not say: the Lambda context, for one.
pub(crate) type Origin = Arc<dyn Any + Send + Sync>;

/// A batch as it came: what its records share.
pub(crate) struct Batch {
    pub(crate) records: Records,
    #[cfg_attr(not(feature = "lambda"), allow(dead_code, reason = "only `Context` asks for it"))]
    pub(crate) origin: Origin,
    /// Whether the host keeps the messages while they run, and settles each by itself. Such a host receives a message alone to run it.
    #[cfg_attr(not(feature = "sqs"), allow(dead_code, reason = "only effects ask for it"))]
    pub(crate) is_kept: bool,
    /// Who says what becomes of records that fail, if somebody does.
    #[cfg_attr(not(feature = "sqs"), allow(dead_code, reason = "only effects know which run is the last"))]
    pub(crate) on_failure: Option<Arc<dyn OnFailure>>,
}

/// One message of a batch: what extractors read, and what layers pass on.
///
/// The record stays raw JSON. Where its parts are is known, and each is parsed when it is asked for, so an odd attribute
/// is no matter to a handler that does not read it. Cloning is cheap; a clone that is kept keeps the text of its whole
/// batch.
///
/// It can be an argument of a handler itself, where no extractor fits.
#[derive(Clone)]
pub struct Record {
    batch: PerLane<Batch>,
    index: usize,
    /// Where the body was not in the record, and has come from elsewhere.
    #[cfg(feature = "large-messages")]
    body: Option<Arc<FetchedBody>>,
}

/// A body that was fetched. It stays as it came, and is not written into the record: it may be most of the memory that there is.
#[cfg(feature = "large-messages")]
pub(crate) struct FetchedBody {
    text: String,
    /// The record with it, once somebody has asked for that.
    record_as_json: OnceLock<String>,
    /// What it takes of the memory for bodies.
    _room: OwnedSemaphorePermit,
}

/// Where in the event's text the parts of a record are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Parts {
    whole: Span,
    /// Whether this is a record at all.
    is_object: bool,
    /// The first record in the batch with the same id, where that is another one.
    pub(crate) copy_of: Option<usize>,
    message_id: Span,
    receipt_handle: Span,
    body: Span,
    attributes: Span,
    message_attributes: Span,
    event_source: Span,
    event_source_arn: Span,
}

/// A part of the text; empty where the record has no such part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Span {
    begin: u32,
    end: u32,
}

impl Record {
    pub(crate) fn new(batch: PerLane<Batch>, index: usize) -> Self {
        Self {
            batch,
            index,
            #[cfg(feature = "large-messages")]
            body: None,
        }
    }

    /// The id that SQS gave the message, where the record has one: a string that is not empty.
    pub fn message_id(&self) -> Option<Cow<'_, str>> {
        self.batch.records.message_id(self.index)
    }

    /// The handle of this receipt, to delete the message or change its visibility with.
    ///
    /// # Errors
    ///
    /// Where it is there, but is not a string.
    pub fn receipt_handle(&self) -> Result<Option<Cow<'_, str>>, JsonError> {
        text(self.part(|parts| parts.receipt_handle))
    }

    /// The message's text.
    ///
    /// # Errors
    ///
    /// Where it is there, but is not a string.
    pub fn body(&self) -> Result<Option<Cow<'_, str>>, JsonError> {
        #[cfg(feature = "large-messages")]
        if let Some(body) = &self.body {
            return Ok(Some(Cow::Borrowed(&body.text)));
        }
        text(self.part(|parts| parts.body))
    }

    /// What SQS says of the message: `SentTimestamp`, `ApproximateReceiveCount`, `MessageGroupId` and so on.
    ///
    /// # Errors
    ///
    /// Where the attribute is there, but is not a string, or the attributes are not an object.
    pub fn attribute(&self, name: &str) -> Result<Option<Cow<'_, str>>, JsonError> {
        text(entry(self.part(|parts| parts.attributes), name)?.unwrap_or_default())
    }

    /// The JSON of an attribute that the sender gave the message.
    pub(crate) fn raw_message_attribute(&self, name: &str) -> Result<Option<&str>, JsonError> {
        entry(self.part(|parts| parts.message_attributes), name)
    }

    /// The JSON of all attributes that the sender gave the message.
    #[cfg(feature = "sqs")]
    pub(crate) fn raw_message_attributes(&self) -> &str {
        self.part(|parts| parts.message_attributes)
    }

    /// How often the message has been received, where the record says so.
    pub(crate) fn receive_count(&self) -> Option<u32> {
        self.attribute("ApproximateReceiveCount").ok()??.parse().ok()
    }

    /// The ARN of the queue.
    ///
    /// # Errors
    ///
    /// Where it is there, but is not a string.
    pub fn queue_arn(&self) -> Result<Option<Cow<'_, str>>, JsonError> {
        text(self.part(|parts| parts.event_source_arn))
    }

    /// Where the record says that it comes from; `aws:sqs`, if it is one of SQS's.
    pub(crate) fn event_source(&self) -> Result<Option<Cow<'_, str>>, JsonError> {
        text(self.part(|parts| parts.event_source))
    }

    /// The record as it came, JSON.
    pub fn as_json(&self) -> &str {
        #[cfg(feature = "large-messages")]
        if let Some(body) = &self.body {
            return body.record_as_json.get_or_init(|| with_entry(self.own_json(), "body", &body.text));
        }
        self.own_json()
    }

    /// The same without a body that was fetched, which comes apart from it.
    pub(crate) fn in_parts(&self) -> (&str, Option<&str>) {
        #[cfg(feature = "large-messages")]
        let body = self.body.as_ref().map(|body| body.text.as_str());
        #[cfg(not(feature = "large-messages"))]
        let body = None;
        (self.own_json(), body)
    }

    fn own_json(&self) -> &str {
        self.part(|parts| parts.whole)
    }

    /// The same record with a body that was fetched, and without an attribute that its sender gave it. What SQS has computed of these is
    /// left out.
    #[cfg(feature = "large-messages")]
    pub(crate) fn with_body(&self, body: FetchedBody, without: Option<&str>) -> Result<Self, BoxError> {
        let mut record: BTreeMap<String, &RawValue> = serde_json::from_str(self.own_json())?;
        record.retain(|name, _| name != "body" && !name.starts_with("md5Of"));
        let attributes = match without {
            Some(without) => {
                let mut attributes: BTreeMap<String, &RawValue> = serde_json::from_str(self.raw_message_attributes())?;
                attributes.remove(without);
                Some(to_raw_value(&attributes)?)
            }
            None => None,
        };
        record.extend(attributes.as_ref().map(|attributes| ("messageAttributes".to_owned(), &**attributes)));
        let event = serde_json::to_vec(&BTreeMap::from([("Records", [record])]))?;
        let records = Event::of(event).into_records()?;
        let Batch { origin, is_kept, on_failure, .. } = &*self.batch;
        let batch = Batch { records, origin: origin.clone(), is_kept: *is_kept, on_failure: on_failure.clone() };
        Ok(Self { batch: PerLane::new(batch), index: 0, body: Some(Arc::new(body)) })
    }

    #[cfg(feature = "lambda")]
    pub(crate) fn origin(&self) -> &Origin {
        &self.batch.origin
    }

    /// Whether a failure now would be the record's last.
    #[cfg(feature = "sqs")]
    pub(crate) fn is_last_receive(&self) -> bool {
        self.batch.on_failure.as_ref().is_some_and(|on_failure| on_failure.is_last_run(self))
    }

    /// Whether the host keeps the message while it runs.
    #[cfg(feature = "sqs")]
    pub(crate) fn is_kept(&self) -> bool {
        self.batch.is_kept
    }

    /// Whether this is a record at all.
    pub(crate) fn check(&self) -> Result<(), BoxError> {
        match self.batch.records.parts().get(self.index) {
            Some(parts) if parts.is_object => Ok(()),
            _ => Err("this is no record: it is not a JSON object".into()),
        }
    }

    fn part(&self, part: fn(&Parts) -> Span) -> &str {
        let records = &self.batch.records;
        records.parts().get(self.index).map_or("", |parts| part(parts).of(records.text()))
    }
}

#[cfg(feature = "large-messages")]
impl FetchedBody {
    pub(crate) fn new(text: String, room: OwnedSemaphorePermit) -> Self {
        Self { text, record_as_json: OnceLock::new(), _room: room }
    }
}

/// An object with one entry more, whose value is a text.
#[cfg(feature = "large-messages")]
fn with_entry(object: &str, key: &str, value: &str) -> String {
    let mut json = Vec::with_capacity(object.len() + key.len() + value.len());
    let (begin, separator) = match object.trim_end().strip_suffix('}') {
        Some(begin) if begin.trim() != "{" => (begin, ","),
        _ => ("{", ""),
    };
    json.extend_from_slice(begin.as_bytes());
    json.extend_from_slice(separator.as_bytes());
    // To write a text into memory does not fail.
    let _ = serde_json::to_writer(&mut json, key);
    json.push(b':');
    let _ = serde_json::to_writer(&mut json, value);
    json.push(b'}');
    String::from_utf8(json).unwrap_or_default()
}

/// The value of an entry of an object. Nothing there, and `null`, have no entries.
fn entry<'a>(object: &'a str, name: &str) -> Result<Option<&'a str>, JsonError> {
    match object {
        "" | "null" => Ok(None),
        _ => Ok(find(object, name)?.and_then(|value| object.get(value))),
    }
}

/// Shows the message id only: bodies and attributes are private.
impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Record").field(&self.message_id()).finish()
    }
}

impl Parts {
    /// Goes past a record, or what stands in the place of one.
    pub(crate) fn find(scanner: &mut Scanner<'_>) -> Option<Self> {
        let mut parts = Self::default();
        let (_, first) = scanner.peek()?;
        parts.is_object = first == b'{';
        let whole = match parts.is_object {
            true => scanner.object(|key, scanner| {
                parts.set(key, scanner.value()?);
                Some(())
            })?,
            false => scanner.value()?,
        };
        parts.whole = whole.into();
        Some(parts)
    }

    /// The record's id, if it has one. What is no text, or an empty one, cannot be reported, and so is no id.
    pub(crate) fn message_id<'a>(&self, event: &'a str) -> Option<Cow<'a, str>> {
        text(self.message_id.of(event)).ok()?.filter(|id| !id.is_empty())
    }

    /// They are those of a record that is there.
    #[cfg(feature = "sqs")]
    pub(crate) fn are_of_object(&mut self, whole: Range<usize>) {
        (self.is_object, self.whole) = (true, whole.into());
    }

    /// The value of that key of the record is there.
    pub(crate) fn set(&mut self, key: &str, value: Range<usize>) {
        let part = match key {
            "messageId" => &mut self.message_id,
            "receiptHandle" => &mut self.receipt_handle,
            "body" => &mut self.body,
            "attributes" => &mut self.attributes,
            "messageAttributes" => &mut self.message_attributes,
            // SNS writes its own `EventSource` so; it is read for the error message that names it.
            "eventSource" | "EventSource" => &mut self.event_source,
            "eventSourceARN" => &mut self.event_source_arn,
            _ => return,
        };
        *part = value.into();
    }
}

impl From<Range<usize>> for Span {
    /// An event is shorter than 4 GiB: longer ones are refused before, and one that is written here is of ten messages.
    fn from(range: Range<usize>) -> Self {
        let place = |at| u32::try_from(at).unwrap_or(u32::MAX);
        Self { begin: place(range.start), end: place(range.end) }
    }
}

impl Span {
    fn of(self, text: &str) -> &str {
        text.get(self.begin as usize..self.end as usize).unwrap_or_default()
    }
}
