//! Keeps messages hidden beyond their visibility timeout.
//!
//! Lambda never does this, because it ends an invocation at the function's timeout. Here a batch may also wait for a
//! build, or for a function that does not start.

use std::pin::pin;
use std::time::Duration;

use redrive::internals::Deadline;
use redrive::internals::coalesce::BatchCall as _;
use redrive::internals::limits::MAX_ENTRIES;
use redrive::internals::visibility::{Change, ChangeVisibility, MAX_VISIBILITY_TIMEOUT, VisibilityTimeout};

use crate::event::Record;
use tokio::time::{Instant, timeout};

use super::{CALL_LIMIT, EventSourceMapping, sleep_until};

/// The longest time before its end at which a lease is renewed. It leaves time for the call.
const MARGIN: Duration = Duration::from_secs(5);

/// The pause after a failed renewal.
const AGAIN: Duration = Duration::from_secs(1);

/// The time until which the queue hides the messages of a batch.
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

impl EventSourceMapping {
    /// Waits for `work` and renews the lease in the meantime.
    pub(super) async fn while_hidden<T>(
        &self,
        records: &[Record],
        lease: &mut Lease,
        work: impl Future<Output = T>,
    ) -> T {
        let mut work = pin!(work);
        loop {
            // After the lease, another consumer may have received the messages.
            let renew_at = Some(lease.renew_at).filter(|_| !lease.is_over() && !self.visibility_timeout.is_zero());
            tokio::select! {
                biased;
                done = &mut work => return done,
                () = sleep_until(renew_at) => self.hide(records, lease).await,
            }
        }
    }

    /// Hides the messages for a full visibility timeout from now.
    pub(super) async fn hide(&self, records: &[Record], lease: &mut Lease) {
        let renewed = Lease::new(Instant::now(), self.visibility_timeout);
        let visibility_timeout = VisibilityTimeout::clamped(self.visibility_timeout, MAX_VISIBILITY_TIMEOUT);
        match self.change_visibility(records, visibility_timeout, lease).await {
            Ok(()) => *lease = renewed,
            Err(error) => {
                tracing::warn!(error, "failed to hide waiting messages for longer; another consumer may receive them");
                lease.renew_at = Instant::now() + AGAIN;
            }
        }
    }

    /// Sets the visibility timeout of messages while the lease lasts. A later call could change another consumer's
    /// message.
    pub(super) async fn change_visibility(
        &self,
        records: &[Record],
        visibility_timeout: VisibilityTimeout,
        lease: &Lease,
    ) -> Result<(), String> {
        let (client, queue_url) = (self.client.clone(), self.queue_url.clone());
        let visibility = ChangeVisibility { client, queue_url };
        let change = |record: &Record| Change::new(record.receipt_handle(), visibility_timeout, lease.until);
        let changes: Vec<_> = records.iter().map(change).collect();
        let mut problem = None;
        for ten in changes.chunks(MAX_ENTRIES) {
            let results = timeout(CALL_LIMIT, visibility.call(ten)).await.map_err(|_| no_answer())?;
            problem = results.into_iter().find_map(Result::err).or(problem);
        }
        problem.map_or(Ok(()), |error| Err(error.text().to_owned()))
    }
}

fn no_answer() -> String {
    format!("SQS did not answer within {CALL_LIMIT:?}")
}
