//! The leases of received messages, until they are deleted or released.
//!
//! Every lease is extended after half of it. A receipt whose lease may be over is never used: another consumer may have
//! the message by then, and SQS would change that consumer's lease, or report a delete that deleted nothing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_sdk_sqs::Client;
use redrive::internals::coalesce::BatchCall;
use redrive::internals::delete::DeleteMessages;
use redrive::internals::entries::EntryError;
use redrive::internals::limits::MAX_ENTRIES;
use redrive::internals::visibility::{Change, ChangeVisibility, MAX_VISIBILITY_TIMEOUT, VisibilityTimeout};
use redrive::internals::{Deadline, Moment};
use tokio::task::JoinSet;

use crate::sqs::{ATTEMPT_TIMEOUT, Code, backoff};

/// No call starts later than this before the end of a lease, because it may take this long to reach SQS.
const MARGIN: Duration = ATTEMPT_TIMEOUT;
/// SQS counts the twelve hours of a visibility timeout from the receive, by its own clock.
const LONGEST_HELD: Duration = MAX_VISIBILITY_TIMEOUT.saturating_sub(Duration::from_secs(60));
/// The limit of concurrent calls.
const CALLS_AT_ONCE: usize = 8;
/// An entry that fails this often without fault is given up.
const ATTEMPTS: u32 = 8;

const STALE: &str = "it was no longer hidden by then";

/// The receipts of hidden messages.
pub(super) struct Leases {
    /// Leases by message id. [`super::browse::MAX_BROWSED`] limits their number.
    held: Mutex<HashMap<String, Lease>>,
    visibility: ChangeVisibility,
    deletes: DeleteMessages,
    shortest: Duration,
    began: Moment,
}

struct Lease {
    receipt_handle: String,
    received: Moment,
    granted: Duration,
    /// SQS hides the message at least until then.
    ends: Deadline,
}

/// Messages that stay hidden after the command.
pub(super) struct StillHidden {
    pub(super) count: usize,
    pub(super) longest: Duration,
    pub(super) cause: String,
}

/// Returns how long a message stays hidden at most if the command is killed: at first for the shortest lease, and in a
/// long run for about as long as the run has taken. So the calls that extend leases stay few, however many messages are
/// held.
pub(super) fn longest_lease(shortest: Duration, running_for: Duration) -> Duration {
    shortest.max(running_for).min(LONGEST_HELD)
}

impl Leases {
    /// Creates it. `client` makes each call once, because its own retries could start too late.
    pub(super) fn new(client: Client, queue_url: String, shortest: Duration) -> Self {
        Self {
            held: Mutex::default(),
            visibility: ChangeVisibility { client: client.clone(), queue_url: queue_url.clone() },
            deletes: DeleteMessages { client, queue_url },
            shortest,
            began: Moment::now(),
        }
    }

    /// Adds a message of a receive that started at that time.
    pub(super) fn add(&self, id: &str, receipt_handle: String, received: Moment) {
        let (granted, ends) = (self.shortest, Deadline::after(received, self.shortest));
        let lease = Lease { receipt_handle, received, granted, ends };
        self.lock().insert(id.to_owned(), lease);
    }

    pub(super) fn count(&self) -> usize {
        self.lock().len()
    }

    /// Extends the leases that are half over, those with the earliest end first. Forgets expired ones.
    pub(super) async fn extend_due(self: &Arc<Self>) {
        let mut due: Vec<_> = {
            let mut held = self.lock();
            held.retain(|_, lease| !lease.ends.time_left().is_zero());
            let is_due = |lease: &Lease| lease.ends.time_left() <= lease.granted / 2;
            let due = held.iter().filter(|(_, lease)| is_due(lease));
            due.map(|(id, lease)| (lease.ends.time_left(), id.clone())).collect()
        };
        due.sort_unstable();
        let ids: Vec<_> = due.into_iter().map(|(_, id)| id).collect();
        let mut calls = JoinSet::new();
        for ids in ids.chunks(MAX_ENTRIES) {
            if calls.len() == CALLS_AT_ONCE {
                calls.join_next().await;
            }
            calls.spawn(self.clone().extend(ids.to_vec()));
        }
        while calls.join_next().await.is_some() {}
    }

    /// Makes one call. An entry that failed without fault is due again soon.
    async fn extend(self: Arc<Self>, ids: Vec<String>) {
        let now = Moment::now();
        let due: Vec<_> = {
            let held = self.lock();
            let longer = |id: String| {
                let lease = held.get(&id).filter(|lease| lease.is_usable())?;
                let timeout = self.next_timeout(lease)?;
                Some((id, lease.receipt_handle.clone(), timeout))
            };
            ids.into_iter().filter_map(longer).collect()
        };
        if due.is_empty() {
            return;
        }
        let change = |(_, receipt_handle, timeout): &(String, String, Duration)| {
            let timeout = VisibilityTimeout::clamped(*timeout, MAX_VISIBILITY_TIMEOUT);
            Change::new(receipt_handle, timeout, Deadline::after(now, MARGIN))
        };
        let changes: Vec<_> = due.iter().map(change).collect();
        let results = self.visibility.call(&changes).await;
        let mut held = self.lock();
        for ((id, receipt_handle, timeout), result) in due.into_iter().zip(results) {
            let Some(lease) = held.get_mut(&id).filter(|lease| lease.receipt_handle == receipt_handle) else {
                continue;
            };
            match result {
                Ok(()) => (lease.granted, lease.ends) = (timeout, Deadline::after(now, timeout)),
                Err(EntryError::SenderFault(_)) => drop(held.remove(&id)),
                Err(EntryError::MayPass(_) | EntryError::Denied(_)) => {}
            }
        }
    }

