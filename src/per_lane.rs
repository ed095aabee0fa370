//! Values that all lanes share, with one reference count for each lane.

use std::ops::Deref;
use std::sync::Arc;

/// An `Arc` with separate reference counts for separate groups of clones.
///
/// Each record clones its batch's shared state and drops the clone at its end. With one count for all lanes, every
/// thread would change it at every record. The threads would wait longer for the cache line than for the records. So
/// each lane has its own count of the shared value.
pub(crate) struct PerLane<T>(Arc<Count<T>>);

struct Count<T> {
    value: Arc<T>,
}

impl<T> PerLane<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Arc::new(Count { value: Arc::new(value) }))
    }

    /// Returns the same value with a new count, allocated by the calling thread.
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
