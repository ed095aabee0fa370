//! The queue's clock: tokio's.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use super::queue::Time;

/// Goes as tokio's clock does, so where that is paused, a wait takes no time.
#[derive(Debug)]
pub(super) struct Clock {
    began: Instant,
    began_at: Time,
}

impl Clock {
    pub(super) fn starting_at(time: Time) -> Self {
        Self { began: Instant::now(), began_at: time }
    }

    /// The time on everybody's clock.
    pub(super) fn of_the_system() -> Self {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self::starting_at(Time::from_millis(0) + since_1970)
    }

    pub(super) fn now(&self) -> Time {
        // Rounded down: nothing is due before its time.
        let elapsed = Duration::from_millis(u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX));
        self.began_at + elapsed
    }

    pub(super) async fn sleep_until(&self, time: Time) {
        tokio::time::sleep(time.since(self.now())).await;
    }
}
