//! When messages that were received become visible again.

use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::ChangeMessageVisibilityBatchRequestEntry as Entry;
use tokio::time::timeout_at;

use super::call_error::CallError;
use super::coalesce::BatchCall;
use super::entries::{EntryError, by_position, or_may_pass};
use super::split::{Once, split};
use crate::moment::Deadline;

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
    /// The change must not begin at this time or later. The message may be another consumer's by then, and SQS accepts a receipt handle
    /// from before: it would change the visibility of a message that the other consumer is working on.
    pub(crate) not_after: Deadline,
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

    /// Sends only changes whose time has not come. No attempt of the call begins after the first of their times: the SDK repeats a
    /// call that failed with all of its entries, so the call ends then, and the coalescer sends the others again.
    async fn call(&self, changes: &[Change]) -> Vec<Result<(), EntryError>> {
        let mut results = vec![Err(EntryError::too_late()); changes.len()];
        let in_time: Vec<_> = (0..changes.len()).filter(|&position| !changes[position].not_after.is_over()).collect();
        let first_end = in_time.iter().map(|&position| changes[position].not_after.for_timer()).min();
        let Some(first_end) = first_end else { return results };
        let sent: Vec<_> = in_time.iter().map(|&position| &changes[position]).collect();
        let answers = timeout_at(first_end, split(self, &sent)).await.unwrap_or_else(|_| unanswered(&sent));
        let handles = || sent.iter().map(|change| &*change.receipt_handle);
        for (position, answer) in in_time.into_iter().zip(answers) {
            results[position] = answer.map_err(|error| error.hiding(handles()));
        }
        results
    }
}

/// The answers to a call that was broken off, as the time of one of its entries had come.
fn unanswered(changes: &[&Change]) -> Vec<Result<(), EntryError>> {
    let error = |change: &&Change| match change.not_after.is_over() {
        true => Err(EntryError::too_late()),
        false => Err(EntryError::MayPass("the call was broken off for another of its entries".to_owned())),
    };
    changes.iter().map(error).collect()
}

impl Once<&Change> for ChangeVisibility {
    const ACTION: &'static str = "sqs:ChangeMessageVisibility";

    async fn once(&self, changes: &[&Change]) -> Result<Vec<Result<(), EntryError>>, CallError> {
        let entries = changes.iter().enumerate().filter_map(|(position, change)| {
            let entry = Entry::builder().id(position.to_string()).receipt_handle(&change.receipt_handle);
            entry.visibility_timeout(change.timeout.0).build().ok()
        });
        let call = self.client.change_message_visibility_batch().queue_url(&self.queue_url);
        let answer = call.set_entries(Some(entries.collect())).send().await?;
        let successful = answer.successful().iter().map(|entry| (entry.id(), ()));
        Ok(or_may_pass(by_position(changes.len(), successful, answer.failed())))
    }
}

#[cfg(test)]
mod tests {
    #[cfg(feature = "local")]
    use tokio::time::Instant;

    use super::*;
    #[cfg(feature = "local")]
    use crate::moment::Moment;

    #[test]
    fn a_delay_is_rounded_up_and_clamped() {
        let seconds = |delay| VisibilityTimeout::clamped(delay, LONGEST_DELAY_ON_LAMBDA).0;
        assert_eq!(seconds(Duration::ZERO), 0);
        assert_eq!(seconds(Duration::from_millis(1)), 1);
        assert_eq!(seconds(Duration::from_secs(7)), 7);
        assert_eq!(seconds(Duration::MAX), 42_000);
    }

    /// A queue with a message that was received, and the receipt handle of that.
    #[cfg(feature = "local")]
    async fn received() -> (crate::local::Sqs, ChangeVisibility, String) {
        let sqs = crate::local::Sqs::with_seed(1);
        let client = sqs.client();
        let queue_url = client.create_queue().queue_name("orders").send().await.unwrap().queue_url.unwrap();
        client.send_message().queue_url(&queue_url).message_body("an order").send().await.unwrap();
        let mut received = client.receive_message().queue_url(&queue_url).send().await.unwrap();
        let receipt_handle = received.messages.take().unwrap()[0].receipt_handle.take().unwrap();
        (sqs, ChangeVisibility { client, queue_url }, receipt_handle)
    }

    #[cfg(feature = "local")]
    fn shown_at_once(receipt_handle: &str, within: Duration) -> Change {
        let receipt_handle = receipt_handle.to_owned();
        Change { receipt_handle, timeout: VisibilityTimeout(0), not_after: Deadline::after(Moment::now(), within) }
    }

    #[cfg(feature = "local")]
    #[tokio::test(start_paused = true)]
    async fn a_change_whose_time_has_come_is_not_sent() {
        let (_sqs, visibility, receipt_handle) = received().await;
        let results = visibility.call(&[shown_at_once(&receipt_handle, Duration::ZERO)]).await;
        assert_eq!(results, [Err(EntryError::too_late())]);
        let receive = visibility.client.receive_message().queue_url(&visibility.queue_url);
        assert_eq!(receive.send().await.unwrap().messages, None, "it is hidden as before");
    }

    #[cfg(feature = "local")]
    #[tokio::test(start_paused = true)]
    async fn a_call_ends_when_the_time_of_its_first_entry_has_come() {
        let (sqs, visibility, receipt_handle) = received().await;
        sqs.set_faults(crate::local::Faults::none().slow_calls(1.0, Duration::from_secs(4)));
        let (second, began) = (Duration::from_secs(1), Instant::now());
        let changes = [shown_at_once(&receipt_handle, second), shown_at_once(&receipt_handle, 60 * second)];
        let results = visibility.call(&changes).await;
        assert_eq!(began.elapsed().as_secs(), 1);
        assert_eq!(results[0], Err(EntryError::too_late()));
        assert!(matches!(results[1], Err(EntryError::MayPass(_))), "it is sent again: {results:?}");
    }

    #[cfg(feature = "local")]
    #[tokio::test(start_paused = true)]
    async fn a_change_is_not_sent_again_once_its_time_has_come() {
        fastrand::seed(1);
        let (sqs, visibility, receipt_handle) = received().await;
        sqs.set_faults(crate::local::Faults::none().failed_entries(1.0));
        let changes = crate::sqs::coalesce::Coalescer::new(visibility);
        let result = changes.submit(shown_at_once(&receipt_handle, Duration::from_millis(50))).await;
        assert_eq!(result, Err(EntryError::too_late()));
    }

    /// Were message ids the ids of entries, a message that was handed out twice would have the call refused.
    #[cfg(feature = "local")]
    #[tokio::test(start_paused = true)]
    async fn the_same_message_may_be_in_a_call_twice() {
        let (_sqs, visibility, receipt_handle) = received().await;
        let changes = [receipt_handle.clone(), "none".to_owned(), receipt_handle];
        let (timeout, not_after) = (VisibilityTimeout(60), Deadline::after(Moment::now(), Duration::from_secs(30)));
        let change = |receipt_handle| Change { receipt_handle, timeout, not_after };
        let results = visibility.call(&changes.map(change)).await;
        assert_eq!((&results[0], &results[2]), (&Ok(()), &Ok(())));
        assert!(matches!(&results[1], Err(EntryError::SenderFault(why)) if why.contains("ReceiptHandleIsInvalid")));
    }
}
