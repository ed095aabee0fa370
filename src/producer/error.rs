//! Why a message is not known to be in the queue.

use std::fmt;

use crate::sqs::limits::MAX_MESSAGE_BYTES;

/// What became of a message that was not accepted.
///
/// Whoever has one knows what may be done about it: a message that is [too large](Self::is_too_large) or [refused](Self::is_refused)
/// will never go as it is. All else may be sent again; where its outcome is [unknown](Self::is_unknown) it may be in the queue
/// already, and the receiver may see it twice.
#[derive(Clone, PartialEq, Eq)]
pub struct SendError {
    kind: Kind,
    text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    TooLarge,
    Refused,
    Denied,
    Failed,
    Unknown,
    Behind,
    Closed,
}

impl SendError {
    pub(super) fn too_large(bytes: usize) -> Self {
        let text = format!(
            "it is {bytes} bytes with its attributes, and SQS takes {MAX_MESSAGE_BYTES}; with the feature large-messages, ProducerBuilder::large_messages sends it through S3"
        );
        Self { kind: Kind::TooLarge, text }
    }

    /// SQS would refuse it.
    pub(crate) fn invalid(text: String) -> Self {
        Self { kind: Kind::Refused, text }
    }

    /// SQS has refused it.
    pub(super) fn refused(text: String) -> Self {
        Self { kind: Kind::Refused, text }
    }

    pub(crate) fn denied(text: String) -> Self {
        Self { kind: Kind::Denied, text }
    }

    pub(crate) fn failed(text: String) -> Self {
        Self { kind: Kind::Failed, text }
    }

    pub(super) fn unknown(text: String) -> Self {
        Self { kind: Kind::Unknown, text }
    }

    pub(super) fn behind(group: &str) -> Self {
        let text = format!("a message before it in its group {group} was not sent, and it may not go before that");
        Self { kind: Kind::Behind, text }
    }

    pub(crate) fn closed() -> Self {
        Self { kind: Kind::Closed, text: "the producer is closed".to_owned() }
    }

    /// It is over SQS's 1 MiB. No call was made.
    pub fn is_too_large(&self) -> bool {
        self.kind == Kind::TooLarge
    }

    /// It never will be sent as it is: SQS takes no such message, or the queue or the permission to send is not there.
    pub fn is_refused(&self) -> bool {
        matches!(self.kind, Kind::Refused | Kind::Denied)
    }

    /// It was refused for no fault of its own: the queue or the permission to send to it is not there. No other message will go either,
    /// until somebody mends that.
    pub fn is_denied(&self) -> bool {
        self.kind == Kind::Denied
    }

    /// It may be in the queue or not: no answer came, or one that does not name it.
    pub fn is_unknown(&self) -> bool {
        self.kind == Kind::Unknown
    }

    /// Whether it may be sent another time, later.
    pub fn may_be_tried_again(&self) -> bool {
        matches!(self.kind, Kind::Failed | Kind::Unknown | Kind::Behind)
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            Kind::Unknown => "it is not known whether a message was sent",
            _ => "a message was not sent",
        };
        write!(f, "{what}: {}", self.text)
    }
}

/// Reads as it is displayed: `main` prints it so.
impl fmt::Debug for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for SendError {}
