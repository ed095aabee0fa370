//! Limits the memory for bodies that are fetched at the same time.

use std::env;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Memory reserved for one body until this is dropped.
pub(crate) type MemoryPermit = OwnedSemaphorePermit;

/// The memory for bodies, shared by all clones of a [`LargeMessages`](super::LargeMessages).
///
/// A body reserves all its memory at once. No holder waits for more, so two bodies cannot wait for each other.
#[derive(Clone, Debug)]
pub(super) struct Budget {
    room: Arc<Semaphore>,
    units: u32,
}

/// Memory is counted in units, because a semaphore counts in 32 bits and a machine may have more bytes.
const UNIT_BYTES: usize = 1_024;

/// AWS Lambda sets the function's memory here, in units of 1024 * 1024 bytes.
const LAMBDA_MEMORY: &str = "AWS_LAMBDA_FUNCTION_MEMORY_SIZE";
const LAMBDA_MEMORY_UNIT_BYTES: usize = 1_024 * 1_024;

/// The budget if the memory is unknown. It suffices for one body of the default maximum.
const DEFAULT_BYTES: usize = 256 * 1_024 * 1_024;

/// A wait of this length is logged once.
const LONG_WAIT: Duration = Duration::from_secs(10);

impl Budget {
    pub(super) fn of_bytes(bytes: usize) -> Self {
        let units = u32::try_from(bytes / UNIT_BYTES).unwrap_or(u32::MAX).max(1);
        let units = units.min(u32::try_from(Semaphore::MAX_PERMITS).unwrap_or(u32::MAX));
        Self { room: Arc::new(Semaphore::new(units as usize)), units }
    }

    /// Returns half of the function's memory. The process and the handler's own data need the other half.
    pub(super) fn of_environment() -> Self {
        Self::of_bytes(lambda_memory_bytes().map_or(DEFAULT_BYTES, |bytes| bytes / 2))
    }

    /// Returns how many bytes of body this room covers, or `None` for all of them: a body with the whole budget runs
    /// alone.
    pub(super) fn covers(&self, bytes: usize, copies: usize) -> Option<usize> {
        (self.cost(bytes, copies) < self.units).then_some(bytes)
    }

    /// Waits for room for that many copies of that many bytes, or for the whole budget if that is less.
    pub(super) async fn wait(&self, bytes: usize, copies: usize) -> MemoryPermit {
        let units = self.cost(bytes, copies);
        let mut room = std::pin::pin!(self.room.clone().acquire_many_owned(units));
        let room = match timeout(LONG_WAIT, room.as_mut()).await {
            Ok(room) => room,
            Err(_) => {
                tracing::info!(
                    bytes,
                    budget_bytes = self.units as usize * UNIT_BYTES,
                    "a large message waits for memory; raise LargeMessages::memory_budget to handle more of them at a time"
                );
                room.await
            }
        };
        room.expect("this semaphore is never closed")
    }

    /// Returns the room if it is free now.
    pub(super) fn now(&self, bytes: usize, copies: usize) -> Option<MemoryPermit> {
        self.room.clone().try_acquire_many_owned(self.cost(bytes, copies)).ok()
    }

    /// Returns the rest of the room if the body is shorter than expected.
    pub(super) fn shrink(&self, room: &mut MemoryPermit, bytes: usize, copies: usize) {
        let taken = self.cost(bytes, copies) as usize;
        drop(room.split(room.num_permits().saturating_sub(taken)));
    }

    fn cost(&self, bytes: usize, copies: usize) -> u32 {
        let units = bytes.saturating_mul(copies).div_ceil(UNIT_BYTES);
        u32::try_from(units).unwrap_or(u32::MAX).clamp(1, self.units)
    }
}

/// Returns the limit of a body's length. A longer body and its copies would exceed the function's memory and end
/// the process with all records of its batch.
pub(super) fn longest_body_bytes(longest: usize) -> usize {
    lambda_memory_bytes().map_or(longest, |bytes| longest.min(bytes / 4))
}

fn lambda_memory_bytes() -> Option<usize> {
    memory_bytes(&env::var(LAMBDA_MEMORY).ok()?)
}

fn memory_bytes(variable: &str) -> Option<usize> {
    let units: usize = variable.trim().parse().ok()?;
    units.checked_mul(LAMBDA_MEMORY_UNIT_BYTES).filter(|&bytes| bytes > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: usize = 1_024;

    #[test]
    fn memory_size_of_lambda_is_read_in_mebibytes() {
        assert_eq!(memory_bytes("512"), Some(512 * 1_048_576));
        for odd in ["", "0", "-1", "much", "99999999999999999999"] {
            assert_eq!(memory_bytes(odd), None, "{odd:?}");
        }
    }

    #[tokio::test]
    async fn copies_count_and_dropped_room_is_free_again() {
        let budget = Budget::of_bytes(10 * KIB);
        let first = budget.wait(3 * KIB, 3).await;
        assert!(budget.now(1, 1).is_some() && budget.now(2 * KIB, 1).is_none());
        drop(first);
        assert!(budget.now(3 * KIB, 3).is_some());
    }

    #[tokio::test]
    async fn body_above_the_budget_takes_all_of_it() {
        let budget = Budget::of_bytes(10 * KIB);
        let large = budget.wait(usize::MAX, 3).await;
        assert!(budget.now(0, 1).is_none(), "it runs alone");
        drop(large);
        assert_eq!((budget.covers(usize::MAX, 3), budget.covers(KIB, 3)), (None, Some(KIB)));
    }

    #[tokio::test]
    async fn body_shorter_than_announced_returns_its_room() {
        let budget = Budget::of_bytes(10 * KIB);
        let mut room = budget.wait(usize::MAX, 1).await;
        budget.shrink(&mut room, 4 * KIB, 1);
        assert!(budget.now(6 * KIB, 1).is_some() && budget.now(7 * KIB, 1).is_none());
        budget.shrink(&mut room, 9 * KIB, 1);
        assert!(budget.now(7 * KIB, 1).is_none(), "the failed request took nothing");
    }

    #[test]
    fn budget_is_never_zero_and_fits_its_counter() {
        assert_eq!(Budget::of_bytes(0).units, 1);
        assert!(Budget::of_bytes(usize::MAX).units > 1 << 28);
    }
}
