//! Tracks how long the handlers of a worker take.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The longest recent run. At a shutdown, a handler that probably cannot end in time is not started.
#[derive(Debug, Default)]
pub(super) struct RunTimes {
    longest_us: AtomicU64,
}

/// Each shorter run reduces the longest one by this fraction. One slow run counts for a few dozen later runs.
const FADES_BY: u64 = 8;

impl RunTimes {
    /// Records the duration of a run.
    pub(super) fn note(&self, took: Duration) {
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let with_it = |longest: u64| Some(took.max(longest - longest / FADES_BY));
        let _ = self.longest_us.fetch_update(Ordering::Relaxed, Ordering::Relaxed, with_it);
    }

    /// Returns the expected duration of the next run, or zero if no run has ended.
    pub(super) fn expected(&self) -> Duration {
        Duration::from_micros(self.longest_us.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_expected_time_is_the_longest_run_and_shrinks_with_each_shorter_one() {
        let times = RunTimes::default();
        assert_eq!(times.expected(), Duration::ZERO);
        let (short, long) = (Duration::from_millis(10), Duration::from_secs(8));
        times.note(short);
        times.note(long);
        assert_eq!(times.expected(), long);
        times.note(short);
        assert_eq!(times.expected(), Duration::from_secs(7));
        (0..60).for_each(|_| times.note(short));
        assert_eq!(times.expected(), short);
    }
}
