//! What a batch says of itself: spans, and one error event for each record that failed. Never a body.

use std::error::Error as StdError;
use std::fmt::Write as _;
use std::time::Instant;

use tracing::field::Empty;
use tracing::{Level, Span, debug_span, error, info, info_span, warn};

use super::board::Board;
use super::effect::{Effect, Failure};
use super::guard::Panicked;
use super::keeper::Fate;
use super::ledger::Status;
use super::source::Source;
use crate::extract::Rejection;
use crate::handler::{Classified, Observer, Options, RecordResult};
use crate::outcome::Outcome;
use crate::record::Record;

pub(super) fn batch_span(source: &Source, records: usize) -> Span {
    info_span!("batch", queue = source.queue_arn(), records, failed = Empty)
}

/// Called in the batch's span, when all lanes have come to their end.
pub(super) fn batch_end(board: &Board, statuses: &[Status], source: &Source, options: &Options) {
    let not_run = count(statuses, Status::NotRun);
    Span::current().record("failed", statuses.len() - count(statuses, Status::Done));
    if not_run > 0 {
        warn!(not_run, "records come back unrun, because one before them failed or has no message group");
        warn_of_unrun(board, statuses, source, options);
    }
}

/// Called in the batch's span, when the deadline came first.
pub(super) fn batch_cut_off(board: &Board, statuses: &[Status], source: &Source, options: &Options) {
    let (cut_off, not_run) = (count(statuses, Status::Running), count(statuses, Status::NotRun));
    Span::current().record("failed", statuses.len() - count(statuses, Status::Done));
    warn!(cut_off, not_run, "the deadline came first; records that were cut off or never began come back");
    for index in (0..statuses.len()).filter(|&index| statuses[index] == Status::Running) {
        let message_id = board.ledger().message_id(index);
        error!(message_id = message_id.as_deref(), error = "cut off at the deadline", "record failed");
    }
    warn_of_unrun(board, statuses, source, options);
}

/// Warns once a queue of messages of FIFO groups that come back unrun again and again. SQS counts each receive of them, and moves them to
/// the dead-letter queue at the queue's maxReceiveCount, though they never ran. The count is not known here without a permission, so the
/// warning comes at the count from which a record is warned about.
fn warn_of_unrun(board: &Board, statuses: &[Status], source: &Source, options: &Options) {
    let Some(queue) = source.queue_arn().filter(|_| source.fifo()) else { return };
    let not_run = (0..statuses.len()).filter(|&index| statuses[index] == Status::NotRun);
    let receive_count = not_run.filter_map(|index| board.ledger().record(index).receive_count()).max();
    let Some(receive_count) = receive_count.filter(|count| *count >= options.warn_from_receive_count) else { return };
    if options.warned_of_unrun.is_first(queue) {
        warn!(
            queue,
            receive_count,
            "messages of a FIFO group come back unrun behind one that fails, and each receive counts: at the queue's \
             maxReceiveCount SQS moves them to the dead-letter queue, though they never ran; raise maxReceiveCount, or send the \
             message that fails to the dead-letter queue with `.effects(..)`. This is said once a queue"
        );
    }
}

fn count(statuses: &[Status], status: Status) -> usize {
    statuses.iter().filter(|&&each| each == status).count()
}

/// A record from its begin to its end, as its span and the log have it.
pub(super) struct Run {
    record: Record,
    span: Span,
    /// Known where the span is wanted, which has the duration.
    began: Option<Instant>,
    outcome: &'static str,
    why: Option<String>,
    observer: Observer,
}

/// What is to become of a record whose run is over.
pub(super) struct Verdict {
    /// In the span.
    name: &'static str,
    pub(super) outcome: Outcome,
    /// With its causes.
    pub(super) error: Option<String>,
    /// Whether an extractor has found the message malformed.
    is_malformed: bool,
}

/// What has become of a record: the outcome's name in the span, whether the record leaves the queue, and the error or the
/// reason, where there is one.
pub(super) struct End {
    outcome: &'static str,
    passed: bool,
    is_delayed: bool,
    why: Option<String>,
}

impl End {
    /// What a keeper is told.
    pub(super) fn fate(&self) -> Fate {
        match (self.passed, self.is_delayed) {
            (true, _) => Fate::Done,
            (false, true) => Fate::Delayed,
            (false, false) => Fate::ComesBack,
        }
    }

    /// The same end, where its line may go on.
    pub(super) fn only_if(self, goes_on: bool) -> Self {
        Self { passed: self.passed && goes_on, ..self }
    }
}

impl Run {
    pub(super) fn begin(record: Record, options: &Options) -> Self {
        // At debug, and not at info, because a span costs a subscriber more than all the rest costs us: with thousands
        // of records in a batch that is for the user to decide. Events about a record name it themselves.
        let span = debug_span!(
            "record",
            message_id = record.message_id().as_deref(),
            receive_count = record.receive_count(),
            group = record.attribute("MessageGroupId").ok().flatten().as_deref(),
            outcome = Empty,
            duration_ms = Empty,
        );
        span.in_scope(|| warn_of_receives(&record, options));
        let began = (!span.is_disabled()).then(Instant::now);
        // A record whose run is dropped before its end was cancelled.
        Self { record, span, began, outcome: "cut_off", why: None, observer: options.observer.clone() }
    }

