//! What the lanes of a batch share.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::ledger::Ledger;
use super::plan::Plan;
use crate::record::Record;

/// The ledger and the plan of a batch, under one lock that is held for a few instructions at a time.
pub(super) struct Board {
    open: Mutex<Option<Open>>,
}

/// `None` in its place once the batch is answered: nothing can change the ledger from then on.
struct Open {
    ledger: Ledger,
    plan: Plan,
}

impl Board {
    pub(super) fn new(ledger: Ledger, plan: Plan) -> Self {
        Self { open: Mutex::new(Some(Open { ledger, plan })) }
    }

    /// How many records can run at a time, at most.
    pub(super) fn width(&self) -> usize {
        self.lock().as_ref().map_or(0, |open| open.plan.width())
    }

    /// Takes the next record that may run now.
    pub(super) fn next(&self) -> Option<(usize, Record)> {
        let mut open = self.lock();
        let Open { ledger, plan } = open.as_mut()?;
        let index = plan.next()?;
        Some((index, ledger.begin(index)?))
    }

    /// Whether the record is the first with its id, and so is to run. Without an id it has no copies.
    pub(super) fn claim(&self, index: usize, record: &Record) -> bool {
        // This may be the first look into the record, which is not for under the lock.
        let Some(id) = record.shared_message_id() else {
            return true;
        };
        self.lock().as_mut().is_some_and(|open| open.ledger.claim(index, id))
    }

    /// Settles a record that has run to its end.
    pub(super) fn finish(&self, index: usize, passed: bool) {
        if let Some(open) = self.lock().as_mut() {
            open.ledger.finish(index, passed);
            open.plan.finish(index, passed);
        }
    }

    /// Ends the batch, and hands out its ledger, once. (An empty one in its place would read as all done.)
    pub(super) fn close(&self) -> Option<Ledger> {
        self.lock().take().map(|open| open.ledger)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Open>> {
        // Nothing under this lock calls a user's code. Were it to panic all the same, each slot is either settled or failed.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