    /// Returns the next timeout, or `None` if it would not hide the message longer.
    fn next_timeout(&self, lease: &Lease) -> Option<Duration> {
        let wanted = longest_lease(self.shortest, self.began.elapsed());
        let left = LONGEST_HELD.saturating_sub(lease.received.elapsed());
        let timeout = Duration::from_secs(wanted.min(left).as_secs());
        (timeout > lease.ends.time_left()).then_some(timeout)
    }

    /// Deletes these messages. Returns the result for each id.
    pub(super) async fn delete(&self, ids: &[String]) -> Vec<(String, Result<(), String>)> {
        let mut deleted = Vec::with_capacity(ids.len());
        for ids in ids.chunks(MAX_ENTRIES) {
            let left = ids.iter().map(|id| (id.clone(), String::new())).collect();
            self.delete_some(left, &mut deleted).await;
        }
        deleted
    }

    /// `left`: the messages that are not deleted yet, with the reasons.
    async fn delete_some(&self, mut left: Vec<(String, String)>, deleted: &mut Vec<(String, Result<(), String>)>) {
        for attempt in 1..=ATTEMPTS {
            let mut usable = Vec::new();
            for (id, cause) in left {
                match self.usable_receipt(&id) {
                    Some(receipt_handle) => usable.push((id, receipt_handle)),
                    None if cause.is_empty() => deleted.push((id, Err(STALE.to_owned()))),
                    None => deleted.push((id, Err(cause))),
                }
            }
            if usable.is_empty() {
                return;
            }
            let receipts: Vec<_> = usable.iter().map(|(_, receipt_handle)| receipt_handle.clone()).collect();
            let results = self.deletes.call(&receipts).await;
            left = Vec::new();
            for ((id, _), result) in usable.into_iter().zip(results) {
                match result {
                    Ok(()) => {
                        self.lock().remove(&id);
                        deleted.push((id, Ok(())));
                    }
                    Err(EntryError::MayPass(cause)) if attempt < ATTEMPTS => left.push((id, cause)),
                    Err(error) => deleted.push((id, Err(error.text().to_owned()))),
                }
            }
            if left.is_empty() {
                return;
            }
            tokio::time::sleep(backoff().delay(attempt)).await;
        }
    }

    fn usable_receipt(&self, id: &str) -> Option<String> {
        self.lock().get(id).filter(|lease| lease.is_usable()).map(|lease| lease.receipt_handle.clone())
    }

    /// Makes all held messages visible again at once. A lease that ends soon is left to end.
    pub(super) async fn give_back(self: &Arc<Self>) -> Result<(), StillHidden> {
        let ids: Vec<_> = self.lock().keys().cloned().collect();
        let (mut calls, mut hidden) = (JoinSet::new(), None);
        for ids in ids.chunks(MAX_ENTRIES) {
            if calls.len() == CALLS_AT_ONCE {
                merge(&mut hidden, calls.join_next().await);
            }
            calls.spawn(self.clone().give_back_some(ids.to_vec()));
        }
        while let Some(given_back) = calls.join_next().await {
            merge(&mut hidden, Some(given_back));
        }
        hidden.map_or(Ok(()), Err)
    }

    async fn give_back_some(self: Arc<Self>, mut ids: Vec<String>) -> Option<StillHidden> {
        let mut hidden = None;
        for attempt in 1..=ATTEMPTS {
            let usable: Vec<_> = ids.into_iter().filter_map(|id| Some((self.usable_receipt(&id)?, id))).collect();
            let not_after = Deadline::after(Moment::now(), MARGIN);
            let change = |(receipt_handle, _): &(String, String)| {
                Change::new(receipt_handle, VisibilityTimeout::ZERO, not_after)
            };
            let changes: Vec<_> = usable.iter().map(change).collect();
            if changes.is_empty() {
                break;
            }
            let results = self.visibility.call(&changes).await;
            ids = Vec::new();
            for ((_, id), result) in usable.into_iter().zip(results) {
                match result {
                    Err(EntryError::MayPass(_)) if attempt < ATTEMPTS => ids.push(id),
                    // Its time ended meanwhile, so it is visible already.
                    Err(error) if error.is_too_late() || error.has_code(Code::MessageNotInflight) => {}
                    Err(error) => self.stays_hidden(&id, error.text(), &mut hidden),
                    Ok(()) => {}
                }
            }
            if ids.is_empty() {
                break;
            }
            tokio::time::sleep(backoff().delay(attempt)).await;
        }
        hidden
    }

    fn stays_hidden(&self, id: &str, cause: &str, hidden: &mut Option<StillHidden>) {
        let longest = self.lock().get(id).map_or(Duration::ZERO, |lease| lease.granted);
        let one = StillHidden { count: 1, longest, cause: cause.to_owned() };
        merge(hidden, Some(Ok(Some(one))));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Lease>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lease {
    /// Returns whether a call with its receipt reaches SQS before its lease may be over.
    fn is_usable(&self) -> bool {
        self.ends.time_left() > MARGIN
    }
}

/// Merges the still hidden messages of one call into those of others.
fn merge(all: &mut Option<StillHidden>, one: Option<Result<Option<StillHidden>, tokio::task::JoinError>>) {
    let Some(Ok(Some(one))) = one else { return };
    *all = Some(match all.take() {
        None => one,
        Some(all) => {
            StillHidden { count: all.count + one.count, longest: all.longest.max(one.longest), cause: all.cause }
        }
    });
}
