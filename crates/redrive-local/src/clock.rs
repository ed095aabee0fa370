//! The queue's clock: tokio's clock plus the skipped time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use super::queue::Time;

/// A clock that follows tokio's, so a wait takes no time while tokio's clock is paused. It can also skip a wait.
#[derive(Debug)]
pub(super) struct Clock {
    began: Instant,
    began_at: Time,
    skipped_millis: AtomicU64,
}

impl Clock {
    pub(super) fn starting_at(time: Time) -> Self {
        Self { began: Instant::now(), began_at: time, skipped_millis: AtomicU64::new(0) }
    }

    /// Returns a clock with the system's time.
    pub(super) fn of_the_system() -> Self {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self::starting_at(Time::from_millis(0) + since_1970)
    }

    pub(super) fn now(&self) -> Time {
        let skipped = Duration::from_millis(self.skipped_millis.load(Ordering::Acquire));
        // Rounded down, because no wait may end early.
        let elapsed = Duration::from_millis(u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX));
        self.began_at + elapsed + skipped
    }

    pub(super) async fn sleep_until(&self, time: Time) {
        tokio::time::sleep(time.since(self.now())).await;
    }

    /// Advances the clock to a time. An earlier time has no effect.
    pub(super) fn skip_to(&self, time: Time) {
        let skip = u64::try_from(time.since(self.now()).as_millis()).unwrap_or(0);
        self.skipped_millis.fetch_add(skip, Ordering::AcqRel);
    }
}
