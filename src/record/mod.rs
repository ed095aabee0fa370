//! One record: a message of a batch, independent of its host.
//!
//! A [`Record`] reads from its backing. There are two backings: a span of a Lambda event's text, and a message that a
//! worker received through the SDK.

#[cfg(all(test, feature = "worker"))]
mod both_backings;
#[cfg_attr(not(feature = "lambda"), allow(dead_code, reason = "only Lambda sends events"))]
mod event;
#[cfg_attr(not(feature = "lambda"), allow(dead_code, reason = "only Lambda sends events"))]
mod parts;
#[cfg(feature = "worker")]
mod received;
#[cfg(feature = "sqs")]
#[allow(missing_docs, reason = "a seam")]
mod received_message;

use std::any::Any;
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

#[cfg(feature = "worker")]
use aws_sdk_sqs::types::MessageAttributeValue;
#[cfg(feature = "large-messages")]
use tokio::sync::OwnedSemaphorePermit;

pub use self::event::Event;
pub(crate) use self::event::EventRecords;
pub(crate) use self::parts::EventRecord;
#[cfg(feature = "worker")]
pub(crate) use self::received::{Received, ReceivedMessages};
#[cfg(feature = "sqs")]
pub use self::received_message::{Incomplete, ReceivedMessage};
use crate::json::JsonError;
use crate::outcome::BoxError;
use crate::per_lane::PerLane;

/// Host data of a batch that the records do not contain, such as the Lambda context.
pub(crate) type Origin = Arc<dyn Any + Send + Sync>;

/// The state that the records of a batch share.
pub(crate) struct Batch {
    pub(crate) records: Records,
    #[cfg_attr(not(feature = "lambda"), allow(dead_code, reason = "only `Context` reads it"))]
    pub(crate) origin: Origin,
    /// Set if the host extends the visibility timeouts of running messages and settles each on its own. Such a host
    /// receives a message only to run it.
    #[cfg_attr(not(feature = "sqs"), allow(dead_code, reason = "only effects read it"))]
    pub(crate) is_kept: bool,
    /// `None` if the number of runs has no limit.
    #[cfg_attr(not(feature = "sqs"), allow(dead_code, reason = "only effects limit the runs"))]
    pub(crate) last_run: Option<Arc<dyn LastRun>>,
}

/// Decides whether a run of a record is its last.
#[cfg_attr(not(feature = "sqs"), allow(dead_code, reason = "only effects limit the runs"))]
pub(crate) trait LastRun: Send + Sync {
    /// Returns whether any failure of the current run sends the record to the dead-letter queue.
    fn is_last_run(&self, record: &Record) -> bool;
}

/// The records of a batch in their host's form.
pub(crate) enum Records {
    #[cfg_attr(not(feature = "lambda"), allow(dead_code, reason = "only Lambda sends events"))]
    Event(EventRecords),
    #[cfg(feature = "worker")]
    Received(ReceivedMessages),
}

impl Records {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Event(records) => records.len(),
            #[cfg(feature = "worker")]
            Self::Received(messages) => messages.len(),
        }
    }

    /// Returns the index of the first record with the same id, if that is another record.
    pub(crate) fn copy_of(&self, index: usize) -> Option<usize> {
        match self {
            Self::Event(records) => records.copy_of(index),
            #[cfg(feature = "worker")]
            Self::Received(messages) => messages.copy_of(index),
        }
    }

    #[cfg(feature = "lambda")]
    pub(crate) fn message_id(&self, index: usize) -> Option<Cow<'_, str>> {
        self.get(index).message_id()
    }

    /// Returns the ARN of the batch's queue, if a record has it. All records of a batch come from one queue.
    pub(crate) fn queue_arn(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Event(records) => records.queue_arn(),
            #[cfg(feature = "worker")]
            Self::Received(messages) => Some(Cow::Borrowed(messages.queue_arn())),
        }
    }

    fn get(&self, index: usize) -> Backing<'_> {
        match self {
            Self::Event(records) => Backing::Event(records.get(index)),
            #[cfg(feature = "worker")]
            Self::Received(messages) => Backing::Received(messages.get(index)),
        }
    }
}

