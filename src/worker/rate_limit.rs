//! How many messages may begin by now.

use std::time::Duration;

use tokio::time::Instant;

/// A bucket that fills at a steady rate, up to what a second brings, and at least one.
#[derive(Clone, Copy, Debug)]
pub(super) struct RateLimit {
    per_second: f64,
    tokens: f64,
    at: Instant,
}

impl RateLimit {
    pub(super) fn new(per_second: f64, now: Instant) -> Self {
        Self { per_second, tokens: per_second.max(1.0), at: now }
    }

    /// Takes as many as there are, up to the most. If there is none: how long until there is one.
    pub(super) fn take(&mut self, most: usize, now: Instant) -> Result<usize, Duration> {
        self.fill(now);
        if self.tokens < 1.0 {
            // What takes longer than a duration can tell never comes.
            let wait = Duration::try_from_secs_f64((1.0 - self.tokens) / self.per_second);
            return Err(wait.unwrap_or(Duration::MAX));
        }
        let taken = (self.tokens as usize).min(most);
        self.tokens -= taken as f64;
        Ok(taken)
    }

    /// Gives back what was taken for messages that did not come.
    pub(super) fn give_back(&mut self, count: usize, now: Instant) {
        self.fill(now);
        self.tokens = (self.tokens + count as f64).min(self.most());
    }

    fn fill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.tokens = (self.tokens + passed * self.per_second).min(self.most());
        self.at = now;
    }

    fn most(&self) -> f64 {
        self.per_second.max(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn no_more_than_the_rate_after_a_first_second() {
        let now = Instant::now();
        let mut rate_limit = RateLimit::new(5.0, now);
        assert_eq!(rate_limit.take(10, now), Ok(5));
        assert_eq!(rate_limit.take(10, now), Err(SECOND / 5));
        assert_eq!(rate_limit.take(10, now + SECOND / 2), Ok(2));
        assert_eq!(rate_limit.take(1, now + SECOND * 100), Ok(1), "no more than asked for");
        assert_eq!(rate_limit.take(10, now + SECOND * 100), Ok(4), "and no more than a second's worth");
    }

    #[test]
    fn a_rate_below_one_is_one_now_and_then() {
        let now = Instant::now();
        let mut rate_limit = RateLimit::new(0.1, now);
        assert_eq!(rate_limit.take(10, now), Ok(1));
        assert_eq!(rate_limit.take(10, now + SECOND), Err(SECOND * 9));
        assert_eq!(rate_limit.take(10, now + SECOND * 11), Ok(1));
    }

    #[test]
    fn a_rate_of_next_to_nothing_is_one_for_good() {
        let now = Instant::now();
        for rate in [1e-20, f64::MIN_POSITIVE, 5e-324] {
            let mut rate_limit = RateLimit::new(rate, now);
            assert_eq!(rate_limit.take(10, now), Ok(1));
            assert!(rate_limit.take(10, now).is_err_and(|wait| wait > SECOND * 1_000_000_000), "{rate}");
        }
    }

    #[test]
    fn what_was_not_needed_is_given_back() {
        let now = Instant::now();
        let mut rate_limit = RateLimit::new(5.0, now);
        assert_eq!(rate_limit.take(5, now), Ok(5));
        rate_limit.give_back(4, now);
        assert_eq!(rate_limit.take(10, now), Ok(4));
    }
}
