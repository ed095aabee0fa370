//! The error of a message that may not be in the queue.

use std::fmt;

use super::id::Id;
use crate::sqs::call_error::Trouble;
use crate::sqs::limits::MAX_MESSAGE_BYTES;
use crate::sqs::size_limit::TooLarge;

/// The error of a message that SQS did not accept, or may not have accepted.
///
/// Its predicates tell what to do:
///
/// - A message that is [too large](Self::is_too_large) or [refused](Self::is_refused) cannot be sent as it is. If a
///   [permission](Self::is_permission_denied) or [the queue](Self::is_queue_unavailable) is missing, fix that first.
/// - Any other message [may be sent again](Self::is_retryable).
/// - If the outcome is [unknown](Self::is_unknown), the message may be in the queue. Send it again under [its
///   id](Self::send_id), so that a FIFO queue or the receiver recognizes a copy.
#[derive(Clone, PartialEq, Eq)]
pub struct SendError {
    kind: SendErrorKind,
    /// Why the call failed, where it failed as a whole.
    trouble: Option<Trouble>,
    text: String,
    send_id: Option<Box<str>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SendErrorKind {
    TooLarge,
    TooLargeForQueue,
    Refused,
    Denied,
    NoQueue,
    Failed,
    Unknown,
    Behind,
    Closed,
}

impl SendError {
    fn new(kind: SendErrorKind, text: String) -> Self {
        Self { kind, trouble: None, text, send_id: None }
    }

    /// Notes why the whole call failed.
    pub(super) fn of_call(self, trouble: impl Into<Option<Trouble>>) -> Self {
        Self { trouble: trouble.into(), ..self }
    }

    /// Sets the id of the message.
    pub(super) fn of(self, id: Option<&Id>) -> Self {
        Self { send_id: id.and_then(Id::text).map(Into::into), ..self }
    }

    /// Adds the number of attempts.
    pub(super) fn after(self, attempts: u32) -> Self {
        Self { text: format!("{} (after {attempts} attempts)", self.text), ..self }
    }

    /// Turns the error into an unknown outcome if an earlier attempt may have sent the message.
    pub(super) fn or_unknown(self, may_be_sent: bool) -> Self {
        Self { kind: if may_be_sent { SendErrorKind::Unknown } else { self.kind }, ..self }
    }

    pub(super) fn too_large(bytes: usize) -> Self {
        let text = format!("it has {bytes} bytes with its attributes, and SQS accepts {MAX_MESSAGE_BYTES}");
        Self::new(SendErrorKind::TooLarge, text)
    }

    /// Creates the error of a message that the queue refused for its size.
    pub(super) fn too_large_for_its_queue(bytes: usize, refusal: TooLarge, why: &str) -> Self {
        let limit = match refusal.limit_bytes {
            Some(limit) => format!("its queue accepts {limit} bytes (MaximumMessageSize)"),
            None => "its queue accepts less".to_owned(),
        };
        let text = format!("it has {bytes} bytes with its attributes, and {limit}: {why}");
        Self::new(SendErrorKind::TooLargeForQueue, text)
    }

    /// Creates the error of a message that SQS would refuse.
    pub(crate) fn invalid(text: String) -> Self {
        Self::new(SendErrorKind::Refused, text)
    }

    /// Creates the error of a message that SQS refused.
    pub(super) fn refused(text: String) -> Self {
        Self::new(SendErrorKind::Refused, text)
    }

    pub(crate) fn denied(text: String) -> Self {
        Self::new(SendErrorKind::Denied, text)
    }

    /// Creates the error for a missing queue, or a URL where no SQS answers.
    pub(super) fn no_queue(text: String) -> Self {
        Self::new(SendErrorKind::NoQueue, text)
    }

    pub(crate) fn failed(text: String) -> Self {
        Self::new(SendErrorKind::Failed, text)
    }

    pub(super) fn unknown(text: String) -> Self {
        Self::new(SendErrorKind::Unknown, text)
    }

    pub(super) fn behind(group: &str) -> Self {
        let text =
            format!("an earlier message of its group {group} was not sent, and it must not be sent before that one");
        Self::new(SendErrorKind::Behind, text)
    }

