//! Deletes processed messages, ten in a call.

use redrive::internals::client::with_attempt_timeout;
use redrive::internals::coalesce::BatchCall as _;
use redrive::internals::delete::DeleteMessages;
use redrive::internals::entries::EntryError;
use redrive::internals::limits::MAX_ENTRIES;

use crate::event::Record;

use super::{CALL_LIMIT, EventSourceMapping, News, backoff};

/// The limit of attempts. After it the message runs again, which at-least-once delivery allows.
const ATTEMPTS: u32 = 8;

impl EventSourceMapping {
    /// Deletes the messages of these records. Returns the ids of messages that could not be deleted.
    pub(super) async fn delete(&self, records: impl Iterator<Item = &Record>) -> Vec<String> {
        let records: Vec<_> = records.collect();
        let mut kept = Vec::new();
        for ten in records.chunks(MAX_ENTRIES) {
            for (record, error) in self.delete_ten(ten).await {
                kept.push(record.message_id().to_owned());
                self.tell(News::DeleteFailed { message_id: record.message_id().to_owned(), error });
            }
        }
        kept
    }

    /// Deletes up to ten messages and retries transient failures. Returns the remaining messages with their errors.
    async fn delete_ten<'a>(&self, records: &[&'a Record]) -> Vec<(&'a Record, String)> {
        let mut left: Vec<_> = records.iter().map(|&record| (record, String::new())).collect();
        let mut refused = Vec::new();
        let client = with_attempt_timeout(&self.client, CALL_LIMIT);
        let deletes = DeleteMessages { client, queue_url: self.queue_url.clone() };
        for attempt in 0..ATTEMPTS {
            let receipt_handles: Vec<_> = left.iter().map(|(record, _)| record.receipt_handle().to_owned()).collect();
            let results = deletes.call(&receipt_handles).await;
            for ((record, _), result) in std::mem::take(&mut left).into_iter().zip(results) {
                match result {
                    Ok(()) => {}
                    Err(EntryError::SenderFault(error) | EntryError::Denied(error)) => refused.push((record, error)),
                    // The message may be deleted already. Deleting it again does no harm.
                    Err(EntryError::MayPass(error)) => left.push((record, error)),
                }
            }
            if left.is_empty() {
                break;
            }
            tokio::time::sleep(backoff(attempt + 1)).await;
        }
        left.extend(refused);
        left
    }
}
