//! Sends dead letters within the size limit of their queue.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_sqs::Client;
use tokio::time::Instant;

use super::call_error::CallError;
use super::dead_letter::{About, Letter, message};
use super::limits::SMALLEST_SIZE_LIMIT_BYTES;
use super::size_limit::SizeLimit;
use crate::record::Record;

/// The dead-letter queues of a consumer.
#[derive(Debug, Default)]
pub(super) struct DeadLetterQueues {
    /// The size limits by queue URL, as far as refusals have shown them.
    size_limits: Mutex<HashMap<String, Arc<SizeLimit>>>,
}

impl DeadLetterQueues {
    /// Sends the record to that queue with as much of the note as fits. Without `about` there is no note.
    ///
    /// # Errors
    ///
    /// Returns an error if the queue may not have the dead letter.
    pub(super) async fn send(
        &self,
        client: &Client,
        record: &Record,
        about: Option<&About<'_>>,
        url: &str,
    ) -> Result<(), String> {
        let limit = self.size_limit(url);
        let letter = |limit_bytes| message(record, about, url, limit_bytes).map_err(|error| error.to_string());
        let mut limit_bytes = limit.bytes(Instant::now());
        loop {
            let Letter { message, bytes, .. } = letter(limit_bytes)?.told(record, about, limit_bytes);
            let error = match message.send_with(client).await {
                Ok(_) => {
                    limit.took(bytes);
                    return Ok(());
                }
                Err(error) => {
                    let body = record.body().ok().flatten().unwrap_or_default();
                    CallError::from(error).hiding([&*body])
                }
            };
            let why = format!("sqs:SendMessage: {}", error.text());
            let Some(refusal) = error.too_large().filter(|_| bytes > SMALLEST_SIZE_LIMIT_BYTES) else {
                return Err(why);
            };
            let learned_bytes = limit.learn(refusal, bytes, Instant::now());
            let least_bytes = letter(0)?.bytes;
            if bytes <= least_bytes || least_bytes > learned_bytes {
                return Err(format!(
                    "it has {least_bytes} bytes without a note, and the dead-letter queue accepts less; raise the MaximumMessageSize of that \
                     queue ({why})"
                ));
            }
            // If the refusal names no limit, each attempt halves the optional part, so this ends.
            let is_explained = refusal.limit_bytes.is_some_and(|limit| limit < bytes);
            limit_bytes = if is_explained { learned_bytes } else { bytes.midpoint(least_bytes) };
        }
    }

    fn size_limit(&self, url: &str) -> Arc<SizeLimit> {
        let mut limits = self.size_limits.lock().unwrap_or_else(PoisonError::into_inner);
        limits.entry(url.to_owned()).or_default().clone()
    }
}
