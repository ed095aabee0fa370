//! The sending side.

use super::pointer::{Pointer, SIZE_ATTRIBUTE, SIZE_ATTRIBUTES};
use super::{LargeMessages, object};
use crate::extract::AttributeValue;
use crate::producer::{Id, IntoOutgoing, Outgoing, SendError};
use crate::sqs::limits::MAX_ATTRIBUTES;

/// A body that is to be in S3 before its message leaves.
pub(crate) struct Offloaded {
    place: Pointer,
    body: String,
}

impl LargeMessages {
    /// Writes the body to S3, where the message is too large for SQS, and returns the message that points at it; any other message
    /// returns as it is.
    ///
    /// A producer with [`large_messages`](crate::ProducerBuilder::large_messages) does this itself. It is here for the outbox, before the
    /// transaction begins: nobody is to wait for S3 while one is open.
    ///
    /// # Errors
    ///
    /// Where S3 is not known to have the body, or the message cannot be sent this way.
    pub async fn offload(&self, message: impl IntoOutgoing) -> Result<Outgoing, SendError> {
        let (message, offloaded) = self.divert(message.into_outgoing()?)?;
        if let Some(offloaded) = offloaded {
            self.put(offloaded).await?;
        }
        Ok(message)
    }

    /// Puts a pointer in the place of a body that is too large.
    pub(crate) fn divert(&self, mut message: Outgoing) -> Result<(Outgoing, Option<Offloaded>), SendError> {
        if message.bytes() <= self.threshold {
            return Ok((message, None));
        }
        if let Some(name) = SIZE_ATTRIBUTES.into_iter().find(|&name| message.attributes.contains_key(name)) {
            return Err(SendError::invalid(format!("it has the attribute {name}, by which a body in S3 is known")));
        }
        if message.attributes.len() >= MAX_ATTRIBUTES {
            let why =
                format!("it has {MAX_ATTRIBUTES} attributes, and its body in S3 takes one more: {SIZE_ATTRIBUTE}");
            return Err(SendError::invalid(why));
        }
        let key = format!("{}{}", self.key_prefix, Id::random());
        let place = Pointer { s3_bucket_name: self.bucket.clone(), s3_key: key };
        let body = std::mem::replace(&mut message.body, place.to_body());
        let message = message.attribute(SIZE_ATTRIBUTE, AttributeValue::number(body.len()));
        Ok((message, Some(Offloaded { place, body })))
    }

    pub(crate) async fn put(&self, offloaded: Offloaded) -> Result<(), SendError> {
        let Offloaded { place, body } = offloaded;
        let put = async { object::put(self.client().await?, &place, body).await };
        put.await.map_err(|error| SendError::failed(format!("its body is not in S3: {error}")))
    }
}
