//! Points in time that stay correct when the process is suspended.
//!
//! A lease at SQS ends by wall-clock time. The monotonic clock of a process stops while its machine sleeps or its
//! virtual machine is paused. By that clock alone, a lease that ended an hour ago would still be valid. So both clocks
//! are read, and the larger elapsed time counts. A wall clock that is set forward makes leases look shorter, which is
//! safe. One that is set back changes nothing.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// How far the wall clock must run ahead to count. Time services often correct it by less.
#[cfg(feature = "sqs")]
const TOLERANCE: Duration = Duration::from_secs(1);

/// A point in time on both clocks.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(not(feature = "sqs"), expect(dead_code, reason = "only effects ask for the elapsed time"))]
pub struct Moment {
    /// The clock of timers. A test may pause it, so that it jumps or stands still.
    monotonic: Instant,
    /// The same clock, which no test pauses. The wall clock is compared with it.
    awake: std::time::Instant,
    wall: SystemTime,
}

impl Moment {
    pub fn now() -> Self {
        Self { monotonic: Instant::now(), awake: std::time::Instant::now(), wall: wall_clock() }
    }

    /// Returns the elapsed time.
    #[cfg(feature = "sqs")]
    pub fn elapsed(&self) -> Duration {
        self.until(Self::now())
    }

    /// Returns whether the process was suspended since. It cannot be told apart from a wall clock that was set forward.
    #[cfg(feature = "worker")]
    pub fn was_suspended_since(&self) -> bool {
        !self.asleep_until(Self::now()).is_zero()
    }

    /// Returns the moment this long before.
    #[cfg(feature = "worker")]
    pub fn before(self, time: Duration) -> Self {
        Self {
            monotonic: self.monotonic.checked_sub(time).unwrap_or(self.monotonic),
            awake: self.awake.checked_sub(time).unwrap_or(self.awake),
            wall: self.wall.checked_sub(time).unwrap_or(self.wall),
        }
    }

    /// Returns the later moment by the monotonic clock.
    #[cfg(feature = "worker")]
    pub fn or_later(self, other: Self) -> Self {
        if other.monotonic > self.monotonic { other } else { self }
    }

    #[cfg(feature = "sqs")]
    fn until(&self, later: Self) -> Duration {
        later.monotonic.saturating_duration_since(self.monotonic) + self.asleep_until(later)
    }

    /// Returns how much further the wall clock has advanced.
    #[cfg(feature = "sqs")]
    fn asleep_until(&self, later: Self) -> Duration {
        let awake = later.awake.saturating_duration_since(self.awake);
        let passed = later.wall.duration_since(self.wall).unwrap_or_default();
        Some(passed.saturating_sub(awake)).filter(|asleep| *asleep > TOLERANCE).unwrap_or_default()
    }
}

/// The end of a period that began at a known moment, such as a lease.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(not(feature = "sqs"), expect(dead_code, reason = "only effects ask whether it is over"))]
pub struct Deadline {
    since: Moment,
    after: Duration,
}

impl Deadline {
    /// Returns the end of a period of this length from that moment on.
    #[cfg(feature = "sqs")]
    pub fn after(since: Moment, after: Duration) -> Self {
        Self { since, after }
    }

    /// Returns a deadline at that time of the monotonic clock, if the process is not suspended before.
    pub fn at(time: Instant) -> Self {
        let now = Moment::now();
        Self { since: now, after: time.saturating_duration_since(now.monotonic) }
    }

    #[cfg(feature = "sqs")]
    pub fn is_over(&self) -> bool {
        self.since.elapsed() >= self.after
    }

    #[cfg(feature = "sqs")]
    pub fn time_left(&self) -> Duration {
        self.after.saturating_sub(self.since.elapsed())
    }

    /// Returns the earlier deadline.
    #[cfg(feature = "sqs")]
    pub fn or_earlier(self, other: Self) -> Self {
        if other.time_left() < self.time_left() { other } else { self }
    }

