//! What is done leaves the queue, ten at a time.

use aws_sdk_sqs::types::DeleteMessageBatchRequestEntry as Entry;

use super::{Mapping, News, backoff, limited};
use crate::sqs::entries::{EntryError, by_position};
use crate::sqs::event::Record;
use crate::sqs::limits::MAX_ENTRIES;
use crate::sqs::safe_text::text_of;

/// Beyond these the message runs again, which it may at any time.
const ATTEMPTS: u32 = 8;

impl Mapping {
    /// Deletes the messages of these records. Gives back the ids of those that could not be.
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

    /// Tries again what failed for no fault of ours. Gives back what is left, and why.
    async fn delete_ten<'a>(&self, records: &[&'a Record]) -> Vec<(&'a Record, String)> {
        let mut left: Vec<_> = records.iter().map(|&record| (record, String::new())).collect();
        let mut refused = Vec::new();
        for attempt in 0..ATTEMPTS {
            let results = self.delete_once(&left).await;
            for ((record, _), result) in std::mem::take(&mut left).into_iter().zip(results) {
                match result {
                    Some(Ok(())) => {}
                    Some(Err(EntryError::SenderFault(error) | EntryError::Denied(error))) => {
                        refused.push((record, error))
                    }
                    Some(Err(EntryError::MayPass(error))) => left.push((record, error)),
                    // It may be deleted or not; deleting it once more does no harm.
                    None => left.push((record, "the answer does not name it".to_owned())),
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

    async fn delete_once(&self, records: &[(&Record, String)]) -> Vec<Option<Result<(), EntryError>>> {
        let entries = records.iter().enumerate().filter_map(|(position, (record, _))| {
            Entry::builder().id(position.to_string()).receipt_handle(record.receipt_handle()).build().ok()
        });
        let handles = || records.iter().map(|(record, _)| record.receipt_handle());
        let delete = self.client.delete_message_batch().queue_url(&self.queue_url);
        let answer = match delete.set_entries(Some(entries.collect())).customize().config_override(limited()).send().await {
            Ok(answer) => answer,
            Err(error) => {
                let error = EntryError::MayPass(text_of(&error)).hiding(handles());
                return vec![Some(Err(error)); records.len()];
            }
        };
        let successful = answer.successful().iter().map(|entry| (entry.id(), ()));
        let results = by_position(records.len(), successful, answer.failed()).into_iter();
        results.map(|result| result.map(|result| result.map_err(|error| error.hiding(handles())))).collect()
    }
}
