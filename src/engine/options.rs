//! What can be set on a consumer, and what holds where nothing is set.

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
    /// For a host that answers for the batch as a whole, as the next one.
    #[cfg_attr(not(feature = "lambda"), allow(dead_code, reason = "a worker answers for each message"))]
    pub(crate) fail_batch_on_any_failure: bool,
    #[cfg_attr(not(feature = "lambda"), allow(dead_code, reason = "a worker answers for each message"))]
    pub(crate) error_when_all_fail: bool,
    pub(crate) warn_from_receive_count: u32,
    /// Queues of which it was said that messages of a group come back unrun.
    pub(crate) warned_of_unrun: Warned,
    pub(crate) on_settled: Listeners,
    /// Without it nothing is done to the queue.
    pub(crate) on_failure: Option<Arc<dyn OnFailure>>,
    /// Without it a body is what the record says.
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
            // From the third receive on, SQS leaves the message out of ApproximateAgeOfOldestMessage: no alarm on the
            // queue's age sees it any more, so the log has to.
            warn_from_receive_count: 3,
            warned_of_unrun: Warned::default(),
            on_settled: Listeners::default(),
            on_failure: None,
            body_source: None,
        }
    }
}

/// The queues of which something was said that is said once. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Warned(Arc<Mutex<HashSet<String>>>);

impl Warned {
    /// Whether it is said of this queue for the first time.
    pub(crate) fn is_first(&self, queue_arn: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(queue_arn.to_owned())
    }
}

/// Sets the concurrency without a deploy.
const CONCURRENCY: &str = "REDRIVE_CONCURRENCY";

impl Options {
    /// These options, with what the environment overrides.
    pub(crate) fn with_environment(mut self) -> Self {
        if let Ok(value) = std::env::var(CONCURRENCY) {
            self.override_concurrency(&value);
        }
        self
    }

    /// A bad value is no reason not to start: a function that cannot start sends its whole queue to the DLQ.
    fn override_concurrency(&mut self, value: &str) {
        match value.trim().parse() {
            Ok(concurrency @ 1..) => self.concurrency = concurrency,
            _ => tracing::warn!(
                "{CONCURRENCY} is {value:?}, and should be a whole number from 1 on; going on with {}",
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
    fn the_environment_overrides_the_concurrency() {
        assert_eq!(overridden("12"), 12);
        assert_eq!(overridden(" 1 "), 1);
    }

    #[test]
    fn a_bad_override_is_passed_over() {
        for bad in ["", "0", "-1", "many", "1.5", "99999999999999999999999"] {
            assert_eq!(overridden(bad), 7, "{bad:?}");
        }
    }
}
