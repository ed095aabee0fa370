//! Changes when received messages become visible again.

use std::sync::OnceLock;
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::Config;
use aws_sdk_sqs::config::retry::RetryConfig;
use aws_sdk_sqs::types::ChangeMessageVisibilityBatchRequestEntry as Entry;
use tokio::time::timeout_at;

use super::call_error::{CallError, Trouble};
use super::coalesce::BatchCall;
use super::entries::{EntryError, by_position, or_may_pass};
use super::split::{Once, split};
use crate::moment::{Deadline, Moment};

/// The limit of SQS from the receive on, not from the call: a call may set at most the rest of these 12 hours.
pub const MAX_VISIBILITY_TIMEOUT: Duration = Duration::from_secs(43_200);

/// The time that a mapping's window and a function's timeout may take before a handler ends.
const MAX_AGE_ON_LAMBDA: Duration = Duration::from_secs(300 + 900);

/// The longest delay on Lambda, where the time of the receive is unknown.
pub(super) const LONGEST_DELAY_ON_LAMBDA: Duration = MAX_VISIBILITY_TIMEOUT.saturating_sub(MAX_AGE_ON_LAMBDA);

/// `ChangeMessageVisibilityBatch` on one queue.
pub struct ChangeVisibility {
    pub client: Client,
    pub queue_url: String,
}

/// A receipt, and when its message returns.
pub struct Change {
    receipt_handle: String,
    timeout: VisibilityTimeout,
    /// The change must not start at this time or later. By then another consumer may have the message, and SQS accepts
    /// an old receipt handle: it would change the visibility of the other consumer's message.
    not_after: Deadline,
    /// When the message becomes visible if SQS accepted an unanswered call. The change must not be repeated from then
    /// on.
    visible_at: OnceLock<Deadline>,
}

impl Change {
    pub fn new(receipt_handle: impl Into<String>, timeout: VisibilityTimeout, not_after: Deadline) -> Self {
        Self { receipt_handle: receipt_handle.into(), timeout, not_after, visible_at: OnceLock::new() }
    }

    /// Records that a call which started at that moment may have made the change.
    fn may_have_arrived(&self, began: Moment) {
        let _ = self.visible_at.set(Deadline::after(began, self.timeout.as_duration()));
    }

    fn end(&self) -> Deadline {
        self.visible_at.get().map_or(self.not_after, |visible_at| visible_at.or_earlier(self.not_after))
    }
}

/// A visibility timeout in whole seconds from now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VisibilityTimeout(i32);

impl VisibilityTimeout {
    /// Visible at once.
    pub const ZERO: Self = Self(0);

    /// Creates a timeout, rounded up so that a short delay is not zero, and clamped to the longest.
    pub fn clamped(delay: Duration, longest: Duration) -> Self {
        let seconds = delay.as_secs().saturating_add(u64::from(delay.subsec_nanos() > 0));
        Self(i32::try_from(seconds.min(longest.as_secs())).unwrap_or(i32::MAX))
    }

    pub fn as_duration(self) -> Duration {
        Duration::from_secs(self.0.unsigned_abs().into())
    }
}

impl BatchCall for ChangeVisibility {
    type Entry = Change;

    /// Sends the changes whose time has not ended. The call ends at the first of their end times, and the coalescer
    /// sends the others again.
    async fn call(&self, changes: &[Change]) -> Vec<Result<(), EntryError>> {
        let mut results = vec![Err(EntryError::too_late()); changes.len()];
        let in_time: Vec<_> = (0..changes.len()).filter(|&position| !changes[position].end().is_over()).collect();
        let first_end = in_time.iter().map(|&position| changes[position].end().for_timer()).min();
        let Some(first_end) = first_end else { return results };
        let sent: Vec<_> = in_time.iter().map(|&position| &changes[position]).collect();
        let began = Moment::now();
        let answers = timeout_at(first_end, split(self, &sent)).await.unwrap_or_else(|_| unanswered(&sent, began));
        let handles = || sent.iter().map(|change| &*change.receipt_handle);
        for (position, answer) in in_time.into_iter().zip(answers) {
            results[position] = answer.map_err(|error| error.hiding(handles()));
        }
        results
    }
}

/// Returns the results of a call that was cancelled because the time of one of its entries ended.
fn unanswered(changes: &[&Change], began: Moment) -> Vec<Result<(), EntryError>> {
    let error = |change: &&Change| {
        change.may_have_arrived(began);
        match change.end().is_over() {
            true => Err(EntryError::too_late()),
            false => Err(EntryError::MayPass("its call was cancelled because of another entry".to_owned())),
        }
    };
    changes.iter().map(error).collect()
}

impl Once<&Change> for ChangeVisibility {
    const ACTION: &'static str = "sqs:ChangeMessageVisibility";

