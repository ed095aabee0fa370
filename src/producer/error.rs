//! Why a message is not known to be in the queue.

use std::fmt;

use super::id::Id;
use crate::sqs::call_error::Trouble;
use crate::sqs::limits::MAX_MESSAGE_BYTES;
use crate::sqs::size_limit::TooLarge;

/// What became of a message that was not accepted.
///
/// Whoever has one knows what may be done about it: a message that is [too large](Self::is_too_large) or [refused](Self::is_refused)
/// will not go as it is, unless somebody changes [permissions](Self::is_permission_denied) or
/// [the queue](Self::is_queue_unavailable). All else [may be sent again](Self::is_retryable); where
/// its outcome is [unknown](Self::is_unknown) it may be in the queue already, and to send it under [its id](Self::send_id) has the
/// receiver, or a FIFO queue, know it again.
#[derive(Clone, PartialEq, Eq)]
pub struct SendError {
    kind: Kind,
    /// Why the call failed, where it failed as a whole.
    trouble: Option<Trouble>,
    text: String,
    send_id: Option<Box<str>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
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
    fn new(kind: Kind, text: String) -> Self {
        Self { kind, trouble: None, text, send_id: None }
    }

    /// Of a call that failed as a whole.
    pub(super) fn of_call(self, trouble: impl Into<Option<Trouble>>) -> Self {
        Self { trouble: trouble.into(), ..self }
    }

    /// Of a message that has that id.
    pub(super) fn of(self, id: Option<&Id>) -> Self {
        Self { send_id: id.and_then(Id::text).map(Into::into), ..self }
    }

    /// As the last of so many attempts.
    pub(super) fn after(self, attempts: u32) -> Self {
        Self { text: format!("{} (after {attempts} attempts)", self.text), ..self }
    }

    /// Of a message that an earlier attempt may have brought there.
    pub(super) fn or_unknown(self, may_be_sent: bool) -> Self {
        Self { kind: if may_be_sent { Kind::Unknown } else { self.kind }, ..self }
    }

    pub(super) fn too_large(bytes: usize) -> Self {
        let text = format!("it is {bytes} bytes with its attributes, and SQS takes {MAX_MESSAGE_BYTES}");
        Self::new(Kind::TooLarge, text)
    }

    /// The queue has refused it for its size.
    pub(super) fn too_large_for_its_queue(bytes: usize, refusal: TooLarge, why: &str) -> Self {
        let limit = match refusal.limit_bytes {
            Some(limit) => format!("its queue takes {limit} bytes (MaximumMessageSize)"),
            None => "its queue takes less".to_owned(),
        };
        let text = format!("it is {bytes} bytes with its attributes, and {limit}: {why}");
        Self::new(Kind::TooLargeForQueue, text)
    }

    /// SQS would refuse it.
    pub(crate) fn invalid(text: String) -> Self {
        Self::new(Kind::Refused, text)
    }

    /// SQS has refused it.
    pub(super) fn refused(text: String) -> Self {
        Self::new(Kind::Refused, text)
    }

    pub(crate) fn denied(text: String) -> Self {
        Self::new(Kind::Denied, text)
    }

    /// There is no such queue, or nothing there speaks SQS.
    pub(super) fn no_queue(text: String) -> Self {
        Self::new(Kind::NoQueue, text)
    }

    pub(crate) fn failed(text: String) -> Self {
        Self::new(Kind::Failed, text)
    }

    pub(super) fn unknown(text: String) -> Self {
        Self::new(Kind::Unknown, text)
    }

    pub(super) fn behind(group: &str) -> Self {
        let text = format!("a message before it in its group {group} was not sent, and it may not go before that");
        Self::new(Kind::Behind, text)
    }

    pub(crate) fn closed() -> Self {
        Self::new(Kind::Closed, "the producer is closed".to_owned())
    }

    /// It is larger than its queue takes: over the 1 MiB of SQS, and no call was made; or over the `MaximumMessageSize` of the queue, which
    /// has refused it. The text says the limit.
    pub fn is_too_large(&self) -> bool {
        matches!(self.kind, Kind::TooLarge | Kind::TooLargeForQueue)
    }

    /// Returns whether this message will not be sent as it is: SQS takes no such message, its sender
    /// [has no permission](Self::is_permission_denied), or its queue [is unavailable](Self::is_queue_unavailable).
    pub fn is_refused(&self) -> bool {
        matches!(self.kind, Kind::Refused | Kind::Denied | Kind::NoQueue)
    }

    /// Returns whether the sender may not send: IAM, the credentials or the queue's KMS key do not allow it, or SQS answered with an
    /// unknown code. No other message will go either, until somebody changes that.
    pub fn is_permission_denied(&self) -> bool {
        self.kind == Kind::Denied
    }

    /// Returns whether the queue does not exist, or nothing at its URL speaks SQS. No other message will go either.
    pub fn is_queue_unavailable(&self) -> bool {
        self.kind == Kind::NoQueue
    }

    /// Returns why, without what to do about it in a program.
    pub(crate) fn cause(&self) -> &str {
        &self.text
    }

    /// Returns whether it was not sent for the sake of a message before it in its group.
    pub(crate) fn is_behind(&self) -> bool {
        self.kind == Kind::Behind
    }

    /// Returns why the call failed, where every attempt failed with its call as a whole.
    pub(crate) fn trouble(&self) -> Option<Trouble> {
        self.trouble
    }

    /// No connection or no credentials: nothing was sent.
    pub(super) fn is_not_reached(&self) -> bool {
        matches!(self.trouble, Some(Trouble::Unreachable | Trouble::NoCredentials))
    }

    /// Neither will any other message go.
    pub(super) fn is_denied(&self) -> bool {
        matches!(self.kind, Kind::Denied | Kind::NoQueue)
    }

    /// It may be in the queue or not: no answer came, or one that does not name it.
    pub fn is_unknown(&self) -> bool {
        self.kind == Kind::Unknown
    }

    /// By what its receiver would know the message, if it is there: the deduplication id on a FIFO queue, the message attribute `redrive.id`
    /// on another. Sent again with this [`deduplication_id`](crate::Outgoing::deduplication_id) it is the same message, on a FIFO queue
    /// for 5 minutes.
    ///
    /// `None` where it has none: it was given none and never left, its content is to tell, there was no room for the attribute, or
    /// [`without_send_id`](crate::ProducerBuilder::without_send_id) turned it off.
    pub fn send_id(&self) -> Option<&str> {
        self.send_id.as_deref()
    }

    /// Returns whether the same message may be accepted later.
    pub fn is_retryable(&self) -> bool {
        matches!(self.kind, Kind::Failed | Kind::Unknown | Kind::Behind)
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            Kind::Unknown => "it is not known whether a message was sent",
            _ => "a message was not sent",
        };
        write!(f, "{what}: {}", self.text)?;
        match self.kind {
            Kind::TooLarge => {
                f.write_str("; with the feature large-messages, ProducerBuilder::large_messages sends it through S3")
            }
            Kind::TooLargeForQueue => write!(
                f,
                "; raise that to {MAX_MESSAGE_BYTES} at most, or send the message through S3 with the feature large-messages and ProducerBuilder::large_messages"
            ),
            _ => Ok(()),
        }
    }
}

/// Reads as it is displayed: `main` prints it so.
impl fmt::Debug for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for SendError {}