/// One message of a batch, as extractors read it and layers pass it on.
///
/// On Lambda the record stays raw JSON. Each part is parsed when it is read, so a malformed attribute does not affect a
/// handler that does not read it. On a worker the record is the message that the AWS SDK received. Cloning is cheap,
/// but a clone keeps its whole batch in memory.
///
/// A handler can take a `Record` itself when no extractor fits.
#[derive(Clone)]
pub struct Record {
    batch: PerLane<Batch>,
    index: usize,
    /// The fetched body, if the body was not in the record.
    #[cfg(feature = "large-messages")]
    fetched: Option<Arc<FetchedBody>>,
}

/// A fetched body. It replaces the record's own body without being copied into it, because it may fill most of the
/// memory.
#[cfg(feature = "large-messages")]
pub(crate) struct FetchedBody {
    text: String,
    /// The message attribute that pointed to the body. Handlers do not see it.
    hidden_attribute: Option<&'static str>,
    /// The memory reservation of this body.
    _room: OwnedSemaphorePermit,
}

#[cfg(feature = "large-messages")]
impl FetchedBody {
    pub(crate) fn new(text: String, hidden_attribute: Option<&'static str>, room: OwnedSemaphorePermit) -> Self {
        Self { text, hidden_attribute, _room: room }
    }
}

