//! When messages that were received become visible again.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::error::DisplayErrorContext;
use aws_sdk_sqs::types::ChangeMessageVisibilityBatchRequestEntry as Entry;

use super::coalesce::{BatchCall, EntryError};

/// From the receive on, and not from the call: what is left of these 12 hours is the most that SQS takes.
const MAX_VISIBILITY_TIMEOUT: Duration = Duration::from_secs(43_200);

/// What a mapping's window and a function's timeout may have taken of that before a handler has ended.
const MAX_AGE: Duration = Duration::from_secs(300 + 900);

/// `ChangeMessageVisibilityBatch` on one queue.
pub(super) struct ChangeVisibility {
    pub(super) client: Client,
    pub(super) queue_url: String,
}

/// One receipt, and when its message comes back.
pub(super) struct Change {
    pub(super) receipt_handle: String,
    pub(super) timeout: VisibilityTimeout,
}

/// Whole seconds from now that SQS takes for a message of any age.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct VisibilityTimeout(i32);

impl VisibilityTimeout {
    /// Rounded up: what is to wait a little is not to come back at once.
    pub(super) fn clamped(delay: Duration) -> Self {
        let delay = delay.min(MAX_VISIBILITY_TIMEOUT - MAX_AGE);
        let seconds = delay.as_secs() + u64::from(delay.subsec_nanos() > 0);
        Self(i32::try_from(seconds).unwrap_or(i32::MAX))
    }
}

impl BatchCall for ChangeVisibility {
    type Entry = Change;

    async fn call(&self, changes: &[Change]) -> Vec<Result<(), EntryError>> {
        let entries = changes.iter().enumerate().filter_map(|(position, change)| {
            let entry = Entry::builder().id(position.to_string()).receipt_handle(&change.receipt_handle);
            entry.visibility_timeout(change.timeout.0).build().ok()
        });
        let call = self.client.change_message_visibility_batch().queue_url(&self.queue_url);
        let answer = match call.set_entries(Some(entries.collect())).send().await {
            Ok(answer) => answer,
            Err(error) => {
                // The SDK has tried what may pass again already.
                let text = format!("sqs:ChangeMessageVisibility: {}", DisplayErrorContext(error));
                return vec![Err(EntryError::SenderFault(text)); changes.len()];
            }
        };
        let failed = answer.failed().iter().map(|entry| {
            let text = format!("{}: {}", entry.code(), entry.message().unwrap_or_default());
            let error = if entry.sender_fault() { EntryError::SenderFault(text) } else { EntryError::MayPass(text) };
            (entry.id(), Err(error))
        });
        let successful = answer.successful().iter().map(|entry| (entry.id(), Ok(())));
        let mut by_id: HashMap<_, _> = successful.chain(failed).collect();
        let unnamed = || Err(EntryError::MayPass("the answer does not name it".to_owned()));
        (0..changes.len()).map(|id| by_id.remove(id.to_string().as_str()).unwrap_or_else(unnamed)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_is_rounded_up_and_clamped() {
        let seconds = |delay| VisibilityTimeout::clamped(delay).0;
        assert_eq!(seconds(Duration::ZERO), 0);
        assert_eq!(seconds(Duration::from_millis(1)), 1);
        assert_eq!(seconds(Duration::from_secs(7)), 7);
        assert_eq!(seconds(Duration::MAX), 42_000);
    }
}
