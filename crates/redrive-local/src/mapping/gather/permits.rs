//! Limits how many batches of one mapping are in flight.

use crate::mapping::config::MaximumConcurrency;

/// A bounded count of batches in flight.
#[derive(Debug)]
pub struct Permits {
    bound: usize,
    taken: usize,
}

/// The permission for one batch in flight. It cannot be copied, so every permit is returned once.
#[derive(Debug)]
#[must_use = "a permit that is not given back is lost"]
pub struct Permit(());

impl Permits {
    pub fn new(maximum: Option<MaximumConcurrency>) -> Self {
        let bound = maximum.map_or(MaximumConcurrency::WHERE_ABSENT, MaximumConcurrency::get);
        Self { bound, taken: 0 }
    }

    pub fn free(&self) -> usize {
        self.bound - self.taken
    }

    pub fn take(&mut self) -> Option<Permit> {
        if self.free() == 0 {
            return None;
        }
        self.taken += 1;
        Some(Permit(()))
    }

    pub fn give_back(&mut self, Permit(()): Permit) {
        self.taken -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permits_are_limited_to_the_bound() {
        let mut permits = Permits::new(MaximumConcurrency::new(2).ok());
        let first = permits.take().unwrap();
        let _second = permits.take().unwrap();
        assert!(permits.take().is_none());
        permits.give_back(first);
        assert_eq!(permits.free(), 1);
        assert!(permits.take().is_some());
    }

    #[test]
    fn permits_are_bounded_without_a_setting() {
        assert_eq!(Permits::new(None).free(), 1_250);
    }
}
