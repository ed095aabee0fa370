//! Keeps messages hidden beyond their visibility timeout.
//!
//! Lambda never does that, as it ends an invocation at the function's timeout. Here a batch may wait for what Lambda does not
//! have: a build, or a function that does not start.

use std::pin::pin;
use std::time::Duration;

use aws_sdk_sqs::types::ChangeMessageVisibilityBatchRequestEntry as Entry;
use tokio::time::Instant;

use super::{Mapping, limited, sleep_until};
use crate::moment::Deadline;
use crate::sqs::event::Record;
use crate::sqs::limits::MAX_ENTRIES;

/// How long before its end a lease is renewed, at most. It leaves time for the call.
const MARGIN: Duration = Duration::from_secs(5);

/// How long after a failed renewal the next one is tried.
const AGAIN: Duration = Duration::from_secs(1);

/// Until when the queue hides the messages of a batch.
pub(super) struct Lease {
    until: Deadline,
    renew_at: Instant,
}

impl Lease {
    pub(super) fn new(received_at: Instant, visibility_timeout: Duration) -> Self {
        let margin = (visibility_timeout / 3).min(MARGIN);
        let until = received_at + visibility_timeout;
        Self { until: Deadline::at(until), renew_at: until - margin }
    }

    pub(super) fn is_over(&self) -> bool {
        self.until.is_over()
    }
}

impl Mapping {
    /// Waits for something, and renews the lease meanwhile.
    pub(super) async fn while_hidden<T>(
        &self,
        records: &[Record],
        lease: &mut Lease,
        work: impl Future<Output = T>,
    ) -> T {
        let mut work = pin!(work);
        loop {
            // After its end the messages may be with others.
            let renew_at = Some(lease.renew_at).filter(|_| !lease.is_over() && !self.visibility_timeout.is_zero());
            tokio::select! {
                biased;
                done = &mut work => return done,
                () = sleep_until(renew_at) => self.hide(records, lease).await,
            }
        }
    }

    /// Hides the messages for their full visibility timeout from now on.
    pub(super) async fn hide(&self, records: &[Record], lease: &mut Lease) {
        let renewed = Lease::new(Instant::now(), self.visibility_timeout);
        match self.change_visibility(records, self.visibility_timeout, lease).await {
            Ok(()) => *lease = renewed,
            Err(error) => {
                tracing::warn!(error, "messages that wait for their function could not be hidden for longer");
                lease.renew_at = Instant::now() + AGAIN;
            }
        }
    }

    /// Sets the visibility timeout of these messages, and gives up at the end of their lease: a change that comes later may be
    /// one of another consumer's messages.
    pub(super) async fn change_visibility(
        &self,
        records: &[Record],
        timeout: Duration,
        lease: &Lease,
    ) -> Result<(), String> {
        let seconds = i32::try_from(timeout.as_secs()).unwrap_or(i32::MAX);
        let mut problem = None;
        for ten in records.chunks(MAX_ENTRIES) {
            if lease.is_over() {
                return Err("the visibility timeout has run out".to_owned());
            }
            let entries = ten.iter().enumerate().filter_map(|(position, record)| {
                let entry = Entry::builder().id(position.to_string()).receipt_handle(record.receipt_handle());
                entry.visibility_timeout(seconds).build().ok()
            });
            let change = self.client.change_message_visibility_batch().queue_url(&self.queue_url);
            let change = change.set_entries(Some(entries.collect())).customize().config_override(limited());
            match tokio::time::timeout_at(lease.until.for_timer(), change.send()).await {
                Ok(Ok(answer)) => problem = answer.failed().first().map(|entry| entry.code().to_owned()).or(problem),
                // Not the whole error: the SDK's may show the answer.
                Ok(Err(error)) => {
                    problem = Some(error.into_service_error().meta().code().unwrap_or("no answer").to_owned());
                }
                Err(_) => return Err("no answer before the visibility timeout has run out".to_owned()),
            }
        }
        problem.map_or(Ok(()), Err)
    }
}
