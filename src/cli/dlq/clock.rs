//! Deadlines that a suspended machine does not outlive.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// The time on both clocks. The monotonic one stands still while a laptop sleeps, and the wall clock may be set.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    pub(super) monotonic: Instant,
    wall: SystemTime,
}

/// The end of a wait: it has come when either clock says so.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline {
    monotonic: Instant,
    wall: SystemTime,
}

impl Now {
    pub(super) fn read() -> Self {
        Self { monotonic: Instant::now(), wall: SystemTime::now() }
    }

    pub(super) fn plus(self, wait: Duration) -> Deadline {
        Deadline { monotonic: self.monotonic + wait, wall: self.wall + wait }
    }
}

impl Deadline {
    /// Zero where it has come.
    pub(super) fn remaining(self, now: Now) -> Duration {
        let wall = self.wall.duration_since(now.wall).unwrap_or_default();
        self.monotonic.saturating_duration_since(now.monotonic).min(wall)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    #[tokio::test(start_paused = true)]
    async fn the_clock_that_is_further_on_counts() {
        let now = Now::read();
        let deadline = now.plus(HOUR);
        let later = |monotonic, wall| Now { monotonic: now.monotonic + monotonic, wall: now.wall + wall };
        assert_eq!(deadline.remaining(now), HOUR);
        assert_eq!(deadline.remaining(later(Duration::ZERO, HOUR * 2)), Duration::ZERO, "the machine was suspended");
        assert_eq!(deadline.remaining(later(HOUR * 2, Duration::ZERO)), Duration::ZERO, "the wall clock was set back");
        assert_eq!(deadline.remaining(later(HOUR / 2, HOUR / 4)), HOUR / 2);
    }
}
