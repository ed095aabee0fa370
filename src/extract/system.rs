//! Extractors for the attributes that SQS sets.

use std::num::ParseIntError;
use std::time::{Duration, SystemTime};

use super::{FromRecord, Rejection};
use crate::record::Record;

/// Extracts the message id. The same id may arrive again, because SQS delivers at least once.
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

/// Extracts the receipt handle of this receive.
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

/// Extracts the ARN of the message's queue.
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

/// Defines an extractor for each attribute. `$parse` converts the attribute's text.
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
    /// Extracts the receive count, which is 1 at the first receive.
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

/// Extracts whether this run is the message's last one: if it fails,
/// [`Effects::dead_letter_at`](crate::Effects::dead_letter_at) sends the message to the dead-letter queue. That limit
/// counts runs where they are known, otherwise receives. It is always `false` without the limit, because the record
/// does not contain the queue's RedrivePolicy.
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
    /// Extracts the message group id: the unit of order on a FIFO queue, a tenant on a standard queue ([fair
    /// queues](https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-fair-queues.html)).
    GroupId(String) = "MessageGroupId", text
}

system_attribute! {
    /// Extracts the deduplication id of a FIFO queue's message.
    DeduplicationId(String) = "MessageDeduplicationId", text
}

system_attribute! {
    /// Extracts the sequence number of a FIFO queue's message: 20 digits that grow within a group.
    SequenceNumber(String) = "SequenceNumber", text
}

system_attribute! {
    /// Extracts the sender's id: that of an IAM user, or of a role with the name of its session.
    SenderId(String) = "SenderId", text
}

system_attribute! {
    /// Extracts the message's X-Ray trace header.
    TraceHeader(String) = "AWSTraceHeader", text
}

system_attribute! {
    /// Extracts the time when the message was sent, in milliseconds.
    SentAt(SystemTime) = "SentTimestamp", time
}

system_attribute! {
    /// Extracts the time of the first receive, in milliseconds.
    FirstReceivedAt(SystemTime) = "ApproximateFirstReceiveTimestamp", time
}

fn text(value: &str) -> Result<String, std::convert::Infallible> {
    Ok(value.to_owned())
}

fn count(value: &str) -> Result<u32, ParseIntError> {
    value.parse()
}

/// Converts milliseconds since 1970.
fn time(value: &str) -> Result<SystemTime, Box<dyn std::error::Error + Send + Sync>> {
    let since_1970 = Duration::from_millis(value.parse()?);
    SystemTime::UNIX_EPOCH.checked_add(since_1970).ok_or_else(|| "the time is out of range".into())
}
