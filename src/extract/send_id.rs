//! What a message is known by when it was sent more than once.

use super::{FromRecord, Rejection};
use crate::record::Record;

/// By which a message is known that was sent more than once: the same for all tries of one send, and another for each send.
///
/// SQS gives each try a `MessageId` of its own. A sender that does not know whether its message has arrived sends it again under the same
/// id: on a FIFO queue that is the deduplication id, and SQS drops the second within 5 minutes; on a standard queue it is the message
/// attribute `redrive.id`, which redrive's `Producer` gives its messages, and whoever must not do the same thing twice remembers it.
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

/// The message attribute with the id, on standard queues.
pub(crate) const SEND_ID: &str = "redrive.id";

/// The message attribute with the sender's trace, of [W3C Trace Context](https://www.w3.org/TR/trace-context/).
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
