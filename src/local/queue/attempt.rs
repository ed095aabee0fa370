//! Receives that may be repeated: `ReceiveRequestAttemptId`.

use std::collections::{HashMap, VecDeque};

use super::deduplication::DEDUPLICATION_INTERVAL;
use super::receipt::Receipt;
use super::time::Time;

/// What each attempt of the last five minutes got.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    received: HashMap<String, Vec<Receipt>>,
    by_age: VecDeque<(Time, String)>,
}

impl Attempts {
    /// What the attempt of that id received before.
    pub(crate) fn get(&mut self, id: &str, now: Time) -> Option<&[Receipt]> {
        while let Some((_, id)) = self.by_age.pop_front_if(|(at, _)| *at + DEDUPLICATION_INTERVAL <= now) {
            self.received.remove(&id);
        }
        self.received.get(id).map(Vec::as_slice)
    }

    pub(crate) fn insert(&mut self, id: String, receipts: Vec<Receipt>, now: Time) {
        self.by_age.push_back((now, id.clone()));
        if self.received.insert(id.clone(), receipts).is_some() {
            // A later receive under the same id takes the place of an earlier one, and its age.
            let earlier = self.by_age.iter().position(|(_, other)| *other == id);
            earlier.and_then(|earlier| self.by_age.remove(earlier));
        }
    }
}
