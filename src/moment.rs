//! Points in time that hold for a process that was suspended.
//!
//! A lease runs out at SQS by the time of the world. The monotonic clock of a process stands still while its machine sleeps, or its virtual
//! machine is paused: by that clock alone a lease that ended an hour ago is still ours. The clock on the wall goes on. So both are read, and
//! whichever says that more time has passed is believed. A wall clock that is set forward makes leases look shorter, which is safe; one that
//! is set back changes nothing.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// How far the wall clock runs ahead before that counts. Time services move it by less than this all the time.
#[cfg(feature = "sqs")]
const TOLERANCE: Duration = Duration::from_secs(1);

/// A point in time, by both clocks.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(not(feature = "sqs"), expect(dead_code, reason = "without effects nobody asks what time it is"))]
pub struct Moment {
    /// What timers go by. A test may pause it, and then it runs ahead or stands still.
    monotonic: Instant,
    /// The same clock, which no test pauses: the wall clock is compared with this one.
    awake: std::time::Instant,
    wall: SystemTime,
}

impl Moment {
    pub fn now() -> Self {
        Self { monotonic: Instant::now(), awake: std::time::Instant::now(), wall: wall_clock() }
    }

    /// Returns how much time has passed since.
    #[cfg(feature = "sqs")]
    pub fn elapsed(&self) -> Duration {
        self.until(Self::now())
    }

    /// Returns whether the process was suspended since. The wall clock may have been set forward as well: nobody can tell.
    #[cfg(feature = "worker")]
    pub fn was_suspended_since(&self) -> bool {
        !self.asleep_until(Self::now()).is_zero()
    }

    /// Returns the moment that was so long before this one.
    #[cfg(feature = "worker")]
    pub fn before(self, time: Duration) -> Self {
        Self {
            monotonic: self.monotonic.checked_sub(time).unwrap_or(self.monotonic),
            awake: self.awake.checked_sub(time).unwrap_or(self.awake),
            wall: self.wall.checked_sub(time).unwrap_or(self.wall),
        }
    }

    /// Returns the later of the two, by the monotonic clock.
    #[cfg(feature = "worker")]
    pub fn or_later(self, other: Self) -> Self {
        if other.monotonic > self.monotonic { other } else { self }
    }

    #[cfg(feature = "sqs")]
    fn until(&self, later: Self) -> Duration {
        later.monotonic.saturating_duration_since(self.monotonic) + self.asleep_until(later)
    }

    /// How much further the wall clock has gone.
    #[cfg(feature = "sqs")]
    fn asleep_until(&self, later: Self) -> Duration {
        let awake = later.awake.saturating_duration_since(self.awake);
        let passed = later.wall.duration_since(self.wall).unwrap_or_default();
        Some(passed.saturating_sub(awake)).filter(|asleep| *asleep > TOLERANCE).unwrap_or_default()
    }
}

/// When something ends that began at a known moment, as a lease does.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(not(feature = "sqs"), expect(dead_code, reason = "without effects nobody asks when it is over"))]
pub struct Deadline {
    since: Moment,
    after: Duration,
}

impl Deadline {
    /// The end of what takes so long from that moment on.
    #[cfg(feature = "sqs")]
    pub fn after(since: Moment, after: Duration) -> Self {
        Self { since, after }
    }

    /// The end of what ends at that time of the monotonic clock, if the process is not suspended until then.
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

    /// Returns whichever is over first.
    #[cfg(feature = "sqs")]
    pub fn or_earlier(self, other: Self) -> Self {
        if other.time_left() < self.time_left() { other } else { self }
    }

    /// Returns when a timer is to go off for it. A process that was suspended meanwhile has to look at the deadline itself.
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

    /// Sets this thread's wall clock forward by so much, while the monotonic one stands still: the process was suspended.
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
    async fn the_time_that_a_process_is_awake_counts() {
        let moment = Moment::now();
        advance(30 * SECOND).await;
        assert_eq!(moment.elapsed(), 30 * SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_that_a_process_sleeps_counts_as_well() {
        let moment = Moment::now();
        advance(30 * SECOND).await;
        set_wall_clock_ahead(3_600 * SECOND);
        assert!((3_629 * SECOND..3_631 * SECOND).contains(&moment.elapsed()), "{:?}", moment.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_wall_clock_that_is_set_back_changes_nothing() {
        let moment = Moment::now();
        set_wall_clock_back(3_600 * SECOND);
        assert_eq!(moment.elapsed(), Duration::ZERO);
        advance(30 * SECOND).await;
        assert_eq!(moment.elapsed(), 30 * SECOND);
        let deadline = Deadline::after(moment, 30 * SECOND);
        assert!(deadline.is_over());
    }

    #[tokio::test(start_paused = true)]
    async fn a_correction_of_the_wall_clock_is_no_suspend() {
        let moment = Moment::now();
        set_wall_clock_ahead(SECOND / 10);
        assert_eq!(moment.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_is_over_by_whichever_clock_is_first() {
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
    async fn a_suspend_is_noticed_and_time_that_passes_is_none() {
        let moment = Moment::now();
        advance(3_600 * SECOND).await;
        assert!(!moment.was_suspended_since());
        set_wall_clock_ahead(2 * SECOND);
        assert!(moment.was_suspended_since());
    }
}
