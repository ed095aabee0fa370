//! Limits how many messages begin in a second.

use std::time::Duration;

use tokio::time::Instant;

/// A token bucket that fills at a steady rate. It holds the tokens of one second, and at least one.
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

    /// Takes as many tokens as there are, at most `most`. If there is none, returns the time until there is one.
    pub(super) fn take(&mut self, most: usize, now: Instant) -> Result<usize, Duration> {
        self.fill(now);
        if self.tokens < 1.0 {
            // A wait that is longer than a `Duration` never ends.
            let wait = Duration::try_from_secs_f64((1.0 - self.tokens) / self.per_second);
            return Err(wait.unwrap_or(Duration::MAX));
        }
        let taken = (self.tokens as usize).min(most);
        self.tokens -= taken as f64;
        Ok(taken)
    }

    /// Returns the tokens of messages that were not received.
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
    fn a_bucket_gives_one_second_of_tokens_and_then_the_rate() {
        let now = Instant::now();
        let mut rate_limit = RateLimit::new(5.0, now);
        assert_eq!(rate_limit.take(10, now), Ok(5));
        assert_eq!(rate_limit.take(10, now), Err(SECOND / 5));
        assert_eq!(rate_limit.take(10, now + SECOND / 2), Ok(2));
        assert_eq!(rate_limit.take(1, now + SECOND * 100), Ok(1), "a take is limited by its argument");
        assert_eq!(rate_limit.take(10, now + SECOND * 100), Ok(4), "the bucket holds the tokens of one second");
    }

    #[test]
    fn a_rate_below_one_gives_a_token_every_few_seconds() {
        let now = Instant::now();
        let mut rate_limit = RateLimit::new(0.1, now);
        assert_eq!(rate_limit.take(10, now), Ok(1));
        assert_eq!(rate_limit.take(10, now + SECOND), Err(SECOND * 9));
        assert_eq!(rate_limit.take(10, now + SECOND * 11), Ok(1));
    }

    #[test]
    fn a_tiny_rate_gives_one_token_and_then_none() {
        let now = Instant::now();
        for rate in [1e-20, f64::MIN_POSITIVE, 5e-324] {
            let mut rate_limit = RateLimit::new(rate, now);
            assert_eq!(rate_limit.take(10, now), Ok(1));
            assert!(rate_limit.take(10, now).is_err_and(|wait| wait > SECOND * 1_000_000_000), "{rate}");
        }
    }

    #[test]
    fn returned_tokens_can_be_taken_again() {
        let now = Instant::now();
        let mut rate_limit = RateLimit::new(5.0, now);
        assert_eq!(rate_limit.take(5, now), Ok(5));
        rate_limit.give_back(4, now);
        assert_eq!(rate_limit.take(10, now), Ok(4));
    }
}