    /// Returns the time for a timer. After a suspend, the deadline itself has to be checked.
    #[cfg(feature = "sqs")]
    pub fn for_timer(&self) -> Instant {
        self.since.monotonic + self.after
    }
}

#[cfg(not(any(all(test, feature = "sqs"), feature = "test-util")))]
fn wall_clock() -> SystemTime {
    SystemTime::now()
}

#[cfg(any(all(test, feature = "sqs"), feature = "test-util"))]
pub use self::in_tests::set_wall_clock_ahead;
#[cfg(any(all(test, feature = "sqs"), feature = "test-util"))]
use self::in_tests::wall_clock;

#[cfg(any(all(test, feature = "sqs"), feature = "test-util"))]
mod in_tests {
    use std::cell::Cell;

    use super::{Duration, SystemTime};

    thread_local! {
        static AHEAD: Cell<(Duration, Duration)> = const { Cell::new((Duration::ZERO, Duration::ZERO)) };
    }

    pub(super) fn wall_clock() -> SystemTime {
        let (ahead, behind) = AHEAD.get();
        SystemTime::now() + ahead - behind
    }

    /// Sets this thread's wall clock forward while the monotonic clock stands still, as during a suspend.
    pub fn set_wall_clock_ahead(time: Duration) {
        let (ahead, behind) = AHEAD.get();
        AHEAD.set((ahead + time, behind));
    }

    #[cfg(test)]
    pub(super) fn set_wall_clock_back(time: Duration) {
        let (ahead, behind) = AHEAD.get();
        AHEAD.set((ahead, behind + time));
    }
}

#[cfg(all(test, feature = "sqs"))]
mod tests {
    use tokio::time::advance;

    use super::in_tests::{set_wall_clock_ahead, set_wall_clock_back};
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn time_awake_counts() {
        let moment = Moment::now();
        advance(30 * SECOND).await;
        assert_eq!(moment.elapsed(), 30 * SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn time_asleep_counts_too() {
        let moment = Moment::now();
        advance(30 * SECOND).await;
        set_wall_clock_ahead(3_600 * SECOND);
        assert!((3_629 * SECOND..3_631 * SECOND).contains(&moment.elapsed()), "{:?}", moment.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn wall_clock_that_is_set_back_changes_nothing() {
        let moment = Moment::now();
        set_wall_clock_back(3_600 * SECOND);
        assert_eq!(moment.elapsed(), Duration::ZERO);
        advance(30 * SECOND).await;
        assert_eq!(moment.elapsed(), 30 * SECOND);
        let deadline = Deadline::after(moment, 30 * SECOND);
        assert!(deadline.is_over());
    }

    #[tokio::test(start_paused = true)]
    async fn correction_of_the_wall_clock_is_not_a_suspend() {
        let moment = Moment::now();
        set_wall_clock_ahead(SECOND / 10);
        assert_eq!(moment.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn deadline_ends_by_the_faster_clock() {
        for (awake, asleep, is_over) in [(29, 0, false), (30, 0, true), (0, 28, false), (0, 31, true), (20, 12, true)] {
            let deadline = Deadline::after(Moment::now(), 30 * SECOND);
            advance(awake * SECOND).await;
            set_wall_clock_ahead(asleep * SECOND);
            assert_eq!(
                (deadline.is_over(), deadline.time_left().is_zero()),
                (is_over, is_over),
                "{awake} s and {asleep} s"
            );
        }
    }

    #[cfg(feature = "worker")]
    #[tokio::test(start_paused = true)]
    async fn suspend_is_noticed_and_elapsed_time_is_not_a_suspend() {
        let moment = Moment::now();
        advance(3_600 * SECOND).await;
        assert!(!moment.was_suspended_since());
        set_wall_clock_ahead(2 * SECOND);
        assert!(moment.was_suspended_since());
    }
}
