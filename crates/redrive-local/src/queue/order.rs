//! Decides which visible message of a queue comes next.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::fair::FairOrder;
use super::group::GroupMessages;
use super::message::Position;

/// The visible messages.
#[derive(Debug)]
pub(super) enum Order {
    /// A standard queue may deliver any message at any time.
    Any(FairOrder),
    /// In a FIFO queue a message in flight holds back the later messages of its group.
    ByGroup(Groups),
}

/// The groups of a FIFO queue. They take turns: after a receive, its group goes behind the other waiting groups.
#[derive(Debug, Default)]
pub(super) struct Groups {
    groups: HashMap<Arc<str>, Group>,
    /// The groups that have a receivable message.
    waiting: BTreeMap<Turn, Arc<str>>,
    last_turn: Turn,
}

/// The position of a group in the rotation. The lowest turn comes next, and every group has its own.
type Turn = u64;

#[derive(Debug)]
struct Group {
    turn: Turn,
    messages: GroupMessages,
}

/// The messages of one group that one receive may take.
#[derive(Debug)]
pub(super) struct Share {
    group: Arc<str>,
    /// The oldest message in flight before the receive. Messages that the receive itself takes hold nothing back from
    /// it.
    before: Option<Position>,
}

impl Group {
    fn new(turn: Turn) -> Self {
        Self { turn, messages: GroupMessages::default() }
    }

    fn holds_back(&self, position: Position) -> bool {
        self.messages.in_flight.first().is_some_and(|first| *first < position)
    }

    fn is_waiting(&self) -> bool {
        self.messages.visible.first().is_some_and(|&head| !self.holds_back(head))
    }
}

impl Groups {
    /// Returns the share of the next group and moves that group behind the others.
    pub(super) fn take_turn(&mut self) -> Option<Share> {
        let (_, name) = self.waiting.pop_first()?;
        let turn = self.new_turn();
        let group = self.groups.get_mut(&name)?;
        group.turn = turn;
        self.waiting.insert(turn, name.clone());
        Some(Share { before: group.messages.in_flight.first().copied(), group: name })
    }

    /// Returns the oldest remaining message of a share.
    pub(super) fn next_of(&self, share: &Share) -> Option<Position> {
        let oldest = self.groups.get(&share.group)?.messages.visible.first().copied();
        oldest.filter(|&position| share.before.is_none_or(|before| position < before))
    }

    /// Returns whether an earlier message of the group is in flight and holds this message back.
    pub(super) fn holds_back(&self, position: Position, group: Option<&Arc<str>>) -> bool {
        group.and_then(|group| self.groups.get(group)).is_some_and(|group| group.holds_back(position))
    }

    fn new_turn(&mut self) -> Turn {
        self.last_turn += 1;
        self.last_turn
    }

    fn change(&mut self, name: &Arc<str>, change: impl FnOnce(&mut Group)) {
        if !self.groups.contains_key(name) {
            let turn = self.new_turn();
            self.groups.insert(name.clone(), Group::new(turn));
        }
        let Some(group) = self.groups.get_mut(name) else { return };
        self.waiting.remove(&group.turn);
        change(group);
        if group.is_waiting() {
            self.waiting.insert(group.turn, name.clone());
        } else if group.messages.is_empty() {
            self.groups.remove(name);
        }
    }
}

impl Order {
    pub(super) fn new(fifo: bool) -> Self {
        if fifo { Self::ByGroup(Groups::default()) } else { Self::Any(FairOrder::default()) }
    }

    /// Marks a message as visible.
    pub(super) fn show(&mut self, position: Position, group: Option<&Arc<str>>) {
        match (self, group) {
            (Self::Any(order), group) => order.show(position, group),
            (Self::ByGroup(groups), Some(group)) => groups.change(group, |group| group.messages.show(position)),
            (Self::ByGroup(_), None) => {}
        }
    }

    /// Marks a message as in flight.
    pub(super) fn take(&mut self, position: Position, group: Option<&Arc<str>>) {
        match (self, group) {
            (Self::Any(order), group) => order.take(position, group),
            (Self::ByGroup(groups), Some(group)) => groups.change(group, |group| group.messages.take(position)),
            (Self::ByGroup(_), None) => {}
        }
    }

    /// Removes a message.
    pub(super) fn remove(&mut self, position: Position, group: Option<&Arc<str>>) {
        match (self, group) {
            (Self::Any(order), group) => order.remove(position, group),
            (Self::ByGroup(groups), Some(group)) => groups.change(group, |group| group.messages.remove(position)),
            (Self::ByGroup(_), None) => {}
        }
    }

    /// Returns whether a receive would find a message.
    pub(super) fn has_next(&self) -> bool {
        match self {
            Self::Any(order) => !order.is_empty(),
            Self::ByGroup(groups) => !groups.waiting.is_empty(),
        }
    }
}
