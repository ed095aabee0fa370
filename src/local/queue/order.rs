//! Which of the visible messages of a queue comes next.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::store::Place;

/// The messages that are visible, oldest first.
#[derive(Debug)]
pub(super) enum Order {
    /// On a standard queue each may be received at any time. AWS promises no order; this one is the oldest first.
    Any(BTreeSet<Place>),
    /// On a FIFO queue, the oldest of a group, and only while no other of its group is in flight.
    ByGroup(Groups),
}

#[derive(Debug, Default)]
pub(super) struct Groups {
    groups: HashMap<Arc<str>, Group>,
    /// Groups that are not locked, by their oldest message.
    ready: BTreeMap<Place, Arc<str>>,
}

#[derive(Debug, Default)]
struct Group {
    visible: BTreeSet<Place>,
    /// While there are any, the group is locked.
    in_flight: usize,
}

impl Group {
    fn head(&self) -> Option<Place> {
        self.visible.first().copied()
    }

    fn ready(&self) -> Option<Place> {
        self.head().filter(|_| self.in_flight == 0)
    }
}

impl Groups {
    /// The group whose turn it is, of those that are not locked.
    pub(super) fn next(&self) -> Option<Arc<str>> {
        self.ready.first_key_value().map(|(_, group)| group.clone())
    }

    /// The oldest visible message of a group, locked or not: a receive may take several of one group.
    pub(super) fn head(&self, group: &str) -> Option<Place> {
        self.groups.get(group)?.head()
    }

    fn change(&mut self, name: &Arc<str>, change: impl FnOnce(&mut Group)) {
        let group = self.groups.entry(name.clone()).or_default();
        if let Some(head) = group.ready() {
            self.ready.remove(&head);
        }
        change(group);
        if let Some(head) = group.ready() {
            self.ready.insert(head, name.clone());
        } else if group.visible.is_empty() && group.in_flight == 0 {
            self.groups.remove(name);
        }
    }
}

impl Order {
    pub(super) fn new(fifo: bool) -> Self {
        if fifo { Self::ByGroup(Groups::default()) } else { Self::Any(BTreeSet::new()) }
    }

    pub(super) fn show(&mut self, place: Place, group: Option<&Arc<str>>) {
        match (self, group) {
            (Self::Any(visible), _) => {
                visible.insert(place);
            }
            (Self::ByGroup(groups), Some(group)) => groups.change(group, |group| {
                group.visible.insert(place);
            }),
            (Self::ByGroup(_), None) => {}
        }
    }

    pub(super) fn hide(&mut self, place: Place, group: Option<&Arc<str>>) {
        match (self, group) {
            (Self::Any(visible), _) => {
                visible.remove(&place);
            }
            (Self::ByGroup(groups), Some(group)) => groups.change(group, |group| {
                group.visible.remove(&place);
            }),
            (Self::ByGroup(_), None) => {}
        }
    }

    pub(super) fn lock(&mut self, group: Option<&Arc<str>>) {
        if let (Self::ByGroup(groups), Some(group)) = (self, group) {
            groups.change(group, |group| group.in_flight += 1);
        }
    }

    pub(super) fn unlock(&mut self, group: Option<&Arc<str>>) {
        if let (Self::ByGroup(groups), Some(group)) = (self, group) {
            groups.change(group, |group| group.in_flight -= 1);
        }
    }
}
