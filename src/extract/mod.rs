//! Extractors: types that a handler can take as arguments.

/// Implements access to the value that an extractor wraps.
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

/// A type that can be created from a record, and is therefore an argument of a handler.
///
/// The extractors of this crate implement it, and your own types can:
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
/// If an extractor rejects a record, the handler does not run. The rejection decides the outcome as an [`IntoOutcome`].
/// [`Rejection`] is a retry unless it says otherwise. A handler that wants to see the rejection takes `Result<E,
/// E::Rejection>`. A handler for which a part is optional takes `Option<E>`: it is `None` if the part is absent, and a
/// malformed part still rejects the record.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an argument of a redrive handler (with `{S}` as its state)",
    label = "cannot be made from a record",
    note = "take a body as `redrive::Json<{Self}>`, shared state as `redrive::State<{Self}>` together with `.with_state(..)`, or implement `redrive::FromRecord`"
)]
pub trait FromRecord<S>: Sized {
    /// The reason for a rejection, which decides the record's outcome.
    type Rejection: IntoOutcome + Send;

    /// Creates the value from the record, or from the handler's state.
    fn from_record(record: &Record, state: &S) -> impl Future<Output = Result<Self, Self::Rejection>> + Send;
}

/// Extracts the record itself, for parts without an extractor of their own.
impl<S: Sync> FromRecord<S> for Record {
    type Rejection = std::convert::Infallible;

    async fn from_record(record: &Record, _: &S) -> Result<Self, Self::Rejection> {
        Ok(record.clone())
    }
}
