//! One record: a message of a batch, wherever its host has it from.
//!
//! A [`Record`] asks its backing for what a handler wants to know. There are two: a span of a Lambda event's text, and a message that a worker
//! received by the SDK.

#[cfg(all(test, feature = "worker"))]
mod both_backings;
#[cfg_attr(not(feature = "lambda"), allow(dead_code, reason = "a worker gets no events"))]
mod event;
#[cfg_attr(not(feature = "lambda"), allow(dead_code, reason = "a worker gets no events"))]
mod parts;
#[cfg(feature = "worker")]
mod received;

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
pub(crate) use self::received::{Received, ReceivedMessage, ReceivedMessages};
use crate::json::JsonError;
use crate::outcome::BoxError;
use crate::per_lane::PerLane;

/// What a host knows of a batch that the records do not say: the Lambda context, for one.
pub(crate) type Origin = Arc<dyn Any + Send + Sync>;

/// What the records of a batch share.
pub(crate) struct Batch {
    pub(crate) records: Records,
    #[cfg_attr(not(feature = "lambda"), allow(dead_code, reason = "only `Context` asks for it"))]
    pub(crate) origin: Origin,
    /// Whether the host keeps the messages while they run, and settles each by itself. Such a host receives a message alone to run it.
    #[cfg_attr(not(feature = "sqs"), allow(dead_code, reason = "only effects ask for it"))]
    pub(crate) is_kept: bool,
    /// `None` where runs have no limit.
    #[cfg_attr(not(feature = "sqs"), allow(dead_code, reason = "only effects know the last run"))]
    pub(crate) last_run: Option<Arc<dyn LastRun>>,
}

/// Knows which run of a record is its last.
#[cfg_attr(not(feature = "sqs"), allow(dead_code, reason = "only effects know the last run"))]
pub(crate) trait LastRun: Send + Sync {
    /// Returns whether the record goes to the dead-letter queue if its run that is under way fails, however it fails.
    fn is_last_run(&self, record: &Record) -> bool;
}

/// The records of a batch, in the form in which the host has them.
pub(crate) enum Records {
    #[cfg_attr(not(feature = "lambda"), allow(dead_code, reason = "a worker gets no events"))]
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

    /// Returns the first record with the same id, where that is another one.
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

    /// Returns the ARN of the queue that the batch is from, where a record says so. One speaks for all of them: a mapping polls one queue.
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

/// One message of a batch: what extractors read, and what layers pass on.
///
/// On Lambda the record stays raw JSON. Each part is parsed when it is asked for, so an odd attribute does not matter to a handler that does
/// not read it. On a worker it is the message that the AWS SDK received. Cloning is cheap; a clone that is kept keeps its whole batch in
/// memory.
///
/// It can be an argument of a handler itself, where no extractor fits.
#[derive(Clone)]
pub struct Record {
    batch: PerLane<Batch>,
    index: usize,
    /// Where the body was not in the record, and was fetched.
    #[cfg(feature = "large-messages")]
    fetched: Option<Arc<FetchedBody>>,
}

/// A body that was fetched. It takes the place of the record's own, and is not written into it: it may be most of the memory that there is.
#[cfg(feature = "large-messages")]
pub(crate) struct FetchedBody {
    text: String,
    /// A message attribute that said where the body is. Handlers do not see it.
    hidden_attribute: Option<&'static str>,
    /// The memory for bodies that this one takes.
    _room: OwnedSemaphorePermit,
}

#[cfg(feature = "large-messages")]
impl FetchedBody {
    pub(crate) fn new(text: String, hidden_attribute: Option<&'static str>, room: OwnedSemaphorePermit) -> Self {
        Self { text, hidden_attribute, _room: room }
    }
}

/// Where the parts of a record are.
#[derive(Clone, Copy)]
pub(crate) enum Backing<'a> {
    Event(EventRecord<'a>),
    #[cfg(feature = "worker")]
    Received(Received<'a>),
}

/// A message attribute in the form in which its record has it.
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

    /// Returns the id that SQS gave the message, where the record has one: a string that is not empty.
    pub fn message_id(&self) -> Option<Cow<'_, str>> {
        self.backing().message_id()
    }

