//! What the lanes of a batch share.

use std::sync::atomic::{AtomicBool, Ordering};

use super::keeper::Place;
use super::ledger::{Ledger, Status};
use super::plan::Plan;

/// The ledger and the plan of a batch.
pub(super) struct Board {
    ledger: Ledger,
    plan: Plan,
    /// Set once the batch is answered: nothing begins from then on.
    closed: AtomicBool,
}

impl Board {
    pub(super) fn new(ledger: Ledger, plan: Plan) -> Self {
        Self { ledger, plan, closed: AtomicBool::new(false) }
    }

    pub(super) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// How many records can run at a time, at most.
    pub(super) fn width(&self) -> usize {
        self.plan.width()
    }

    /// Takes the next record that may run now. Copies of others are left out.
    pub(super) fn next(&self) -> Option<usize> {
        while !self.closed.load(Ordering::Relaxed) {
            let index = self.plan.next()?;
            if self.ledger.begin(index) {
                return Some(index);
            }
        }
        None
    }

    /// Settles a record that has run to its end.
    pub(super) fn finish(&self, index: usize, passed: bool) {
        self.ledger.finish(index, passed);
        self.plan.finish(index, passed);
    }

    /// The record's place among the others.
    pub(super) fn place(&self, index: usize) -> Place {
        let mut behind = self.plan.behind(index);
        if !behind.is_empty() {
            let group = self.ledger.group(index);
            behind.retain(|&each| self.ledger.group(each) == group);
        }
        let and_copies = |index| [index].into_iter().chain(self.ledger.copies_of(index));
        let behind = behind.into_iter().flat_map(and_copies).collect();
        Place { index, copies: self.ledger.copies_of(index), behind }
    }

    /// Ends the batch, and says how each record stands at its end.
    pub(super) fn close(&self) -> Vec<Status> {
        self.closed.store(true, Ordering::Relaxed);
        self.ledger.snapshot()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Batch;

    #[test]
    fn nothing_begins_once_the_batch_is_closed() {
        let board = Board::new(Ledger::new(Batch::of_event(r#"{"Records":[{},{}]}"#)), Plan::any_order(2));
        assert_eq!(board.next(), Some(0));
        assert_eq!(board.close(), [Status::Running, Status::NotRun]);
        assert_eq!(board.next(), None);
    }

    #[test]
    fn behind_a_head_are_copies_too_and_no_other_group() {
        let record = |(id, group)| format!(r#"{{"messageId":"{id}","attributes":{{"MessageGroupId":"{group}"}}}}"#);
        let records = [("head", "a"), ("tail", "a"), ("tail", "a"), ("other", "b")].map(record).join(",");
        let plan = Plan::in_lines(4, vec![vec![0, 1, 3]]);
        let board = Board::new(Ledger::new(Batch::of_event(&format!(r#"{{"Records":[{records}]}}"#))), plan);
        assert_eq!(board.next(), Some(0));
        assert_eq!(board.place(0).behind, [1, 2]);
    }
}
