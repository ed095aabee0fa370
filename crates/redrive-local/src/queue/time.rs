//! Represents time, which callers pass to the queue.

use std::ops::Add;
use std::time::Duration;

/// A point in time in whole milliseconds since 1970, like SQS's `SentTimestamp`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(u64);

impl Time {
    /// Returns the time this many milliseconds after the beginning of 1970, UTC.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Returns the milliseconds since the beginning of 1970, UTC.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Returns the whole seconds since the beginning of 1970, UTC.
    pub const fn as_secs(self) -> u64 {
        self.0 / 1_000
    }

    /// Returns the time since an earlier point, or zero if that point is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

/// Rounds up to a whole millisecond. A wait that ends too early would find nothing.
impl Add<Duration> for Time {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        let millis = duration.as_nanos().div_ceil(1_000_000);
        Self(self.0.saturating_add(u64::try_from(millis).unwrap_or(u64::MAX)))
    }
}
