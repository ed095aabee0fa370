//! What is known of each record of a batch. All have failed, until they are done.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use serde_json::value::RawValue;

use crate::record::{Origin, Record};

/// A slot for each record, in the order of the batch.
///
/// Only [`Standing::Done`] is a success, and only [`Ledger::finish`] writes it. Whatever panics, is cancelled, runs out
/// of time or never begins leaves its slot as it was, which is failed.
pub(super) struct Ledger {
    slots: Vec<Slot>,
    /// The first record of each message id that began.
    begun: HashMap<Arc<str>, usize>,
    origin: Origin,
}

struct Slot {
    standing: Standing,
    held: Held,
}

/// How a record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    NotRun,
    /// Begun, and not come to an end. Once the batch is answered: cut off.
    Running,
    Failed,
    Done,
}

/// What is kept of a record: as little as its answer may need.
enum Held {
    /// Not looked into yet.
    Raw(Box<RawValue>),
    Record(Record),
    /// A copy of the message in that slot: it fares as that one does.
    CopyOf(usize),
    Nothing,
}

impl Ledger {
    pub(super) fn new(records: Vec<Box<RawValue>>, origin: Origin) -> Self {
        let begun = HashMap::with_capacity(records.len());
        let slot = |text| Slot { standing: Standing::NotRun, held: Held::Raw(text) };
        Self { slots: records.into_iter().map(slot).collect(), begun, origin }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// The record in a slot, to look into it. `None` where there is none any more.
    pub(super) fn look(&mut self, index: usize) -> Option<Record> {
        let held = &mut self.slots[index].held;
        if matches!(held, Held::Raw(_)) {
            *held = match std::mem::replace(held, Held::Nothing) {
                Held::Raw(text) => Held::Record(Record::new(text, self.origin.clone())),
                other => other,
            };
        }
        match held {
            Held::Record(record) => Some(record.clone()),
            _ => None,
        }
    }

    /// Takes a record to run it. `None` where it has begun before.
    pub(super) fn begin(&mut self, index: usize) -> Option<Record> {
        if self.slots[index].standing != Standing::NotRun {
            return None;
        }
        let record = self.look(index)?;
        self.slots[index].standing = Standing::Running;
        Some(record)
    }

    /// Whether this is the first record with its id. If it is not, it must not run: it fares as that one does now.
    pub(super) fn claim(&mut self, index: usize, id: Arc<str>) -> bool {
        match self.begun.entry(id) {
            Entry::Vacant(vacant) => {
                vacant.insert(index);
                true
            }
            // A FIFO batch is claimed when it is planned, and asked again when it runs.
            Entry::Occupied(first) if *first.get() == index => true,
            Entry::Occupied(first) => {
                self.slots[index].held = Held::CopyOf(*first.get());
                false
            }
        }
    }

    /// Settles a record that has run to its end.
    pub(super) fn finish(&mut self, index: usize, passed: bool) {
        let slot = &mut self.slots[index];
        if slot.standing != Standing::Running {
            return;
        }
        if passed {
            *slot = Slot { standing: Standing::Done, held: Held::Nothing };
        } else {
            slot.standing = Standing::Failed;
        }
    }

    pub(super) fn standing(&self, index: usize) -> Standing {
        match &self.slots[index] {
            Slot { held: Held::CopyOf(first), .. } => self.standing(*first),
            slot => slot.standing,
        }
    }

    /// The id to report a record by, if it has one.
    pub(super) fn message_id(&self, index: usize) -> Option<Arc<str>> {
        match &self.slots[index].held {
            Held::Raw(text) => Record::new(text.clone(), self.origin.clone()).shared_message_id(),
            Held::Record(record) => record.shared_message_id(),
            Held::CopyOf(first) => self.message_id(*first),
            Held::Nothing => None,
        }
    }
}
