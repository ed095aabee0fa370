//! The positions of a record's parts in the text of an event.

use std::borrow::Cow;
use std::ops::Range;

use crate::json::{JsonError, Scanner, find, text};

/// The parts of one record, as spans of the event's text.
#[derive(Clone, Debug, Default)]
pub(super) struct Parts {
    whole: Span,
    /// Set if the record is a JSON object.
    is_object: bool,
    /// The index of the first record with the same id, if that is another record.
    pub(super) copy_of: Option<usize>,
    message_id: Span,
    receipt_handle: Span,
    body: Span,
    attributes: Span,
    message_attributes: Span,
    event_source: Span,
    event_source_arn: Span,
}

/// A part of the text. It is empty if the record does not have the part.
#[derive(Clone, Copy, Debug, Default)]
struct Span {
    begin: u32,
    end: u32,
}

impl Parts {
    /// Scans one element of the list of records.
    pub(super) fn find(scanner: &mut Scanner<'_>) -> Option<Self> {
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

    /// Returns the record's id, if it has one. A value that is not a string, or an empty string, cannot be reported and
    /// does not count as an id.
    pub(super) fn message_id<'a>(&self, event: &'a str) -> Option<Cow<'a, str>> {
        text(self.message_id.of(event)).ok()?.filter(|id| !id.is_empty())
    }

    fn set(&mut self, key: &str, value: Range<usize>) {
        let part = match key {
            "messageId" => &mut self.message_id,
            "receiptHandle" => &mut self.receipt_handle,
            "body" => &mut self.body,
            "attributes" => &mut self.attributes,
            "messageAttributes" => &mut self.message_attributes,
            // SNS writes `EventSource`. It is read only to name the service in an error.
            "eventSource" | "EventSource" => &mut self.event_source,
            "eventSourceARN" => &mut self.event_source_arn,
            _ => return,
        };
        *part = value.into();
    }
}

impl From<Range<usize>> for Span {
    /// Converts a range of an event's text. Events over 4 GiB were refused before.
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

/// A record in an event's text. Each part is parsed when it is read, so a malformed attribute does not affect a handler
/// that does not read it.
#[derive(Clone, Copy)]
pub(crate) struct EventRecord<'a> {
    pub(super) text: &'a str,
    pub(super) parts: &'a Parts,
}

type TextResult<'a> = Result<Option<Cow<'a, str>>, JsonError>;

impl<'a> EventRecord<'a> {
    pub(super) fn message_id(self) -> Option<Cow<'a, str>> {
        self.parts.message_id(self.text)
    }

    pub(super) fn receipt_handle(self) -> TextResult<'a> {
        text(self.parts.receipt_handle.of(self.text))
    }

    pub(super) fn body(self) -> TextResult<'a> {
        text(self.raw_body())
    }

    /// Returns the JSON of the body.
    pub(super) fn raw_body(self) -> &'a str {
        self.parts.body.of(self.text)
    }

    pub(super) fn attribute(self, name: &str) -> TextResult<'a> {
        text(entry(self.parts.attributes.of(self.text), name)?.unwrap_or_default())
    }

    /// Returns the JSON of one message attribute.
    pub(super) fn message_attribute(self, name: &str) -> Result<Option<&'a str>, JsonError> {
        entry(self.message_attributes(), name)
    }

    /// Returns the JSON of all message attributes.
    pub(crate) fn message_attributes(self) -> &'a str {
        self.parts.message_attributes.of(self.text)
    }

    pub(super) fn queue_arn(self) -> TextResult<'a> {
        text(self.parts.event_source_arn.of(self.text))
    }

    /// Returns the service that the record names as its source.
    pub(super) fn event_source(self) -> TextResult<'a> {
        text(self.parts.event_source.of(self.text))
    }

    pub(super) fn is_object(self) -> bool {
        self.parts.is_object
    }

    /// Returns the JSON of the whole record.
    pub(crate) fn json(self) -> &'a str {
        self.parts.whole.of(self.text)
    }
}

/// Returns the value of an entry of an object. A missing object and `null` have no entries.
fn entry<'a>(object: &'a str, name: &str) -> Result<Option<&'a str>, JsonError> {
    match object {
        "" | "null" => Ok(None),
        _ => Ok(find(object, name)?.and_then(|value| object.get(value))),
    }
}
