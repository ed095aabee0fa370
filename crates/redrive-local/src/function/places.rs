//! How many invocations a function takes at a time, and whose turn it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The places of one function. All mappings of the function share them, and clones are the same places.
///
/// A mapping takes a place before it receives, so a message never waits for an invocation to become possible. Mappings
/// that wait get a place in the order of their asking.
#[derive(Clone)]
pub struct Places {
    free: Arc<Semaphore>,
    total: usize,
    /// How many mappings share them.
    mappings: Arc<AtomicUsize>,
}

/// A place that is taken. It is free again when this is dropped.
pub(super) type Turn = OwnedSemaphorePermit;

/// Counts a mapping of the function until it is dropped.
pub struct Sharing(Arc<AtomicUsize>);

impl Places {
    /// 0 places count as 1.
    pub fn new(total: usize) -> Self {
        let total = total.clamp(1, Semaphore::MAX_PERMITS);
        Self { free: Arc::new(Semaphore::new(total)), total, mappings: Arc::default() }
    }

    /// Waits for a place. None only after [`Places::close`].
    pub(super) async fn take(&self) -> Option<Turn> {
        self.free.clone().acquire_owned().await.ok()
    }

    /// A place that is free now, if no mapping waits for it.
    pub(super) fn try_take(&self) -> Option<Turn> {
        self.free.clone().try_acquire_owned().ok()
    }

    /// Waits until no place is taken, and takes all of them.
    pub(super) async fn take_all(&self) -> Option<Turn> {
        let all = u32::try_from(self.total).unwrap_or(u32::MAX);
        self.free.clone().acquire_many_owned(all).await.ok()
    }

    /// Adds a mapping to those that share the places.
    pub fn share(&self) -> Sharing {
        self.mappings.fetch_add(1, Ordering::Relaxed);
        Sharing(self.mappings.clone())
    }

    /// Whether a long poll may hold a place: each other mapping finds a free one meanwhile.
    pub fn are_plenty(&self) -> bool {
        self.free.available_permits() >= self.others()
    }

    /// Whether a mapping may take a place beyond the one that it needs.
    pub fn has_spare(&self) -> bool {
        self.free.available_permits() > self.others()
    }

    /// Whether there are fewer places than mappings, so that one that keeps its place keeps another mapping waiting.
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
    async fn a_place_is_free_again_when_it_is_dropped() {
        let places = Places::new(1);
        let turn = places.take().await.unwrap();
        assert!(places.try_take().is_none());
        drop(turn);
        assert!(places.try_take().is_some());
    }

    #[tokio::test]
    async fn a_place_that_somebody_waits_for_is_not_taken_past_him() {
        let places = Places::new(1);
        let turn = places.take().await.unwrap();
        let waiting = tokio::spawn({
            let places = places.clone();
            async move { places.take().await }
        });
        tokio::task::yield_now().await;
        drop(turn);
        assert!(places.try_take().is_none(), "it is the other's turn");
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
