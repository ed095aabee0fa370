//! Remembers receives that a consumer may repeat with the same `ReceiveRequestAttemptId`.

use std::collections::{HashMap, VecDeque};

use super::deduplication::DEDUPLICATION_INTERVAL;
use super::receipt::Receipt;
use super::time::Time;

/// The receipts of each attempt of the last five minutes.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    received: HashMap<String, Vec<Receipt>>,
    by_age: VecDeque<(Time, String)>,
}

impl Attempts {
    /// Returns the receipts that this attempt received before.
    pub(super) fn get(&mut self, id: &str, now: Time) -> Option<&[Receipt]> {
        while let Some((_, id)) = self.by_age.pop_front_if(|(at, _)| *at + DEDUPLICATION_INTERVAL <= now) {
            self.received.remove(&id);
        }
        self.received.get(id).map(Vec::as_slice)
    }

    pub(super) fn insert(&mut self, id: String, receipts: Vec<Receipt>, now: Time) {
        self.by_age.push_back((now, id.clone()));
        if self.received.insert(id.clone(), receipts).is_some() {
            // A later receive under the same id replaces the earlier one, and its age.
            let earlier = self.by_age.iter().position(|(_, other)| *other == id);
            earlier.and_then(|earlier| self.by_age.remove(earlier));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_receive_with_the_same_id_replaces_the_receipts_and_the_age() {
        let receipt = |position| vec![Receipt { queue: 1, position, receive_count: 1 }];
        let at = |age: u32| Time::from_millis(0) + DEDUPLICATION_INTERVAL * age / 10;
        let mut attempts = Attempts::default();
        attempts.insert("again".to_owned(), receipt(1), at(0));
        attempts.insert("once".to_owned(), receipt(2), at(1));
        attempts.insert("again".to_owned(), receipt(3), at(5));
        assert_eq!(attempts.get("once", at(10)), Some(&*receipt(2)));
        assert_eq!(attempts.get("again", at(14)), Some(&*receipt(3)), "the later receive has its own age");
        assert_eq!(attempts.get("once", at(14)), None);
        assert_eq!(attempts.get("again", at(15)), None);
        assert!(attempts.received.is_empty() && attempts.by_age.is_empty());
    }
}
