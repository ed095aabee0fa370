//! Limits how many invocations a function runs at a time, and shares this capacity among mappings.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The places of one function. All mappings of the function share them, and clones refer to the same places.
///
/// A mapping takes a place before it receives, so no received message waits for capacity. Waiting mappings get places
/// in the order of their requests.
#[derive(Clone)]
pub struct Places {
    free: Arc<Semaphore>,
    total: usize,
    /// The number of mappings that share the places.
    mappings: Arc<AtomicUsize>,
}

/// A taken place. Dropping it makes the place free again.
pub(super) type Turn = OwnedSemaphorePermit;

/// Counts a mapping of the function until it is dropped.
pub struct Sharing(Arc<AtomicUsize>);

impl Places {
    /// Creates places; 0 counts as 1.
    pub fn new(total: usize) -> Self {
        let total = total.clamp(1, Semaphore::MAX_PERMITS);
        Self { free: Arc::new(Semaphore::new(total)), total, mappings: Arc::default() }
    }

    /// Waits for a place. Returns `None` only after [`Places::close`].
    pub(super) async fn take(&self) -> Option<Turn> {
        self.free.clone().acquire_owned().await.ok()
    }

    /// Returns a free place if no mapping waits for it.
    pub(super) fn try_take(&self) -> Option<Turn> {
        self.free.clone().try_acquire_owned().ok()
    }

    /// Waits until all places are free and takes them.
    pub(super) async fn take_all(&self) -> Option<Turn> {
        let all = u32::try_from(self.total).unwrap_or(u32::MAX);
        self.free.clone().acquire_many_owned(all).await.ok()
    }

    /// Adds a mapping that shares the places.
    pub fn share(&self) -> Sharing {
        self.mappings.fetch_add(1, Ordering::Relaxed);
        Sharing(self.mappings.clone())
    }

    /// Returns whether a long poll may hold a place, because each other mapping still finds a free one.
    pub fn are_plenty(&self) -> bool {
        self.free.available_permits() >= self.others()
    }

    /// Returns whether a mapping may take more places than it needs.
    pub fn has_spare(&self) -> bool {
        self.free.available_permits() > self.others()
    }

    /// Returns whether there are fewer places than mappings, so that a mapping with a place makes another one wait.
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
    async fn dropped_place_is_free_again() {
        let places = Places::new(1);
        let turn = places.take().await.unwrap();
        assert!(places.try_take().is_none());
        drop(turn);
        assert!(places.try_take().is_some());
    }

    #[tokio::test]
    async fn place_goes_to_the_waiting_mapping_first() {
        let places = Places::new(1);
        let turn = places.take().await.unwrap();
        let waiting = tokio::spawn({
            let places = places.clone();
            async move { places.take().await }
        });
        tokio::task::yield_now().await;
        drop(turn);
        assert!(places.try_take().is_none(), "the place belongs to the waiting mapping");
        assert!(waiting.await.unwrap().is_some());
    }

    #[test]
    fn places_are_plenty_while_each_other_mapping_finds_one() {
        let places = Places::new(2);
        let _one = places.share();
        let turn = places.try_take();
        assert!(places.are_plenty() && !places.are_crowded());
        let two = places.share();
        assert!(places.are_plenty());
        let second = places.try_take();
        assert!(!places.are_plenty() && !places.are_crowded());
        let _three = places.share();
        drop((turn, second));
        assert!(places.are_plenty() && places.are_crowded());
        drop(two);
        assert!(!places.are_crowded());
    }
}
