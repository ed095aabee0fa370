//! How much memory bodies may take at a time.

use std::env;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Memory that is kept for one body until this is dropped.
pub(crate) type Room = OwnedSemaphorePermit;

/// The memory that bodies may take, shared by all clones of a [`LargeMessages`](super::LargeMessages).
///
/// A body asks once, for all that it will take. So nobody who has room waits for more, and no two bodies can wait for each other.
#[derive(Clone, Debug)]
pub(super) struct Budget {
    room: Arc<Semaphore>,
    units: u32,
}

/// A body takes whole units: a semaphore counts in 32 bits, and a machine has more bytes than these.
const UNIT_BYTES: usize = 1_024;

/// On AWS Lambda: the function's memory, in units of 1024 * 1024 bytes.
const LAMBDA_MEMORY: &str = "AWS_LAMBDA_FUNCTION_MEMORY_SIZE";
const LAMBDA_MEMORY_UNIT_BYTES: usize = 1_024 * 1_024;

/// Where nobody says how much memory there is: enough for one body of the longest kind.
const DEFAULT_BYTES: usize = 256 * 1_024 * 1_024;

/// After so long a wait is logged, once.
const LONG_WAIT: Duration = Duration::from_secs(10);

impl Budget {
    pub(super) fn of_bytes(bytes: usize) -> Self {
        let units = u32::try_from(bytes / UNIT_BYTES).unwrap_or(u32::MAX).max(1);
        let units = units.min(u32::try_from(Semaphore::MAX_PERMITS).unwrap_or(u32::MAX));
        Self { room: Arc::new(Semaphore::new(units as usize)), units }
    }

    /// Half of the function's memory: the other half is the process's own, and for what a handler makes of a body.
    pub(super) fn of_environment() -> Self {
        Self::of_bytes(lambda_memory_bytes().map_or(DEFAULT_BYTES, |bytes| bytes / 2))
    }

    /// How many bytes a body may take that has this room. One that has all of it is alone, however long it is.
    pub(super) fn covers(&self, bytes: usize, copies: usize) -> Option<usize> {
        (self.cost(bytes, copies) < self.units).then_some(bytes)
    }

    /// Waits for room for so many copies of that many bytes, or for all of it where that is less.
    pub(super) async fn wait(&self, bytes: usize, copies: usize) -> Room {
        let units = self.cost(bytes, copies);
        let mut room = std::pin::pin!(self.room.clone().acquire_many_owned(units));
        let room = match timeout(LONG_WAIT, room.as_mut()).await {
            Ok(room) => room,
            Err(_) => {
                tracing::info!(
                    bytes,
                    budget_bytes = self.units as usize * UNIT_BYTES,
                    "a large message waits for memory that other large messages take: LargeMessages::memory_budget"
                );
                room.await
            }
        };
        room.expect("this semaphore is never closed")
    }

    /// The same, where there is room now.
    pub(super) fn now(&self, bytes: usize, copies: usize) -> Option<Room> {
        self.room.clone().try_acquire_many_owned(self.cost(bytes, copies)).ok()
    }

    /// Gives back what a body does not take that is shorter than it was said to be.
    pub(super) fn shrink(&self, room: &mut Room, bytes: usize, copies: usize) {
        let taken = self.cost(bytes, copies) as usize;
        drop(room.split(room.num_permits().saturating_sub(taken)));
    }

    fn cost(&self, bytes: usize, copies: usize) -> u32 {
        let units = bytes.saturating_mul(copies).div_ceil(UNIT_BYTES);
        u32::try_from(units).unwrap_or(u32::MAX).clamp(1, self.units)
    }
}

/// A body that is longer than this cannot be held in a function's memory with the copies that are made, and would end the process with all
/// records of its batch.
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
    fn the_variable_of_lambda_is_read_in_mebibytes() {
        assert_eq!(memory_bytes("512"), Some(512 * 1_048_576));
        for odd in ["", "0", "-1", "much", "99999999999999999999"] {
            assert_eq!(memory_bytes(odd), None, "{odd:?}");
        }
    }

    #[tokio::test]
    async fn copies_count_and_what_is_dropped_is_there_again() {
        let budget = Budget::of_bytes(10 * KIB);
        let first = budget.wait(3 * KIB, 3).await;
        assert!(budget.now(1, 1).is_some() && budget.now(2 * KIB, 1).is_none());
        drop(first);
        assert!(budget.now(3 * KIB, 3).is_some());
    }

    #[tokio::test]
    async fn a_body_larger_than_the_budget_has_all_of_it() {
        let budget = Budget::of_bytes(10 * KIB);
        let large = budget.wait(usize::MAX, 3).await;
        assert!(budget.now(0, 1).is_none(), "it is alone");
        drop(large);
        assert_eq!((budget.covers(usize::MAX, 3), budget.covers(KIB, 3)), (None, Some(KIB)));
    }

    #[tokio::test]
    async fn a_body_that_is_shorter_than_it_was_said_to_be_gives_room_back() {
        let budget = Budget::of_bytes(10 * KIB);
        let mut room = budget.wait(usize::MAX, 1).await;
        budget.shrink(&mut room, 4 * KIB, 1);
        assert!(budget.now(6 * KIB, 1).is_some() && budget.now(7 * KIB, 1).is_none());
        budget.shrink(&mut room, 9 * KIB, 1);
        assert!(budget.now(7 * KIB, 1).is_none(), "nothing is taken by it");
    }

    #[test]
    fn a_budget_is_never_none_and_never_too_much_for_its_counter() {
        assert_eq!(Budget::of_bytes(0).units, 1);
        assert!(Budget::of_bytes(usize::MAX).units > 1 << 28);
    }
}
