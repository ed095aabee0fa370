//! The run of one record and its verdict, for the span and the log. Bodies are never logged.

use std::error::Error as StdError;
use std::fmt::Write as _;
use std::time::Instant;

use tracing::field::Empty;
use tracing::{Level, Span, debug_span, error, info, warn};

use super::cancel::Cancel;
use super::guard::Panicked;
use super::on_failure::Failure;
use super::options::Options;
use super::service::{Classified, RecordResult};
use crate::extract::Rejection;
use crate::outcome::Outcome;
use crate::record::Record;

/// A record from start to end.
pub(super) struct Run {
    record: Record,
    span: Span,
    /// The start time, if the span is enabled and needs a duration.
    began: Option<Instant>,
    outcome: &'static str,
}

/// The result of a run. The action that follows from it is chosen elsewhere.
pub(super) struct Verdict {
    pub(super) outcome: Outcome,
    pub(super) cause: Cause,
    /// The error with its causes.
    pub(super) error: Option<String>,
}

/// The origin of an outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// The handler, a layer, or an extractor that did not find the message malformed.
    Handler,
    /// An extractor found the message malformed.
    Malformed,
    Panicked,
    Cancelled(Cancel),
}

impl Run {
    pub(super) fn begin(record: Record, options: &Options) -> Self {
        // At debug and not at info, because a span costs a subscriber more than the rest of the run. The user decides
        // that for thousands of records. So events about a record carry its id themselves.
        let span = debug_span!(
            "record",
            message_id = record.message_id().as_deref(),
            receive_count = record.receive_count(),
            group = record.group_id().ok().flatten().as_deref(),
            outcome = Empty,
            duration_ms = Empty,
        );
        span.in_scope(|| warn_of_receives(&record, options));
        let began = (!span.is_disabled()).then(Instant::now);
        // A run that is dropped before its end was cancelled.
        Self { record, span, began, outcome: "cut_off" }
    }

    pub(super) fn record(&self) -> &Record {
        &self.record
    }

    pub(super) fn span(&self) -> &Span {
        &self.span
    }

    /// Ends the run with that outcome in its span.
    pub(super) fn end(mut self, outcome: &'static str) {
        self.outcome = outcome;
    }

    /// Returns the verdict on a panic: the record is retried.
    pub(super) fn panicked(&self, panicked: &Panicked) -> Verdict {
        let error = panicked.to_string();
        let message_id = self.record.message_id();
        self.span.in_scope(|| error!(message_id = message_id.as_deref(), error, "record failed"));
        Verdict { outcome: Outcome::Retry, cause: Cause::Panicked, error: Some(error) }
    }

    pub(super) fn warn_of_a_lost_dead_letter(&self) {
        let message_id = self.record.message_id();
        let message_id = message_id.as_deref();
        self.span.in_scope(|| {
            warn!(message_id, "lost the lease of a dead-lettered record; another consumer may run it too");
        });
    }

    /// Logs the result of the record and returns its verdict. It runs under the guard because it calls `Display` of the
    /// user's error.
    pub(super) fn report(&self, result: RecordResult) -> Verdict {
        let (outcome, error, cause) = match result {
            Ok(Outcome::Done) => {
                return Verdict { outcome: Outcome::Done, cause: Cause::Handler, error: None };
            }
            Ok(outcome) => (outcome, None, Cause::Handler),
            Err(error) => match error.downcast::<Classified>() {
                Ok(classified) => (classified.outcome, Some(classified.error), Cause::Handler),
                Err(error) => {
                    let cause = Cause::of(error.as_ref());
                    (Outcome::Retry, Some(error), cause)
                }
            },
        };
        let chained = error.map(|error| chain(error.as_ref()));
        let error = chained.as_deref();
        let message_id = self.record.message_id();
        let message_id = message_id.as_deref();
        match &outcome {
            Outcome::Done => info!(message_id, error, "record done despite its error"),
            Outcome::Discard(reason) => info!(message_id, %reason, error, "record discarded"),
            Outcome::Retry => {
                error!(message_id, error = error.unwrap_or("the handler asks for a retry"), "record failed");
            }
            Outcome::RetryAfter(delay) => error!(message_id, error, ?delay, "record failed"),
            Outcome::DeadLetter(reason) => error!(message_id, error, %reason, "record failed"),
        }
        Verdict { outcome, cause, error: chained }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if let Some(began) = self.began {
            let duration_ms = began.elapsed().as_secs_f64() * 1e3;
            tracing::record_all!(self.span, outcome = self.outcome, duration_ms);
        }
    }
}

