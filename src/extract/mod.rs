//! Extractors: the types that a handler may take as arguments.

/// Lets an extractor be used as the value that it wraps.
macro_rules! wraps {
    ($wrapper:ident<$value:ident>) => {
        impl<$value> std::ops::Deref for $wrapper<$value> {
            type Target = $value;

            fn deref(&self) -> &$value {
                &self.0
            }
        }

        impl<$value> std::ops::DerefMut for $wrapper<$value> {
            fn deref_mut(&mut self) -> &mut $value {
                &mut self.0
            }
        }
    };
    ($wrapper:ident($value:ty)) => {
        impl std::ops::Deref for $wrapper {
            type Target = $value;

            fn deref(&self) -> &$value {
                &self.0
            }
        }

        impl std::ops::DerefMut for $wrapper {
            fn deref_mut(&mut self) -> &mut $value {
                &mut self.0
            }
        }
    };
}

mod attribute;
mod body;
mod envelope;
mod form;
mod json;
mod message;
mod optional;
mod rejection;
mod s3;
mod send_id;
mod state;
mod system;
mod tuple;

use std::future::Future;

pub use self::attribute::{Attribute, AttributeValue, FromAttribute};
#[cfg(feature = "producer")]
pub(crate) use self::attribute::{attributes_from_json, attributes_to_json};
pub use self::body::Body;
pub use self::envelope::{EventBridge, Sns, SnsAttribute};
pub use self::json::Json;
pub use self::message::Message;
pub use self::rejection::Rejection;
pub use self::s3::{S3, S3Notification, S3Record};
pub use self::send_id::SendId;
#[cfg(feature = "sqs")]
pub(crate) use self::send_id::{SEND_ID, TRACEPARENT};
pub use self::state::{FromRef, State};
#[cfg(feature = "sqs")]
pub use self::system::LastReceive;
pub use self::system::{
    DeduplicationId, FirstReceivedAt, GroupId, MessageId, QueueArn, ReceiptHandle, ReceiveCount, SenderId, SentAt,
    SequenceNumber, TraceHeader,
};

use crate::outcome::IntoOutcome;
use crate::record::Record;

/// A type that can be made from a record, and so can be an argument of a handler.
///
/// The extractors of this crate implement it, and your own types may:
///
/// ```
/// use redrive::{FromRecord, Json, Record, Rejection};
///
/// #[derive(serde::Deserialize)]
/// struct Envelope<T> { tenant: String, payload: T }
///
/// /// The payload of our own envelope.
/// struct Payload<T>(T);
///
/// impl<S: Sync, T: serde::de::DeserializeOwned> FromRecord<S> for Payload<T> {
///     type Rejection = Rejection;
///
///     async fn from_record(record: &Record, state: &S) -> Result<Self, Rejection> {
///         let Json(envelope) = Json::<Envelope<T>>::from_record(record, state).await?;
///         if envelope.tenant == "test" {
///             return Err(Rejection::discard("a test tenant's message"));
///         }
///         Ok(Self(envelope.payload))
///     }
/// }
///
/// async fn greet(Payload(name): Payload<String>) { /* ... */ }
/// # let _ = redrive::handler(greet);
/// ```
///
/// A record whose extractor rejects it is not handed to the handler. What becomes of it is the rejection's to say, as an
/// [`IntoOutcome`]; with [`Rejection`] it is a retry, unless that one says otherwise. A handler that wants to see the
/// rejection itself takes `Result<E, E::Rejection>`; one that does without what is absent takes `Option<E>`, which is
/// `None` for what is absent only, and still rejects what is malformed.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an argument of a redrive handler (with `{S}` as its state)",
    label = "cannot be made from a record",
    note = "take a body as `redrive::Json<{Self}>`, shared state as `redrive::State<{Self}>` together with `.with_state(..)`, or implement `redrive::FromRecord`"
)]
pub trait FromRecord<S>: Sized {
    /// Why the record was not taken, and what becomes of it then.
    type Rejection: IntoOutcome + Send;

    /// Takes what it needs from the record, or from the state that the handler was given.
    fn from_record(record: &Record, state: &S) -> impl Future<Output = Result<Self, Self::Rejection>> + Send;
}

/// The record itself, for what no extractor covers.
impl<S: Sync> FromRecord<S> for Record {
    type Rejection = std::convert::Infallible;

    async fn from_record(record: &Record, _: &S) -> Result<Self, Self::Rejection> {
        Ok(record.clone())
    }
}
