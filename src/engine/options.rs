//! The options of a consumer and their defaults.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::body_source::BodySource;
use super::fifo::Fifo;
use super::on_failure::OnFailure;
use super::settled::Listeners;

#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) concurrency: usize,
    pub(crate) deadline_margin: Duration,
    pub(crate) fifo: Fifo,
    /// Read by a host that answers for the whole batch, as is the next option.
    #[cfg_attr(not(feature = "lambda"), allow(dead_code, reason = "a worker settles each message on its own"))]
    pub(crate) fail_batch_on_any_failure: bool,
    #[cfg_attr(not(feature = "lambda"), allow(dead_code, reason = "a worker settles each message on its own"))]
    pub(crate) error_when_all_fail: bool,
    pub(crate) warn_from_receive_count: u32,
    /// Queues for which the warning about unrun messages was logged.
    pub(crate) warned_of_unrun: Warned,
    pub(crate) on_settled: Listeners,
    /// Performs actions at the queue. Without it, failed records return after their visibility timeout.
    pub(crate) on_failure: Option<Arc<dyn OnFailure>>,
    /// Fetches bodies that are stored elsewhere. Without it, the record's own body is used.
    pub(crate) body_source: Option<Arc<dyn BodySource>>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            concurrency: 64,
            deadline_margin: Duration::from_millis(200),
            fifo: Fifo::default(),
            fail_batch_on_any_failure: false,
            error_when_all_fail: false,
            // From the third receive on, SQS leaves the message out of ApproximateAgeOfOldestMessage. An alarm on that
            // metric does not see it, so the log has to.
            warn_from_receive_count: 3,
            warned_of_unrun: Warned::default(),
            on_settled: Listeners::default(),
            on_failure: None,
            body_source: None,
        }
    }
}

/// The queues for which a one-time warning was logged. Clones share the set.
#[derive(Clone, Debug, Default)]
pub(crate) struct Warned(Arc<Mutex<HashSet<String>>>);

impl Warned {
    /// Returns true at the first call for this queue.
    pub(crate) fn is_first(&self, queue_arn: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(queue_arn.to_owned())
    }
}

/// Overrides the concurrency without a deploy.
const CONCURRENCY: &str = "REDRIVE_CONCURRENCY";

impl Options {
    /// Returns these options with the overrides of the environment.
    pub(crate) fn with_environment(mut self) -> Self {
        if let Ok(value) = std::env::var(CONCURRENCY) {
            self.override_concurrency(&value);
        }
        self
    }

    /// Overrides the concurrency. A bad value only logs a warning: a function that cannot start sends its whole queue
    /// to the DLQ.
    fn override_concurrency(&mut self, value: &str) {
        match value.trim().parse() {
            Ok(concurrency @ 1..) => self.concurrency = concurrency,
            _ => tracing::warn!(
                "{CONCURRENCY} is {value:?}, not a whole number of 1 or more; using {}",
                self.concurrency
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overridden(value: &str) -> usize {
        let mut options = Options { concurrency: 7, ..Options::default() };
        options.override_concurrency(value);
        options.concurrency
    }

    #[test]
    fn environment_overrides_the_concurrency() {
        assert_eq!(overridden("12"), 12);
        assert_eq!(overridden(" 1 "), 1);
    }

    #[test]
    fn bad_override_is_ignored() {
        for bad in ["", "0", "-1", "many", "1.5", "99999999999999999999999"] {
            assert_eq!(overridden(bad), 7, "{bad:?}");
        }
    }
}
