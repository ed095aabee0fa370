//! How long handlers take, as far as a worker has seen it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The longest run of late. A shutdown asks for it: a handler that cannot end in time is better not begun.
#[derive(Debug, Default)]
pub(super) struct RunTimes {
    longest_us: AtomicU64,
}

/// How much of it each shorter run takes away: one run that was slow counts for some dozens of others.
const FADES_BY: u64 = 8;

impl RunTimes {
    /// A run has taken so long.
    pub(super) fn note(&self, took: Duration) {
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let with_it = |longest: u64| Some(took.max(longest - longest / FADES_BY));
        let _ = self.longest_us.fetch_update(Ordering::Relaxed, Ordering::Relaxed, with_it);
    }

    /// Returns how long the next run may take; nothing, while none has ended.
    pub(super) fn expected(&self) -> Duration {
        Duration::from_micros(self.longest_us.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_run_counts_and_fades_with_each_shorter_one() {
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