    pub(crate) fn closed() -> Self {
        Self::new(SendErrorKind::Closed, "the producer is closed".to_owned())
    }

    /// Returns whether the message is too large: over the 1 MiB of SQS, in which case no call was made, or over the
    /// queue's `MaximumMessageSize`. The text names the limit.
    pub fn is_too_large(&self) -> bool {
        matches!(self.kind, SendErrorKind::TooLarge | SendErrorKind::TooLargeForQueue)
    }

    /// Returns whether this message cannot be sent as it is. SQS refuses the message, its sender [has no
    /// permission](Self::is_permission_denied), or its queue [is unavailable](Self::is_queue_unavailable).
    pub fn is_refused(&self) -> bool {
        matches!(self.kind, SendErrorKind::Refused | SendErrorKind::Denied | SendErrorKind::NoQueue)
    }

    /// Returns whether the sender has no permission: IAM, the credentials or the queue's KMS key do not allow the call,
    /// or SQS answered with an unknown code. No other message can be sent either until that changes.
    pub fn is_permission_denied(&self) -> bool {
        self.kind == SendErrorKind::Denied
    }

    /// Returns whether the queue does not exist, or no SQS answers at its URL. No other message can be sent either.
    pub fn is_queue_unavailable(&self) -> bool {
        self.kind == SendErrorKind::NoQueue
    }

    /// Returns the cause, without a remedy for programs.
    pub(crate) fn cause(&self) -> &str {
        &self.text
    }

    /// Returns whether it was not sent because a message before it in its group was not.
    pub(crate) fn is_behind(&self) -> bool {
        self.kind == SendErrorKind::Behind
    }

    /// Returns why the call failed, if every attempt failed with its whole call.
    pub(crate) fn trouble(&self) -> Option<Trouble> {
        self.trouble
    }

    /// Returns whether nothing was sent, for lack of a connection or of credentials.
    pub(super) fn is_not_reached(&self) -> bool {
        matches!(self.trouble, Some(Trouble::Unreachable | Trouble::NoCredentials))
    }

    /// Returns whether no other message can be sent either.
    pub(super) fn is_denied(&self) -> bool {
        matches!(self.kind, SendErrorKind::Denied | SendErrorKind::NoQueue)
    }

    /// Returns whether the message may be in the queue: no answer arrived, or the answer does not name it.
    pub fn is_unknown(&self) -> bool {
        self.kind == SendErrorKind::Unknown
    }

    /// Returns the id that a receiver would get: the deduplication id on a FIFO queue, the message attribute
    /// `redrive.id` on a standard queue. Send the message again with this
    /// [`deduplication_id`](crate::Outgoing::deduplication_id) to keep its identity. A FIFO queue remembers the id for
    /// 5 minutes.
    ///
    /// It is `None` in four cases: the message was never sent and had no id of its own, the queue deduplicates by
    /// content, the attribute had no room, or [`without_send_id`](crate::ProducerBuilder::without_send_id) turned it
    /// off.
    pub fn send_id(&self) -> Option<&str> {
        self.send_id.as_deref()
    }

    /// Returns whether the same message may be accepted later.
    pub fn is_retryable(&self) -> bool {
        matches!(self.kind, SendErrorKind::Failed | SendErrorKind::Unknown | SendErrorKind::Behind)
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            SendErrorKind::Unknown => "it is unknown whether a message was sent",
            _ => "a message was not sent",
        };
        write!(f, "{what}: {}", self.text)?;
        match self.kind {
            SendErrorKind::TooLarge => {
                f.write_str("; with the feature large-messages, ProducerBuilder::large_messages sends it through S3")
            }
            SendErrorKind::TooLargeForQueue => write!(
                f,
                "; raise that to {MAX_MESSAGE_BYTES} at most, or send the message through S3 with the feature large-messages and ProducerBuilder::large_messages"
            ),
            _ => Ok(()),
        }
    }
}

/// Formats the error like `Display`, because `main` prints errors with `Debug`.
impl fmt::Debug for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for SendError {}