impl Cause {
    /// Returns the cause of an error without an outcome. A rejection returned by a handler has an outcome, so a
    /// rejection here comes from an extractor.
    fn of(error: &(dyn StdError + Send + Sync + 'static)) -> Self {
        match (error.downcast_ref::<Cancel>(), error.downcast_ref::<Rejection>()) {
            (Some(cancel), _) => Self::Cancelled(*cancel),
            (None, Some(rejection)) if rejection.is_malformed() => Self::Malformed,
            (None, Some(_) | None) => Self::Handler,
        }
    }
}

impl Verdict {
    /// Returns whether the record is retried unless an action at the queue prevents that.
    pub(super) fn is_failure(&self) -> bool {
        match self.outcome {
            Outcome::Done | Outcome::Discard(_) => false,
            Outcome::Retry | Outcome::RetryAfter(_) | Outcome::DeadLetter(_) => true,
        }
    }

    /// Returns the failure of that record.
    pub(super) fn failure_of<'a>(&'a self, record: &'a Record) -> Failure<'a> {
        let is_malformed = self.cause == Cause::Malformed;
        Failure { record, outcome: &self.outcome, error: self.error.as_deref(), is_malformed }
    }

    /// Returns the error, or the handler's reason if there is no error.
    pub(super) fn why(&self) -> Option<&str> {
        let reason = match &self.outcome {
            Outcome::Discard(reason) | Outcome::DeadLetter(reason) => Some(&**reason),
            Outcome::Done | Outcome::Retry | Outcome::RetryAfter(_) => None,
        };
        self.error.as_deref().or(reason)
    }

    /// Returns the name for the span.
    pub(super) fn name(&self) -> &'static str {
        match (&self.outcome, self.cause) {
            (Outcome::Retry, Cause::Panicked) => "panic",
            (Outcome::Done, _) => "done",
            (Outcome::Discard(_), _) => "discard",
            (Outcome::Retry, Cause::Handler | Cause::Malformed | Cause::Cancelled(_)) => "retry",
            (Outcome::RetryAfter(_), _) => "retry_after",
            (Outcome::DeadLetter(_), _) => "dead_letter",
        }
    }

    /// Warns about an outcome that needs effects if the consumer has none.
    pub(super) fn warn_without_effects(&self, run: &Run) {
        let problem = match self.outcome {
            Outcome::Done | Outcome::Discard(_) | Outcome::Retry => return,
            Outcome::RetryAfter(_) => {
                "RetryAfter needs `.effects(..)`: the record is retried after the visibility timeout"
            }
            Outcome::DeadLetter(_) => {
                "DeadLetter needs `.effects(..)`: the record is retried until the RedrivePolicy moves it"
            }
        };
        let message_id = run.record.message_id();
        run.span.in_scope(|| warn!(message_id = message_id.as_deref(), "{problem}"));
    }
}

fn warn_of_receives(record: &Record, options: &Options) {
    if !tracing::enabled!(Level::WARN) {
        return;
    }
    if let Some(count) = record.receive_count().filter(|count| *count >= options.warn_from_receive_count) {
        let message_id = record.message_id();
        warn!(
            message_id = message_id.as_deref(),
            receive_count = count,
            "received a record again; it may be a poison message"
        );
    }
}

/// The maximum number of causes in a log line. An error may be its own cause, so the chain needs a limit.
const MAX_CAUSES: usize = 16;

/// Returns an error with its causes, in one line.
fn chain(error: &dyn StdError) -> String {
    let mut text = String::new();
    let causes = std::iter::successors(Some(error), |&error| error.source()).take(MAX_CAUSES);
    for (position, cause) in causes.enumerate() {
        let separator = if position == 0 { "" } else { ": " };
        // A failed `Display` only leaves a gap in the text.
        let _ = write!(text, "{separator}{cause}");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::fmt;

    use super::*;

    #[derive(Debug)]
    struct EndlessError;

    impl fmt::Display for EndlessError {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("again")
        }
    }

    impl StdError for EndlessError {
        fn source(&self) -> Option<&(dyn StdError + 'static)> {
            Some(&EndlessError)
        }
    }

    #[test]
    fn chain_includes_causes_up_to_the_limit() {
        let error = anyhow::anyhow!("disk full").context("cannot store").context("order 7");
        assert_eq!(chain(error.as_ref()), "order 7: cannot store: disk full");
        assert_eq!(chain(&EndlessError).matches("again").count(), MAX_CAUSES);
    }

    #[derive(Debug)]
    struct Speechless(std::io::Error);

    impl fmt::Display for Speechless {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            Err(fmt::Error)
        }
    }

    impl StdError for Speechless {
        fn source(&self) -> Option<&(dyn StdError + 'static)> {
            Some(&self.0)
        }
    }

    #[test]
    fn failed_display_leaves_a_gap_in_the_chain() {
        let error = anyhow::Error::new(Speechless(std::io::Error::other("disk full"))).context("order 7");
        assert_eq!(chain(error.as_ref()), "order 7: : disk full");
    }
}
