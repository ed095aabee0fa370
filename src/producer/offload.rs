//! Stores bodies in S3 before their messages are sent.

use sha2::{Digest, Sha256};

use super::error::SendError;
use super::id::Id;
use super::outgoing::{IntoOutgoing, Outgoing};
use crate::extract::AttributeValue;
use crate::large::{LargeMessages, Offloaded, SIZE_ATTRIBUTE, SIZE_ATTRIBUTES};
use crate::sqs::hex::hex;
use crate::sqs::limits::{MAX_ATTRIBUTES, MAX_MESSAGE_BYTES};

impl LargeMessages {
    /// Stores the body in S3 if the message is too large for SQS, and returns a message with a pointer. It returns any
    /// other message unchanged.
    ///
    /// A producer with [`large_messages`](crate::ProducerBuilder::large_messages) does this itself. Call it before an
    /// outbox's transaction begins, so that the transaction does not wait for S3.
    ///
    /// # Errors
    ///
    /// Returns an error if S3 may not have the body, or if the message cannot be sent this way.
    pub async fn offload(&self, message: impl IntoOutgoing) -> Result<Outgoing, SendError> {
        let (message, offloaded) = self.divert(message.into_outgoing()?, MAX_MESSAGE_BYTES)?;
        if let Some(offloaded) = offloaded {
            self.store(offloaded).await?;
        }
        Ok(message)
    }

    /// Replaces a body with a pointer if the message exceeds the queue's limit.
    pub(super) fn divert(
        &self,
        mut message: Outgoing,
        limit_bytes: usize,
    ) -> Result<(Outgoing, Option<Offloaded>), SendError> {
        if message.bytes() <= self.threshold.min(limit_bytes) {
            return Ok((message, None));
        }
        let offloaded = self.point(&mut message)?;
        Ok((message, Some(offloaded)))
    }

    /// Replaces the body with a pointer. After an error the message is unchanged.
    pub(super) fn point(&self, message: &mut Outgoing) -> Result<Offloaded, SendError> {
        if let Some(name) = SIZE_ATTRIBUTES.into_iter().find(|&name| message.attributes.contains_key(name)) {
            return Err(SendError::invalid(format!(
                "it has the attribute {name}, which marks a body in S3; remove it"
            )));
        }
        if message.attributes.len() >= MAX_ATTRIBUTES {
            let why =
                format!("it has {MAX_ATTRIBUTES} attributes, and a body in S3 needs another one, {SIZE_ATTRIBUTE}");
            return Err(SendError::invalid(why));
        }
        // Only a FIFO queue's message may have no id yet, and its queue may deduplicate by content.
        if message.group.is_some() && message.deduplication_id.is_none() {
            message.content_id = Some(content_id(&message.body));
        }
        let body_bytes = message.body.len();
        let offloaded = self.replace_body(&mut message.body, Id::random());
        message.attributes.insert(SIZE_ATTRIBUTE.to_owned(), AttributeValue::number(body_bytes));
        Ok(offloaded)
    }

    /// Stores the body in S3.
    pub(super) async fn store(&self, offloaded: Offloaded) -> Result<(), SendError> {
        let stored = self.put(offloaded).await;
        stored.map_err(|error| SendError::failed(format!("its body could not be stored in S3: {error}")))
    }
}

/// Returns the deduplication id that SQS computes from a body under content-based deduplication:
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/using-messagededuplicationid-property.html>
fn content_id(body: &str) -> Box<str> {
    let (left, right) = {
        let digest: [u8; 32] = Sha256::digest(body).into();
        let halves = digest.as_chunks::<16>().0;
        (u128::from_be_bytes(halves[0]), u128::from_be_bytes(halves[1]))
    };
    format!("{}{}", hex(left), hex(right)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_id_is_the_sha_256_in_lower_case() {
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(&*content_id("abc"), expected);
    }
}
