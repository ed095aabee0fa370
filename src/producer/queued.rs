//! A message in flight, and the results of its attempts.

use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;

use super::checked::Checked;
use super::error::SendError;
use super::id::Id;
use super::reply::{ReplySender, SendResult};
use super::runtime_ended;
use crate::moment::{Deadline, Moment};

/// A message, and the caller that waits for its result.
pub(super) struct Queued {
    pub(super) checked: Checked,
    pub(super) reply_to: ReplySender,
    room: OwnedSemaphorePermit,
    /// When it was first sent. Its wait before that, for example behind others of its group, does not count.
    first_attempt: Option<Moment>,
    /// Most messages have no failures.
    failures: Option<Box<FailedAttempts>>,
}

struct FailedAttempts {
    count: u32,
    last: SendError,
    /// Whether an attempt was not answered.
    may_be_sent: bool,
    was_denied: bool,
    /// Whether each attempt failed with its call as a whole.
    only_calls_failed: bool,
}

/// How long attempts of a message may start.
#[derive(Clone, Copy, Debug)]
pub(super) struct TryFor {
    /// The limit after its first attempt.
    pub(super) retry_for: Duration,
    /// The limit after its first attempt if an answer was lost. After that the queue would accept a copy as a new
    /// message.
    pub(super) while_known: Duration,
}

impl Queued {
    pub(super) fn new(checked: Checked, reply_to: ReplySender, room: OwnedSemaphorePermit) -> Self {
        Self { checked, reply_to, room, first_attempt: None, failures: None }
    }

    /// Records that an attempt starts. Returns the deadline for starting attempts.
    pub(super) fn attempt_starts(&mut self, now: Moment, try_for: TryFor) -> Deadline {
        let first_attempt = *self.first_attempt.get_or_insert(now);
        self.end_of_tries(first_attempt, try_for)
    }

    /// Returns the end of the attempts. A queue forgets a deduplication id by wall-clock time, which passes while this
    /// process is suspended.
    fn end_of_tries(&self, first_attempt: Moment, TryFor { retry_for, while_known }: TryFor) -> Deadline {
        Deadline::after(first_attempt, if self.failures.is_some() { retry_for.min(while_known) } else { retry_for })
    }

    pub(super) fn id_to_draw(&mut self) -> Option<&mut Id> {
        self.checked.message.deduplication_id.as_mut().filter(|id| **id == Id::NotDrawn)
    }

    /// Returns whether no attempt may start after that wait.
    pub(super) fn is_out_of_time_in(&self, wait: Duration, try_for: TryFor) -> bool {
        let ends_within = |first_attempt| self.end_of_tries(first_attempt, try_for).time_left() <= wait;
        self.failures.is_some() && self.first_attempt.is_some_and(ends_within)
    }

    /// Records a failed attempt. Returns the number of failures.
    pub(super) fn attempt_failed(&mut self, error: SendError) -> u32 {
        let failures = FailedAttempts {
            count: self.failures.as_ref().map_or(0, |failures| failures.count).saturating_add(1),
            may_be_sent: self.may_be_sent() || error.is_unknown(),
            was_denied: self.was_denied() || error.is_denied(),
            only_calls_failed: self.failures.as_ref().is_none_or(|failures| failures.only_calls_failed)
                && error.trouble().is_some(),
            last: error,
        };
        self.failures.insert(Box::new(failures)).count
    }

    pub(super) fn may_be_sent(&self) -> bool {
        self.failures.as_ref().is_some_and(|failures| failures.may_be_sent)
    }

    pub(super) fn was_denied(&self) -> bool {
        self.failures.as_ref().is_some_and(|failures| failures.was_denied)
    }

    /// Returns the error for its sender when it is not tried again.
    pub(super) fn last_error(&self) -> SendError {
        let Some(failures) = &self.failures else { return runtime_ended() };
        let last = failures.last.clone().after(failures.count);
        if failures.only_calls_failed { last } else { last.of_call(None) }
    }

    /// Reports the result. Returns the permit for its memory.
    pub(super) fn reply(self, result: SendResult) -> OwnedSemaphorePermit {
        let may_be_sent = self.may_be_sent();
        let of_it = |error: SendError| error.or_unknown(may_be_sent).of(self.checked.message.deduplication_id.as_ref());
        self.reply_to.send(result.map_err(of_it));
        self.room
    }
}
