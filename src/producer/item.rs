//! A message on its way, and what has come of its attempts so far.

use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;

use super::checked::Checked;
use super::error::SendError;
use super::id::Id;
use super::runtime_ended;
use super::told::{Outcome, Teller};
use crate::moment::{Deadline, Moment};

/// A message, and who waits for what becomes of it.
pub(super) struct Item {
    pub(super) checked: Checked,
    pub(super) teller: Teller,
    room: OwnedSemaphorePermit,
    /// When it first left. What it waits before that, for others of its group say, is not its own trouble.
    first_left: Option<Moment>,
    /// Most messages have none.
    failures: Option<Box<Failures>>,
}

struct Failures {
    count: u32,
    last: SendError,
    /// An attempt was not answered.
    may_be_sent: bool,
    was_denied: bool,
    /// Whether each attempt failed with its call as a whole.
    only_calls_failed: bool,
}

/// For how long a message is tried.
#[derive(Clone, Copy, Debug)]
pub(super) struct TryFor {
    /// From its first attempt on.
    pub(super) retry_for: Duration,
    /// The same, of a message that is in the queue already if an answer was lost: after that the queue would take it for another one.
    pub(super) while_known: Duration,
}

impl Item {
    pub(super) fn new(checked: Checked, teller: Teller, room: OwnedSemaphorePermit) -> Self {
        Self { checked, teller, room, first_left: None, failures: None }
    }

    /// Notes that it leaves, for the first time or again. Returns until when attempts may begin.
    pub(super) fn leaves(&mut self, now: Moment, try_for: TryFor) -> Deadline {
        let first_left = *self.first_left.get_or_insert(now);
        self.end_of_tries(first_left, try_for)
    }

    /// A queue forgets a deduplication id by the time of the world, which goes on while this process is suspended.
    fn end_of_tries(&self, first_left: Moment, TryFor { retry_for, while_known }: TryFor) -> Deadline {
        Deadline::after(first_left, if self.failures.is_some() { retry_for.min(while_known) } else { retry_for })
    }

    pub(super) fn id_to_draw(&mut self) -> Option<&mut Id> {
        self.checked.message.deduplication_id.as_mut().filter(|id| **id == Id::NotDrawn)
    }

    /// Returns whether no attempt may begin any more after that wait.
    pub(super) fn is_out_of_time_in(&self, wait: Duration, try_for: TryFor) -> bool {
        let ends_within = |first_left| self.end_of_tries(first_left, try_for).time_left() <= wait;
        self.failures.is_some() && self.first_left.is_some_and(ends_within)
    }

    /// An attempt came to nothing. Says how many have.
    pub(super) fn has_failed(&mut self, error: SendError) -> u32 {
        let failures = Failures {
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

    /// What its sender is told when it is not tried again.
    pub(super) fn last_error(&self) -> SendError {
        let Some(failures) = &self.failures else { return runtime_ended() };
        let last = failures.last.clone().after(failures.count);
        if failures.only_calls_failed { last } else { last.of_call(None) }
    }

    /// Gives back what room it took.
    pub(super) fn tell(self, outcome: Outcome) -> OwnedSemaphorePermit {
        let may_be_sent = self.may_be_sent();
        let of_it = |error: SendError| error.or_unknown(may_be_sent).of(self.checked.message.deduplication_id.as_ref());
        self.teller.tell(outcome.map_err(of_it));
        self.room
    }
}
