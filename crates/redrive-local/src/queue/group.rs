//! The messages of one group, by their state.

use std::collections::BTreeSet;

use super::message::Position;

/// The visible messages of a group, and those in flight. Delayed messages are in neither.
#[derive(Debug, Default)]
pub(super) struct GroupMessages {
    pub(super) visible: BTreeSet<Position>,
    pub(super) in_flight: BTreeSet<Position>,
}

impl GroupMessages {
    pub(super) fn show(&mut self, position: Position) {
        self.in_flight.remove(&position);
        self.visible.insert(position);
    }

    pub(super) fn take(&mut self, position: Position) {
        self.visible.remove(&position);
        self.in_flight.insert(position);
    }

    pub(super) fn remove(&mut self, position: Position) {
        self.visible.remove(&position);
        self.in_flight.remove(&position);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.visible.is_empty() && self.in_flight.is_empty()
    }
}
