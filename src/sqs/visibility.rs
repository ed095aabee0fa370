//! When messages that were received become visible again.

use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::error::DisplayErrorContext;
use aws_sdk_sqs::types::ChangeMessageVisibilityBatchRequestEntry as Entry;

use super::coalesce::BatchCall;
use super::entries::{EntryError, by_position, or_may_pass};

/// From the receive on, and not from the call: what is left of these 12 hours is the most that SQS takes.
pub(crate) const MAX_VISIBILITY_TIMEOUT: Duration = Duration::from_secs(43_200);

/// What a mapping's window and a function's timeout may have taken of that before a handler has ended.
const MAX_AGE_ON_LAMBDA: Duration = Duration::from_secs(300 + 900);

/// What is left of it on Lambda, where nobody knows when a message was received.
pub(super) const LONGEST_DELAY_ON_LAMBDA: Duration = MAX_VISIBILITY_TIMEOUT.saturating_sub(MAX_AGE_ON_LAMBDA);

/// `ChangeMessageVisibilityBatch` on one queue.
pub(crate) struct ChangeVisibility {
    pub(crate) client: Client,
    pub(crate) queue_url: String,
}

/// One receipt, and when its message comes back.
pub(crate) struct Change {
    pub(crate) receipt_handle: String,
    pub(crate) timeout: VisibilityTimeout,
}

/// Whole seconds from now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct VisibilityTimeout(i32);

impl VisibilityTimeout {
    /// At once.
    #[cfg(any(feature = "worker", feature = "cli"))]
    pub(crate) const ZERO: Self = Self(0);

    /// Rounded up, as what is to wait a little is not to come back at once; but no more than there is.
    pub(crate) fn clamped(delay: Duration, longest: Duration) -> Self {
        let seconds = delay.as_secs().saturating_add(u64::from(delay.subsec_nanos() > 0));
        Self(i32::try_from(seconds.min(longest.as_secs())).unwrap_or(i32::MAX))
    }

    #[cfg(feature = "worker")]
    pub(crate) fn as_duration(self) -> Duration {
        Duration::from_secs(self.0.unsigned_abs().into())
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
                let text = format!("sqs:ChangeMessageVisibility: {}", DisplayErrorContext(error));
                return vec![Err(EntryError::MayPass(text)); changes.len()];
            }
        };
        let successful = answer.successful().iter().map(|entry| (entry.id(), ()));
        or_may_pass(by_position(changes.len(), successful, answer.failed()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_is_rounded_up_and_clamped() {
        let seconds = |delay| VisibilityTimeout::clamped(delay, LONGEST_DELAY_ON_LAMBDA).0;
        assert_eq!(seconds(Duration::ZERO), 0);
        assert_eq!(seconds(Duration::from_millis(1)), 1);
        assert_eq!(seconds(Duration::from_secs(7)), 7);
        assert_eq!(seconds(Duration::MAX), 42_000);
    }

    /// Were message ids the ids of entries, a message that was handed out twice would have the call refused.
    #[cfg(feature = "local")]
    #[tokio::test(start_paused = true)]
    async fn the_same_message_may_be_in_a_call_twice() {
        let client = crate::local::Sqs::with_seed(1).client();
        let queue_url = client.create_queue().queue_name("orders").send().await.unwrap().queue_url.unwrap();
        client.send_message().queue_url(&queue_url).message_body("an order").send().await.unwrap();
        let mut received = client.receive_message().queue_url(&queue_url).send().await.unwrap();
        let receipt_handle = received.messages.take().unwrap()[0].receipt_handle.take().unwrap();
        let visibility = ChangeVisibility { client, queue_url };
        let changes = [receipt_handle.clone(), "none".to_owned(), receipt_handle];
        let timeout = VisibilityTimeout(60);
        let results = visibility.call(&changes.map(|receipt_handle| Change { receipt_handle, timeout })).await;
        assert_eq!((&results[0], &results[2]), (&Ok(()), &Ok(())));
        assert!(matches!(&results[1], Err(EntryError::SenderFault(why)) if why.contains("ReceiptHandleIsInvalid")));
    }
}