    pub(super) fn record(&self) -> &Record {
        &self.record
    }

    pub(super) fn span(&self) -> &Span {
        &self.span
    }

    /// Ends the run, and says whether the record leaves the queue.
    pub(super) fn end(mut self, end: End) -> bool {
        self.outcome = end.outcome;
        self.why = end.why;
        end.passed
    }

    /// The verdict on a run that may have ended in a panic: the record does not leave the queue then.
    pub(super) fn verdict(&self, verdict: Result<Verdict, Panicked>) -> Verdict {
        verdict.unwrap_or_else(|panicked| self.panicked(&panicked))
    }

    pub(super) fn panicked(&self, panicked: &Panicked) -> Verdict {
        let error = panicked.to_string();
        let message_id = self.record.message_id();
        self.span.in_scope(|| error!(message_id = message_id.as_deref(), error, "record failed"));
        Verdict { name: "panic", outcome: Outcome::Retry, error: Some(error), is_malformed: false }
    }

    pub(super) fn warn_of_a_lost_dead_letter(&self) {
        let message_id = self.record.message_id();
        let message_id = message_id.as_deref();
        self.span.in_scope(|| {
            warn!(
                message_id,
                "the record is in the dead-letter queue, but was lost to others meanwhile: it may run there too"
            );
        });
    }

    /// Logs what came of the record, and says what is to become of it. Runs under the guard: it shows the user's error.
    pub(super) fn report(&self, result: RecordResult) -> Verdict {
        let (outcome, error, is_malformed) = match result {
            Ok(Outcome::Done) => {
                return Verdict { name: "done", outcome: Outcome::Done, error: None, is_malformed: false };
            }
            Ok(outcome) => (outcome, None, false),
            Err(error) => match error.downcast::<Classified>() {
                Ok(classified) => (classified.outcome, Some(classified.error), false),
                // An extractor's. A rejection that a handler returns is classified, so it is none of these.
                Err(error) => {
                    let is_malformed = error.downcast_ref::<Rejection>().is_some_and(Rejection::is_malformed);
                    (Outcome::Retry, Some(error), is_malformed)
                }
            },
        };
        let chained = error.map(|error| chain(error.as_ref()));
        let error = chained.as_deref();
        let message_id = self.record.message_id();
        let message_id = message_id.as_deref();
        let name = match &outcome {
            Outcome::Done => {
                info!(message_id, error, "record done, in spite of its error");
                "done"
            }
            Outcome::Discard(reason) => {
                info!(message_id, %reason, error, "record discarded");
                "discard"
            }
            Outcome::Retry => {
                error!(message_id, error = error.unwrap_or("the handler asks for a retry"), "record failed");
                "retry"
            }
            Outcome::RetryAfter(delay) => {
                error!(message_id, error, ?delay, "record failed");
                "retry_after"
            }
            Outcome::DeadLetter(reason) => {
                error!(message_id, error, %reason, "record failed");
                "dead_letter"
            }
        };
        Verdict { name, outcome, error: chained, is_malformed }
    }
}

impl Verdict {
    /// Whether the record leaves the queue, whatever can be done to that.
    pub(super) fn passes(&self) -> bool {
        matches!(self.outcome, Outcome::Done | Outcome::Discard(_))
    }

    /// The failure that it is of that record.
    pub(super) fn failure_of<'a>(&'a self, record: &'a Record) -> Failure<'a> {
        Failure { record, outcome: &self.outcome, error: self.error.as_deref(), is_malformed: self.is_malformed }
    }

    /// The end of a record for which nothing is done at the queue.
    pub(super) fn end_without_effect(self, run: &Run) -> End {
        run.span.in_scope(|| self.warn_without_effect(&run.record));
        self.end(Effect::ComesBack)
    }

    fn warn_without_effect(&self, record: &Record) {
        let message_id = record.message_id();
        let message_id = message_id.as_deref();
        match self.outcome {
            Outcome::RetryAfter(_) => {
                warn!(message_id, "RetryAfter needs `.effects(..)`: the record comes back after the visibility timeout")
            }
            Outcome::DeadLetter(_) => warn!(
                message_id,
                "DeadLetter needs `.effects(..)`: the record is retried until the RedrivePolicy moves it"
            ),
            _ => {}
        }
    }

    pub(super) fn end(self, effect: Effect) -> End {
        let passed = self.passes() || effect == Effect::DeadLettered;
        let outcome = match effect {
            Effect::ComesBack => self.name,
            Effect::Delayed => "retry_after",
            Effect::DeadLettered => "dead_letter",
        };
        let reason = match self.outcome {
            Outcome::Discard(reason) | Outcome::DeadLetter(reason) => Some(reason.into_owned()),
            _ => None,
        };
        End { outcome, passed, is_delayed: effect == Effect::Delayed, why: self.error.or(reason) }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.observer.tell(&self.record, self.outcome, self.why.as_deref());
        if let Some(began) = self.began {
            let duration_ms = began.elapsed().as_secs_f64() * 1e3;
            tracing::record_all!(self.span, outcome = self.outcome, duration_ms);
        }
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
