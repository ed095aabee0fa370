//! What all lanes share, counted by each of them alone.

use std::ops::Deref;
use std::sync::Arc;

/// An `Arc` whose clones can be counted apart from others.
///
/// A record takes a clone of what it shares with its batch, and drops it at its end. Were that one count for all, every
/// thread would change it at every record, and wait for its cache line longer than for the record. So each lane has a
/// count to itself, and the value is shared by the counts.
pub(crate) struct PerLane<T>(Arc<Count<T>>);

struct Count<T> {
    value: Arc<T>,
}

impl<T> PerLane<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Arc::new(Count { value: Arc::new(value) }))
    }

    /// The same value under a count of its own, in memory of the thread that calls this.
    pub(crate) fn apart(&self) -> Self {
        Self(Arc::new(Count { value: self.0.value.clone() }))
    }
}

impl<T> Clone for PerLane<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Deref for PerLane<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0.value
    }
}
