//! What SQS itself says of a message.

use std::num::ParseIntError;
use std::time::{Duration, SystemTime};

use super::{FromRecord, Rejection};
use crate::record::Record;

/// The id that SQS gave the message. The same id may come again: SQS delivers at least once.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MessageId(pub String);

wraps!(MessageId(String));

impl<S: Sync> FromRecord<S> for MessageId {
    type Rejection = Rejection;

    async fn from_record(record: &Record, _: &S) -> Result<Self, Rejection> {
        let id = record.message_id().ok_or_else(|| Rejection::absent("messageId"))?;
        Ok(Self(id.into_owned()))
    }
}

/// The handle of this receipt of the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiptHandle(pub String);

wraps!(ReceiptHandle(String));

impl<S: Sync> FromRecord<S> for ReceiptHandle {
    type Rejection = Rejection;

    async fn from_record(record: &Record, _: &S) -> Result<Self, Rejection> {
        let handle = record.receipt_handle().map_err(|error| Rejection::malformed("receiptHandle", error))?;
        Ok(Self(handle.ok_or_else(|| Rejection::absent("receiptHandle"))?.into_owned()))
    }
}

/// The ARN of the queue that the message was received from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct QueueArn(pub String);

wraps!(QueueArn(String));

impl<S: Sync> FromRecord<S> for QueueArn {
    type Rejection = Rejection;

    async fn from_record(record: &Record, _: &S) -> Result<Self, Rejection> {
        let arn = record.queue_arn().map_err(|error| Rejection::malformed("eventSourceARN", error))?;
        Ok(Self(arn.ok_or_else(|| Rejection::absent("eventSourceARN"))?.into_owned()))
    }
}

/// One extractor an attribute, which `$parse` makes from the attribute's text.
macro_rules! system_attribute {
    ($(#[$doc:meta])* $extractor:ident($value:ty) = $name:literal, $parse:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub struct $extractor(pub $value);

        wraps!($extractor($value));

        impl<S: Sync> FromRecord<S> for $extractor {
            type Rejection = Rejection;

            async fn from_record(record: &Record, _: &S) -> Result<Self, Rejection> {
                let value = record.attribute($name).map_err(|error| Rejection::malformed($name, error))?;
                let value = value.ok_or_else(|| Rejection::absent($name))?;
                $parse(&*value).map(Self).map_err(|error| Rejection::malformed($name, error))
            }
        }
    };
}

system_attribute! {
    /// How often the message has been received and not deleted, this time included: 1 at the first.
    ///
    /// ```
    /// use redrive::{Outcome, ReceiveCount};
    ///
    /// async fn work(ReceiveCount(count): ReceiveCount) -> Outcome {
    ///     if count > 3 { Outcome::DeadLetter("three tries are enough".into()) } else { Outcome::Done }
    /// }
    /// # let _ = redrive::handler(work);
    /// ```
    ReceiveCount(u32) = "ApproximateReceiveCount", count
}

/// Whether this run is the message's last one: if it fails, the message goes to the dead-letter queue by
/// [`Effects::dead_letter_at`](crate::Effects::dead_letter_at), which counts runs where
/// they are known, and not receives. Always `false` where that is not set: the record does not say what the queue's RedrivePolicy will do.
///
/// ```
/// use redrive::{Body, LastReceive};
///
/// async fn work(Body(order): Body, LastReceive(is_last): LastReceive) -> anyhow::Result<()> {
///     // Try the slow way, for once.
///     Ok(())
/// }
/// # let _ = redrive::handler(work);
/// ```
#[cfg(feature = "sqs")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LastReceive(pub bool);

#[cfg(feature = "sqs")]
impl<S: Sync> FromRecord<S> for LastReceive {
    type Rejection = std::convert::Infallible;

    async fn from_record(record: &Record, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Self(record.is_last_receive()))
    }
}

system_attribute! {
    /// The message group id: the order's key on a FIFO queue, a tenant on a standard one
    /// ([fair queues](https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-fair-queues.html)).
    GroupId(String) = "MessageGroupId", text
}

system_attribute! {
    /// The deduplication id of a message of a FIFO queue.
    DeduplicationId(String) = "MessageDeduplicationId", text
}

system_attribute! {
    /// The sequence number of a message of a FIFO queue: 20 digits that grow within a group.
    SequenceNumber(String) = "SequenceNumber", text
}

system_attribute! {
    /// Who sent the message: an IAM user's id, or a role's with the name of its session.
    SenderId(String) = "SenderId", text
}

system_attribute! {
    /// The X-Ray trace header that the message was sent with.
    TraceHeader(String) = "AWSTraceHeader", text
}

system_attribute! {
    /// When the message was sent, to the millisecond.
    SentAt(SystemTime) = "SentTimestamp", time
}

system_attribute! {
    /// When the message was first received, to the millisecond.
    FirstReceivedAt(SystemTime) = "ApproximateFirstReceiveTimestamp", time
}

fn text(value: &str) -> Result<String, std::convert::Infallible> {
    Ok(value.to_owned())
}

fn count(value: &str) -> Result<u32, ParseIntError> {
    value.parse()
}

/// From milliseconds since 1970.
fn time(value: &str) -> Result<SystemTime, Box<dyn std::error::Error + Send + Sync>> {
    let since_1970 = Duration::from_millis(value.parse()?);
    SystemTime::UNIX_EPOCH.checked_add(since_1970).ok_or_else(|| "a time beyond all clocks".into())
}
