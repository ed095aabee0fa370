//! Orders the visible messages of a standard queue, fairly to its message groups.
//!
//! A group with many messages in flight is noisy. Messages of other groups come before its messages, so that they do
//! not wait behind its backlog:
//! <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-fair-queues.html>.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::group::GroupMessages;
use super::message::Position;

/// A noisy group has at least this many messages in flight.
const NOISY_MESSAGES: usize = 30;

/// A noisy group has more than one part in this many of all messages in flight. So fewer groups than this are noisy.
const NOISY_FRACTION: usize = 10;

/// The visible messages. AWS promises no order; within the quiet and the noisy messages, the oldest comes first.
#[derive(Debug, Default)]
pub(super) struct FairOrder {
    /// The visible messages without a group. They are never noisy.
    ungrouped: BTreeSet<Position>,
    groups: HashMap<Arc<str>, GroupMessages>,
    /// The oldest visible message of each group.
    heads: BTreeMap<Position, Arc<str>>,
}

impl FairOrder {
    /// Returns the message that comes next, if so many messages of the queue are in flight.
    pub(super) fn next(&self, in_flight: usize) -> Option<Position> {
        let is_quiet = |group| self.groups.get(group).is_none_or(|group| !is_noisy(group, in_flight));
        let quiet = self.heads.iter().find(|(_, group)| is_quiet(*group)).map(|(position, _)| *position);
        let ungrouped = self.ungrouped.first().copied();
        quiet.into_iter().chain(ungrouped).min().or_else(|| self.heads.keys().next().copied())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ungrouped.is_empty() && self.heads.is_empty()
    }

    pub(super) fn show(&mut self, position: Position, group: Option<&Arc<str>>) {
        match group {
            None => drop(self.ungrouped.insert(position)),
            Some(group) => self.change(group, |group| group.show(position)),
        }
    }

    pub(super) fn take(&mut self, position: Position, group: Option<&Arc<str>>) {
        match group {
            None => drop(self.ungrouped.remove(&position)),
            Some(group) => self.change(group, |group| group.take(position)),
        }
    }

    pub(super) fn remove(&mut self, position: Position, group: Option<&Arc<str>>) {
        match group {
            None => drop(self.ungrouped.remove(&position)),
            Some(group) => self.change(group, |group| group.remove(position)),
        }
    }

    fn change(&mut self, name: &Arc<str>, change: impl FnOnce(&mut GroupMessages)) {
        let group = self.groups.entry(name.clone()).or_default();
        if let Some(head) = group.visible.first() {
            self.heads.remove(head);
        }
        change(group);
        if let Some(&head) = group.visible.first() {
            self.heads.insert(head, name.clone());
        } else if group.is_empty() {
            self.groups.remove(name);
        }
    }
}

fn is_noisy(group: &GroupMessages, in_flight: usize) -> bool {
    group.in_flight.len() >= NOISY_MESSAGES && group.in_flight.len() * NOISY_FRACTION > in_flight
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes the next message as a receive would.
    fn take_next(order: &mut FairOrder, in_flight: usize, group_of: impl Fn(Position) -> Arc<str>) -> Position {
        let position = order.next(in_flight).expect("a visible message");
        order.take(position, Some(&group_of(position)));
        position
    }

    #[test]
    fn group_is_noisy_from_thirty_messages_in_flight_on() {
        let group_of = |position| if position < 100 { "noisy".into() } else { "quiet".into() };
        let mut order = FairOrder::default();
        (0..101).for_each(|position| order.show(position, Some(&group_of(position))));
        let taken: Vec<_> = (0..32).map(|in_flight| take_next(&mut order, in_flight, group_of)).collect();
        assert_eq!((taken[29], taken[30], taken[31]), (29, 100, 30));
    }

    #[test]
    fn group_with_a_tenth_of_all_messages_in_flight_is_quiet() {
        let mut order = FairOrder::default();
        let noisy: Arc<str> = "noisy".into();
        (0..31).for_each(|position| order.show(position, Some(&noisy)));
        (0..30).for_each(|position| order.take(position, Some(&noisy)));
        order.show(31, None);
        assert_eq!((order.next(299), order.next(300)), (Some(31), Some(30)));
    }

    #[test]
    fn group_is_quiet_again_when_its_messages_are_gone() {
        let mut order = FairOrder::default();
        let noisy: Arc<str> = "noisy".into();
        (0..31).for_each(|position| order.show(position, Some(&noisy)));
        (0..30).for_each(|position| order.take(position, Some(&noisy)));
        order.show(31, Some(&"quiet".into()));
        assert_eq!(order.next(30), Some(31));
        order.remove(0, Some(&noisy));
        assert_eq!(order.next(29), Some(30));
        (1..31).for_each(|position| order.remove(position, Some(&noisy)));
        assert_eq!(order.groups.len(), 1, "an empty group takes no memory");
    }
}