    /// Makes the call only once: an unanswered call may have made the message visible, and another consumer may have
    /// it.
    async fn once(&self, changes: &[&Change]) -> Result<Vec<Result<(), EntryError>>, CallError> {
        let entries = changes.iter().enumerate().filter_map(|(position, change)| {
            let entry = Entry::builder().id(position.to_string()).receipt_handle(&change.receipt_handle);
            entry.visibility_timeout(change.timeout.0).build().ok()
        });
        let call = self.client.change_message_visibility_batch().queue_url(&self.queue_url);
        let one_attempt = Config::builder().retry_config(RetryConfig::disabled());
        let call = call.set_entries(Some(entries.collect())).customize().config_override(one_attempt);
        let began = Moment::now();
        let answer = call.send().await.map_err(CallError::from).inspect_err(|error| {
            if error.trouble == Trouble::Lost {
                changes.iter().for_each(|change| change.may_have_arrived(began));
            }
        })?;
        let successful = answer.successful().iter().map(|entry| (entry.id(), ()));
        let results = by_position(changes.len(), successful, answer.failed());
        for (change, _) in changes.iter().zip(&results).filter(|(_, result)| result.is_none()) {
            change.may_have_arrived(began);
        }
        Ok(or_may_pass(results))
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[test]
    fn delay_is_rounded_up_and_clamped() {
        let seconds = |delay| VisibilityTimeout::clamped(delay, LONGEST_DELAY_ON_LAMBDA).0;
        assert_eq!(seconds(Duration::ZERO), 0);
        assert_eq!(seconds(Duration::from_millis(1)), 1);
        assert_eq!(seconds(Duration::from_secs(7)), 7);
        assert_eq!(seconds(Duration::MAX), 42_000);
    }

    /// Creates a queue with a received message, and returns its receipt handle too.
    async fn received() -> (redrive_local::Sqs, ChangeVisibility, String) {
        let sqs = redrive_local::Sqs::with_seed(1);
        let client = sqs.client();
        let queue_url = client.create_queue().queue_name("orders").send().await.unwrap().queue_url.unwrap();
        client.send_message().queue_url(&queue_url).message_body("an order").send().await.unwrap();
        let mut received = client.receive_message().queue_url(&queue_url).send().await.unwrap();
        let receipt_handle = received.messages.take().unwrap()[0].receipt_handle.take().unwrap();
        (sqs, ChangeVisibility { client, queue_url }, receipt_handle)
    }

    fn shown_at_once(receipt_handle: &str, within: Duration) -> Change {
        Change::new(receipt_handle, VisibilityTimeout(0), Deadline::after(Moment::now(), within))
    }

    #[tokio::test(start_paused = true)]
    async fn change_whose_time_has_ended_is_not_sent() {
        let (_sqs, visibility, receipt_handle) = received().await;
        let results = visibility.call(&[shown_at_once(&receipt_handle, Duration::ZERO)]).await;
        assert_eq!(results, [Err(EntryError::too_late())]);
        let receive = visibility.client.receive_message().queue_url(&visibility.queue_url);
        assert_eq!(receive.send().await.unwrap().messages, None, "it is still hidden");
    }

    #[tokio::test(start_paused = true)]
    async fn call_ends_when_the_time_of_its_first_entry_ends() {
        let (sqs, visibility, receipt_handle) = received().await;
        sqs.set_faults(redrive_local::Faults::none().slow_calls(1.0, Duration::from_secs(4)));
        let (second, began) = (Duration::from_secs(1), Instant::now());
        let hidden = Change::new(&receipt_handle, VisibilityTimeout(60), Deadline::after(Moment::now(), 60 * second));
        let changes = [shown_at_once(&receipt_handle, second), hidden];
        let results = visibility.call(&changes).await;
        assert_eq!(began.elapsed().as_secs(), 1);
        assert_eq!(results[0], Err(EntryError::too_late()));
        assert!(matches!(results[1], Err(EntryError::MayPass(_))), "it is sent again: {results:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn change_is_not_sent_again_after_its_time() {
        fastrand::seed(1);
        let (sqs, visibility, receipt_handle) = received().await;
        sqs.set_faults(redrive_local::Faults::none().failed_entries(1.0));
        let changes = crate::sqs::coalesce::Coalescer::new(visibility);
        let result = changes.submit(shown_at_once(&receipt_handle, Duration::from_millis(50))).await;
        assert_eq!(result, Err(EntryError::too_late()));
    }

    /// The first call made the message visible, and another consumer may have it.
    #[tokio::test(start_paused = true)]
    async fn unanswered_change_is_not_repeated_once_the_message_may_be_visible() {
        fastrand::seed(1);
        let (sqs, visibility, receipt_handle) = received().await;
        sqs.set_faults(redrive_local::Faults::none().lost_answers(1.0));
        let changes = crate::sqs::coalesce::Coalescer::new(visibility);
        let (minute, began) = (Duration::from_secs(60), Instant::now());
        assert_eq!(changes.submit(shown_at_once(&receipt_handle, minute)).await, Err(EntryError::too_late()));
        assert!(began.elapsed() < Duration::from_secs(1), "it is tried once: {:?}", began.elapsed());
        let delay = Change::new(&receipt_handle, VisibilityTimeout(50), Deadline::after(Moment::now(), minute));
        assert!(
            matches!(changes.submit(delay).await, Err(EntryError::MayPass(_))),
            "a change that keeps the message hidden is repeated"
        );
    }

    /// If message ids were the entries' ids, a message that was received twice would fail the call.
    #[tokio::test(start_paused = true)]
    async fn same_message_may_be_in_a_call_twice() {
        let (_sqs, visibility, receipt_handle) = received().await;
        let changes = [receipt_handle.clone(), "none".to_owned(), receipt_handle];
        let (timeout, not_after) = (VisibilityTimeout(60), Deadline::after(Moment::now(), Duration::from_secs(30)));
        let change = |receipt_handle: String| Change::new(receipt_handle, timeout, not_after);
        let results = visibility.call(&changes.map(change)).await;
        assert_eq!((&results[0], &results[2]), (&Ok(()), &Ok(())));
        assert!(matches!(&results[1], Err(EntryError::SenderFault(why)) if why.contains("ReceiptHandleIsInvalid")));
    }
}
