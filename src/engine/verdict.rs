//! How the run of a record ended, as its span and the log have it. Never a body.

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

/// A record from its begin to its end.
pub(super) struct Run {
    record: Record,
    span: Span,
    /// Known where the span is wanted, which has the duration.
    began: Option<Instant>,
    outcome: &'static str,
}

/// How a run ended. It does not say what is done about that.
pub(super) struct Verdict {
    pub(super) outcome: Outcome,
    pub(super) cause: Cause,
    /// With its causes.
    pub(super) error: Option<String>,
}

/// Who or what said so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// The handler, a layer, or an extractor that did not find the message malformed.
    Handler,
    /// An extractor has found the message malformed.
    Malformed,
    Panicked,
    Cancelled(Cancel),
}

impl Run {
    pub(super) fn begin(record: Record, options: &Options) -> Self {
        // At debug, and not at info, because a span costs a subscriber more than all the rest costs us: with thousands
        // of records in a batch that is for the user to decide. Events about a record name it themselves.
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
        // A record whose run is dropped before its end was cancelled.
        Self { record, span, began, outcome: "cut_off" }
    }

    pub(super) fn record(&self) -> &Record {
        &self.record
    }

    pub(super) fn span(&self) -> &Span {
        &self.span
    }

    /// Ends the run, with that outcome in its span.
    pub(super) fn end(mut self, outcome: &'static str) {
        self.outcome = outcome;
    }

    /// The verdict on a run that ended in a panic: the record does not leave the queue.
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
            warn!(
                message_id,
                "the record is in the dead-letter queue, but its lease was lost meanwhile: another consumer may run it too"
            );
        });
    }

    /// Logs what came of the record, and says what is to become of it. Runs under the guard: it shows the user's error.
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
            Outcome::Done => info!(message_id, error, "record done, in spite of its error"),
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
    /// Of an error that has no outcome on it. A rejection that a handler returns has one, so a rejection here is an extractor's own.
    fn of(error: &(dyn StdError + Send + Sync + 'static)) -> Self {
        match (error.downcast_ref::<Cancel>(), error.downcast_ref::<Rejection>()) {
            (Some(cancel), _) => Self::Cancelled(*cancel),
            (None, Some(rejection)) if rejection.is_malformed() => Self::Malformed,
            (None, Some(_) | None) => Self::Handler,
        }
    }
}

impl Verdict {
    /// Returns whether the record comes back, unless something is done at the queue about that.
    pub(super) fn is_failure(&self) -> bool {
        match self.outcome {
            Outcome::Done | Outcome::Discard(_) => false,
            Outcome::Retry | Outcome::RetryAfter(_) | Outcome::DeadLetter(_) => true,
        }
    }

    /// The failure that it is of that record.
    pub(super) fn failure_of<'a>(&'a self, record: &'a Record) -> Failure<'a> {
        let is_malformed = self.cause == Cause::Malformed;
        Failure { record, outcome: &self.outcome, error: self.error.as_deref(), is_malformed }
    }

    /// The error, or the reason that the handler gave in its place.
    pub(super) fn why(&self) -> Option<&str> {
        let reason = match &self.outcome {
            Outcome::Discard(reason) | Outcome::DeadLetter(reason) => Some(&**reason),
            Outcome::Done | Outcome::Retry | Outcome::RetryAfter(_) => None,
        };
        self.error.as_deref().or(reason)
    }

    /// Its name in the span.
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

    /// Warns of an outcome that needs effects, in a consumer that has none.
    pub(super) fn warn_without_effects(&self, run: &Run) {
        let problem = match self.outcome {
            Outcome::Done | Outcome::Discard(_) | Outcome::Retry => return,
            Outcome::RetryAfter(_) => {
                "RetryAfter needs `.effects(..)`: the record comes back after the visibility timeout"
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
            "the record came back again; it may be poison"
        );
    }
}

/// Causes beyond this are left out: an error may be its own cause.
const MAX_CAUSES: usize = 16;

/// An error with all its causes, in one line.
fn chain(error: &dyn StdError) -> String {
    let mut text = String::new();
    let causes = std::iter::successors(Some(error), |&error| error.source()).take(MAX_CAUSES);
    for (position, cause) in causes.enumerate() {
        let separator = if position == 0 { "" } else { ": " };
        // A `Display` that fails leaves a gap in the log, and nothing else.
        let _ = write!(text, "{separator}{cause}");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::fmt;

    use super::*;

    #[derive(Debug)]
    struct Endless;

    impl fmt::Display for Endless {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("again")
        }
    }

    impl StdError for Endless {
        fn source(&self) -> Option<&(dyn StdError + 'static)> {
            Some(&Endless)
        }
    }

    #[test]
    fn a_chain_has_all_causes_but_has_an_end() {
        let error = anyhow::anyhow!("disk full").context("cannot store").context("order 7");
        assert_eq!(chain(error.as_ref()), "order 7: cannot store: disk full");
        assert_eq!(chain(&Endless).matches("again").count(), MAX_CAUSES);
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
    fn an_error_that_cannot_be_shown_leaves_a_gap_in_its_chain() {
        let error = anyhow::Error::new(Speechless(std::io::Error::other("disk full"))).context("order 7");
        assert_eq!(chain(error.as_ref()), "order 7: : disk full");
    }
}
