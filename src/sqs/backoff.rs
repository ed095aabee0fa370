//! Computes the delay before the next attempt from the number of earlier ones.

use std::ops::Range;
use std::time::Duration;

/// Delays that grow with each receive of a message.
///
/// ```
/// use std::time::Duration;
/// use redrive::Backoff;
///
/// let backoff = Backoff::exponential(Duration::from_secs(1)..Duration::from_secs(15 * 60));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a backoff has no effect until it is passed on"]
pub struct Backoff {
    first: Duration,
    most: Duration,
}

impl Backoff {
    /// Creates a backoff whose limit starts at the beginning of the range, doubles with each receive, and ends at the
    /// end of the range. Each delay is drawn evenly between zero and the limit ([full
    /// jitter](https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/)), so that messages which
    /// failed together are not retried together.
    ///
    /// SQS counts whole seconds, up to 12 hours from the receive. A delay is rounded up and clamped.
    pub fn exponential(range: Range<Duration>) -> Self {
        Self { first: range.start, most: range.end.max(range.start) }
    }

    /// Returns the longest delay after this many receives. [`delay`](Self::delay) returns a random one up to it.
    ///
    /// ```
    /// use std::time::Duration;
    /// use redrive::Backoff;
    ///
    /// let backoff = Backoff::exponential(Duration::from_secs(1)..Duration::from_secs(60));
    /// assert_eq!([1, 2, 3, 99].map(|count| backoff.max_delay(count).as_secs()), [1, 2, 4, 60]);
    /// ```
    pub fn max_delay(&self, receive_count: u32) -> Duration {
        let doublings = receive_count.saturating_sub(1);
        self.first.saturating_mul(2_u32.saturating_pow(doublings)).min(self.most)
    }

    /// Returns a random delay for a message with this receive count, or for a call with this many failures.
    pub fn delay(&self, receive_count: u32) -> Duration {
        self.max_delay(receive_count).mul_f64(fastrand::f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn limit_doubles_with_each_receive_up_to_the_maximum() {
        let backoff = Backoff::exponential(SECOND..SECOND * 10);
        let bounds = [0, 1, 2, 3, 4, 5, 6, u32::MAX].map(|count| backoff.max_delay(count).as_secs());
        assert_eq!(bounds, [1, 1, 2, 4, 8, 10, 10, 10]);
        assert_eq!(Backoff::exponential(SECOND * 5..SECOND).max_delay(9), SECOND * 5);
        assert_eq!(Backoff::exponential(Duration::ZERO..SECOND).max_delay(9), Duration::ZERO);
    }

    #[test]
    fn delays_are_spread_over_the_whole_range() {
        fastrand::seed(7);
        let backoff = Backoff::exponential(SECOND * 8..SECOND * 8);
        let mut seen = [0; 8];
        for _ in 0..800 {
            let delay = backoff.delay(1);
            assert!(delay < SECOND * 8);
            seen[usize::try_from(delay.as_secs()).unwrap()] += 1;
        }
        assert!(seen.iter().all(|&count| count > 50), "{seen:?}");
    }
}
