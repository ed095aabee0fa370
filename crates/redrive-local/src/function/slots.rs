//! Limits how many invocations a function runs at a time, and shares this capacity among mappings.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The slots of one function. All mappings of the function share them, and clones refer to the same slots.
///
/// A mapping takes a slot before it receives, so no received message waits for capacity. Waiting mappings get slots
/// in the order of their requests.
#[derive(Clone)]
pub struct Slots {
    free: Arc<Semaphore>,
    total: usize,
    /// The number of mappings that share the slots.
    mappings: Arc<AtomicUsize>,
}

/// The right to a taken slot. Dropping it makes the slot free again.
pub type SlotPermit = OwnedSemaphorePermit;

const NEVER_CLOSED: &str = "nothing closes this semaphore";

/// Counts a mapping of the function until it is dropped.
pub struct Sharing(Arc<AtomicUsize>);

impl Slots {
    /// Creates slots; 0 counts as 1.
    pub fn new(total: usize) -> Self {
        let total = total.clamp(1, Semaphore::MAX_PERMITS);
        Self { free: Arc::new(Semaphore::new(total)), total, mappings: Arc::default() }
    }

    /// Waits for a slot.
    pub async fn take(&self) -> SlotPermit {
        self.free.clone().acquire_owned().await.expect(NEVER_CLOSED)
    }

    /// Returns a free slot if no mapping waits for it.
    pub fn try_take(&self) -> Option<SlotPermit> {
        self.free.clone().try_acquire_owned().ok()
    }

    /// Waits until all slots are free and takes them.
    pub async fn take_all(&self) -> SlotPermit {
        let all = u32::try_from(self.total).unwrap_or(u32::MAX);
        self.free.clone().acquire_many_owned(all).await.expect(NEVER_CLOSED)
    }

    /// Adds a mapping that shares the slots.
    pub fn share(&self) -> Sharing {
        self.mappings.fetch_add(1, Ordering::Relaxed);
        Sharing(self.mappings.clone())
    }

    /// Returns whether a long poll may hold a slot, because each other mapping still finds a free one.
    pub fn are_plenty(&self) -> bool {
        self.free.available_permits() >= self.others()
    }

    /// Returns whether a mapping may take more slots than it needs.
    pub fn has_spare(&self) -> bool {
        self.free.available_permits() > self.others()
    }

    /// Returns whether there are fewer slots than mappings, so that a mapping with a slot makes another one wait.
    pub fn are_crowded(&self) -> bool {
        self.total <= self.others()
    }

    fn others(&self) -> usize {
        self.mappings.load(Ordering::Relaxed).saturating_sub(1)
    }
}

impl Drop for Sharing {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn dropped_slot_is_free_again() {
        let slots = Slots::new(1);
        let permit = slots.take().await;
        assert!(slots.try_take().is_none());
        drop(permit);
        assert!(slots.try_take().is_some());
    }

    #[tokio::test]
    async fn slot_goes_to_the_waiting_mapping_first() {
        let slots = Slots::new(1);
        let permit = slots.take().await;
        let waiting = tokio::spawn({
            let slots = slots.clone();
            async move { slots.take().await }
        });
        tokio::task::yield_now().await;
        drop(permit);
        assert!(slots.try_take().is_none(), "the slot belongs to the waiting mapping");
        drop(waiting.await.unwrap());
    }

    #[test]
    fn slots_are_plenty_while_each_other_mapping_finds_one() {
        let slots = Slots::new(2);
        let _one = slots.share();
        let permit = slots.try_take();
        assert!(slots.are_plenty() && !slots.are_crowded());
        let two = slots.share();
        assert!(slots.are_plenty());
        let second = slots.try_take();
        assert!(!slots.are_plenty() && !slots.are_crowded());
        let _three = slots.share();
        drop((permit, second));
        assert!(slots.are_plenty() && slots.are_crowded());
        drop(two);
        assert!(!slots.are_crowded());
    }
}
