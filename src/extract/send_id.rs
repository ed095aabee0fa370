//! The id by which copies of a message are recognized.

use super::{FromRecord, Rejection};
use crate::record::Record;

/// Extracts the id by which copies of a message are recognized. All attempts of one send share it, and each send has a
/// new one.
///
/// SQS assigns each attempt a new `MessageId`. A sender that does not know whether its message arrived sends it again
/// under the same id. On a FIFO queue this is the deduplication id, and SQS drops copies within 5 minutes. On a
/// standard queue it is the message attribute `redrive.id`, which redrive's `Producer` adds. A consumer that must not
/// act twice has to remember it.
///
/// ```
/// use redrive::{Outcome, SendId};
///
/// async fn charge(SendId(id): SendId) -> Outcome {
///     // INSERT INTO charged (send_id) ... ON CONFLICT DO NOTHING
/// #   let _ = id;
///     Outcome::Done
/// }
/// # let _ = redrive::handler(charge);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SendId(pub String);

/// The message attribute with the id on standard queues.
pub(crate) const SEND_ID: &str = "redrive.id";

/// The message attribute with the sender's trace of [W3C Trace Context](https://www.w3.org/TR/trace-context/).
#[cfg(feature = "sqs")]
pub(crate) const TRACEPARENT: &str = "traceparent";

impl<S: Sync> FromRecord<S> for SendId {
    type Rejection = Rejection;

    async fn from_record(record: &Record, _: &S) -> Result<Self, Rejection> {
        const OF_FIFO: &str = "MessageDeduplicationId";
        let of_fifo = record.attribute(OF_FIFO).map_err(|error| Rejection::malformed(OF_FIFO, error))?;
        if let Some(id) = of_fifo {
            return Ok(Self(id.into_owned()));
        }
        let malformed = |error| Rejection::malformed(format!("message attribute {SEND_ID}"), error);
        let value = record.message_attribute(SEND_ID).map_err(malformed)?;
        let id = value.as_ref().and_then(|value| value.as_str());
        Ok(Self(id.ok_or_else(|| Rejection::absent(format!("message attribute {SEND_ID}")))?.to_owned()))
    }
}