    /// Returns the handle of this receipt, by which the message is deleted or its visibility changed.
    ///
    /// # Errors
    ///
    /// Where it is there, but is not a string.
    pub fn receipt_handle(&self) -> Result<Option<Cow<'_, str>>, JsonError> {
        match self.backing() {
            Backing::Event(record) => record.receipt_handle(),
            #[cfg(feature = "worker")]
            Backing::Received(received) => Ok(Some(Cow::Borrowed(&received.message.receipt_handle))),
        }
    }

    /// Returns the message's text.
    ///
    /// # Errors
    ///
    /// Where it is there, but is not a string.
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

    /// Returns what SQS says of the message: `SentTimestamp`, `ApproximateReceiveCount`, `MessageGroupId` and so on.
    ///
    /// # Errors
    ///
    /// Where the attribute is there, but is not a string, or the attributes are not an object.
    pub fn attribute(&self, name: &str) -> Result<Option<Cow<'_, str>>, JsonError> {
        match self.backing() {
            Backing::Event(record) => record.attribute(name),
            #[cfg(feature = "worker")]
            Backing::Received(received) => Ok(received.attribute(name).map(Cow::Borrowed)),
        }
    }

    /// Returns how often the message has been received and not deleted, this time included, where the record says so.
    pub fn receive_count(&self) -> Option<u32> {
        self.attribute("ApproximateReceiveCount").ok()??.parse().ok()
    }

    /// Returns the message group id, where the record has one. A message of a standard queue may have one too.
    ///
    /// # Errors
    ///
    /// Where it is there, but is not a string.
    pub fn group_id(&self) -> Result<Option<Cow<'_, str>>, JsonError> {
        self.attribute("MessageGroupId")
    }

    /// Returns the ARN of the queue.
    ///
    /// # Errors
    ///
    /// Where it is there, but is not a string.
    pub fn queue_arn(&self) -> Result<Option<Cow<'_, str>>, JsonError> {
        match self.backing() {
            Backing::Event(record) => record.queue_arn(),
            #[cfg(feature = "worker")]
            Backing::Received(received) => Ok(Some(Cow::Borrowed(received.queue_arn))),
        }
    }

    /// Returns an attribute that the sender gave the message.
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

    /// Returns the body that was fetched for this record.
    pub(crate) fn fetched_body(&self) -> Option<&str> {
        #[cfg(feature = "large-messages")]
        return self.fetched.as_ref().map(|body| body.text.as_str());
        #[cfg(not(feature = "large-messages"))]
        return None;
    }

    /// Returns the name of the message attribute that handlers do not see.
    pub(crate) fn hidden_attribute(&self) -> Option<&'static str> {
        #[cfg(feature = "large-messages")]
        return self.fetched.as_ref().and_then(|body| body.hidden_attribute);
        #[cfg(not(feature = "large-messages"))]
        return None;
    }

    /// Returns the same record with a body that was fetched.
    #[cfg(feature = "large-messages")]
    pub(crate) fn with_body(&self, body: FetchedBody) -> Self {
        Self { fetched: Some(Arc::new(body)), ..self.clone() }
    }

    /// Returns whether the record's own body may have that word in it. The body is not unescaped for it, so a word that a JSON string would
    /// escape is not found.
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

    /// Returns whether the host keeps the message while it runs.
    #[cfg(feature = "sqs")]
    pub(crate) fn is_kept(&self) -> bool {
        self.batch.is_kept
    }

    /// Checks that this is a record at all.
    pub(crate) fn check(&self) -> Result<(), BoxError> {
        match self.backing() {
            Backing::Event(record) if !record.is_object() => Err("this is no record: it is not a JSON object".into()),
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
    /// The batch of a Lambda event.
    pub(crate) fn of_event(json: &str) -> Self {
        let records = Records::Event(json.parse::<Event>().and_then(Event::into_records).unwrap());
        Self { records, origin: Arc::new(()), is_kept: false, last_run: None }
    }
}

#[cfg(test)]
impl Record {
    /// The record of an event that has no other.
    pub(crate) fn of_json(record: &str) -> Self {
        Self::new(PerLane::new(Batch::of_event(&format!(r#"{{"Records":[{record}]}}"#))), 0)
    }

    /// The record of a message that a worker received.
    #[cfg(feature = "worker")]
    pub(crate) fn of_message(message: aws_sdk_sqs::types::Message, queue_arn: &str) -> Self {
        let messages = ReceivedMessages::new(vec![ReceivedMessage::new(message).unwrap()], queue_arn.into());
        let records = Records::Received(messages);
        Self::new(PerLane::new(Batch { records, origin: Arc::new(()), is_kept: true, last_run: None }), 0)
    }
}
