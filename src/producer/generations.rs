//! Counts unsettled messages by generation: a flush waits for the messages that came before it.

use std::collections::BTreeMap;

/// Counts messages that are not settled. The messages between two flushes form a generation.
#[derive(Debug, Default)]
pub(super) struct Generations {
    /// The generation of the next message.
    generation: u64,
    /// The count of each generation that has any.
    counts: BTreeMap<u64, usize>,
}

impl Generations {
    /// Adds a message. Returns its generation.
    pub(super) fn add(&mut self) -> u64 {
        *self.counts.entry(self.generation).or_default() += 1;
        self.generation
    }

    /// Removes a settled message of that generation.
    pub(super) fn remove(&mut self, generation: u64) {
        if let Some(count) = self.counts.get_mut(&generation) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&generation);
            }
        }
    }

    /// Starts a new generation for the messages from now on, and returns it.
    pub(super) fn next_generation(&mut self) -> u64 {
        if self.counts.contains_key(&self.generation) {
            self.generation += 1;
        }
        self.generation
    }

    /// Returns whether a flush waits for that generation.
    pub(super) fn is_past(&self, generation: u64) -> bool {
        generation < self.generation
    }

    /// Returns the generation before which all messages are settled.
    pub(super) fn settled_below(&self) -> u64 {
        self.counts.first_key_value().map_or(self.generation, |(generation, _)| *generation)
    }

    pub(super) fn len(&self) -> usize {
        self.counts.values().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generation_is_settled_with_its_last_message_and_all_earlier_ones() {
        let mut generations = Generations::default();
        assert_eq!(
            (generations.next_generation(), generations.settled_below()),
            (0, 0),
            "there is nothing to wait for"
        );
        let (a, b) = (generations.add(), generations.add());
        let flushed = generations.next_generation();
        let c = generations.add();
        assert!(generations.is_past(b) && !generations.is_past(c));
        let flushed_later = generations.next_generation();
        assert_eq!(flushed_later, generations.next_generation(), "no message came in between");
        generations.remove(c);
        generations.remove(a);
        assert_eq!((generations.settled_below() >= flushed, generations.len()), (false, 1));
        generations.remove(b);
        assert_eq!((generations.settled_below(), generations.len()), (flushed_later, 0));
    }
}