/// The source of a record's parts.
#[derive(Clone, Copy)]
pub(crate) enum Backing<'a> {
    Event(EventRecord<'a>),
    #[cfg(feature = "worker")]
    Received(Received<'a>),
}

/// A message attribute in its record's form.
pub(crate) enum RawAttribute<'a> {
    Json(&'a str),
    #[cfg(feature = "worker")]
    Received(&'a MessageAttributeValue),
}

impl<'a> Backing<'a> {
    fn message_id(self) -> Option<Cow<'a, str>> {
        match self {
            Self::Event(record) => record.message_id(),
            #[cfg(feature = "worker")]
            Self::Received(received) => Some(Cow::Borrowed(&received.message.message_id)),
        }
    }
}

impl Record {
    pub(crate) fn new(batch: PerLane<Batch>, index: usize) -> Self {
        Self {
            batch,
            index,
            #[cfg(feature = "large-messages")]
            fetched: None,
        }
    }

    /// Returns the message id, if the record has one that is a string and not empty.
    pub fn message_id(&self) -> Option<Cow<'_, str>> {
        self.backing().message_id()
    }

    /// Returns the receipt handle, which is needed to delete the message or change its visibility timeout.
    ///
    /// # Errors
    ///
    /// Returns an error if the value is present but is not a string.
    pub fn receipt_handle(&self) -> Result<Option<Cow<'_, str>>, JsonError> {
        match self.backing() {
            Backing::Event(record) => record.receipt_handle(),
            #[cfg(feature = "worker")]
            Backing::Received(received) => Ok(Some(Cow::Borrowed(&received.message.receipt_handle))),
        }
    }

    /// Returns the body of the message.
    ///
    /// # Errors
    ///
    /// Returns an error if the value is present but is not a string.
    pub fn body(&self) -> Result<Option<Cow<'_, str>>, JsonError> {
        if let Some(body) = self.fetched_body() {
            return Ok(Some(Cow::Borrowed(body)));
        }
        match self.backing() {
            Backing::Event(record) => record.body(),
            #[cfg(feature = "worker")]
            Backing::Received(received) => Ok(Some(Cow::Borrowed(&received.message.body))),
        }
    }

    /// Returns a system attribute of the message, such as `SentTimestamp`, `ApproximateReceiveCount` or
    /// `MessageGroupId`.
    ///
    /// # Errors
    ///
    /// Returns an error if the attribute is present but is not a string, or if the attributes are not an object.
    pub fn attribute(&self, name: &str) -> Result<Option<Cow<'_, str>>, JsonError> {
        match self.backing() {
            Backing::Event(record) => record.attribute(name),
            #[cfg(feature = "worker")]
            Backing::Received(received) => Ok(received.attribute(name).map(Cow::Borrowed)),
        }
    }

    /// Returns how often the message has been received, including this time, if the record has the count.
    pub fn receive_count(&self) -> Option<u32> {
        self.attribute("ApproximateReceiveCount").ok()??.parse().ok()
    }

    /// Returns the message group id, if the record has one. Messages of standard queues may have one too.
    ///
    /// # Errors
    ///
    /// Returns an error if the value is present but is not a string.
    pub fn group_id(&self) -> Result<Option<Cow<'_, str>>, JsonError> {
        self.attribute("MessageGroupId")
    }

    /// Returns the ARN of the queue.
    ///
    /// # Errors
    ///
    /// Returns an error if the value is present but is not a string.
    pub fn queue_arn(&self) -> Result<Option<Cow<'_, str>>, JsonError> {
        match self.backing() {
            Backing::Event(record) => record.queue_arn(),
            #[cfg(feature = "worker")]
            Backing::Received(received) => Ok(Some(Cow::Borrowed(received.queue_arn))),
        }
    }

    /// Returns a message attribute, which the sender set.
    pub(crate) fn raw_message_attribute(&self, name: &str) -> Result<Option<RawAttribute<'_>>, JsonError> {
        if self.hidden_attribute() == Some(name) {
            return Ok(None);
        }
        match self.backing() {
            Backing::Event(record) => Ok(record.message_attribute(name)?.map(RawAttribute::Json)),
            #[cfg(feature = "worker")]
            Backing::Received(received) => Ok(received.message_attribute(name).map(RawAttribute::Received)),
        }
    }

    pub(crate) fn backing(&self) -> Backing<'_> {
        self.batch.records.get(self.index)
    }

    /// Returns the fetched body of this record.
    pub(crate) fn fetched_body(&self) -> Option<&str> {
        #[cfg(feature = "large-messages")]
        return self.fetched.as_ref().map(|body| body.text.as_str());
        #[cfg(not(feature = "large-messages"))]
        return None;
    }

    /// Returns the name of the message attribute that is hidden from handlers.
    pub(crate) fn hidden_attribute(&self) -> Option<&'static str> {
        #[cfg(feature = "large-messages")]
        return self.fetched.as_ref().and_then(|body| body.hidden_attribute);
        #[cfg(not(feature = "large-messages"))]
        return None;
    }

    /// Returns the same record with a fetched body.
    #[cfg(feature = "large-messages")]
    pub(crate) fn with_body(&self, body: FetchedBody) -> Self {
        Self { fetched: Some(Arc::new(body)), ..self.clone() }
    }

    /// Returns whether the raw body contains `word`. JSON escapes are not decoded, so a word that needs escapes is not
    /// found.
    #[cfg(feature = "large-messages")]
    pub(crate) fn body_may_contain(&self, word: &str) -> bool {
        match self.backing() {
            Backing::Event(record) => record.raw_body().contains(word),
            #[cfg(feature = "worker")]
            Backing::Received(received) => received.message.body.contains(word),
        }
    }

    #[cfg(feature = "lambda")]
    pub(crate) fn origin(&self) -> &Origin {
        &self.batch.origin
    }

    /// Returns whether a failure now would be the record's last.
    #[cfg(feature = "sqs")]
    pub(crate) fn is_last_receive(&self) -> bool {
        self.batch.last_run.as_ref().is_some_and(|last_run| last_run.is_last_run(self))
    }

    /// Returns whether the host extends the message's visibility timeout while it runs.
    #[cfg(feature = "sqs")]
    pub(crate) fn is_kept(&self) -> bool {
        self.batch.is_kept
    }

    /// Checks that the record is a JSON object.
    pub(crate) fn check(&self) -> Result<(), BoxError> {
        match self.backing() {
            Backing::Event(record) if !record.is_object() => Err("the record is not a JSON object".into()),
            Backing::Event(_) => Ok(()),
            #[cfg(feature = "worker")]
            Backing::Received(_) => Ok(()),
        }
    }
}

/// Shows the message id only: bodies and attributes are private.
impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Record").field(&self.message_id()).finish()
    }
}

#[cfg(test)]
impl Batch {
    /// Returns the batch of a Lambda event.
    pub(crate) fn of_event(json: &str) -> Self {
        let records = Records::Event(json.parse::<Event>().and_then(Event::into_records).unwrap());
        Self { records, origin: Arc::new(()), is_kept: false, last_run: None }
    }
}

#[cfg(test)]
impl Record {
    /// Returns the only record of an event.
    pub(crate) fn of_json(record: &str) -> Self {
        Self::new(PerLane::new(Batch::of_event(&format!(r#"{{"Records":[{record}]}}"#))), 0)
    }

    /// Returns the record of a message that a worker received.
    #[cfg(feature = "worker")]
    pub(crate) fn of_message(message: aws_sdk_sqs::types::Message, queue_arn: &str) -> Self {
        let messages = ReceivedMessages::new(vec![ReceivedMessage::new(message).unwrap()], queue_arn.into());
        let records = Records::Received(messages);
        Self::new(PerLane::new(Batch { records, origin: Arc::new(()), is_kept: true, last_run: None }), 0)
    }
}
