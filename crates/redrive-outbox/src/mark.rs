//! The result of sending a row, and its consequence for the row.

use std::time::Duration;

use redrive::Backoff;
use redrive::{SendError, Sent};
use serde::Serialize;

use super::pauses::is_of_the_queue;
use super::row::Row;

/// The treatment of a group's messages behind a parked one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhenParked {
    /// They wait until the parked message is retried or deleted, so a group's order always holds. Other groups
    /// continue.
    #[default]
    Hold,
    /// They are sent. Messages that a relay with the other setting held continue within a minute, before newer ones.
    GoOn,
}

impl WhenParked {
    pub(super) fn holds(self) -> bool {
        self == Self::Hold
    }
}

/// When a failed row is tried again, and when it is parked.
#[derive(Clone, Debug)]
pub(super) struct Policy {
    pub(super) backoff: Backoff,
    pub(super) park_after: u32,
    pub(super) when_parked: WhenParked,
}

/// The result of an attempt, as it is written to the row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    id: i64,
    /// Attempts before this one. A mark that is written twice finds a higher number and changes nothing.
    attempts: u32,
    what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    Sent { message_id: String },
    Again { delay: Duration, error: String, is_refused: bool },
    Parked { error: String },
}

impl Policy {
    /// Decides the consequence of an attempt for its row.
    pub(super) fn judge(&self, row: &Row, attempt: Result<Sent, SendError>) -> Mark {
        let what = match attempt {
            Ok(sent) => What::Sent { message_id: sent.message_id().to_owned() },
            Err(error) => self.judge_failure(row, &error),
        };
        Mark { id: row.id, attempts: row.attempts, what }
    }

    /// Counts only faults of the message itself. A missing queue, a missing permission or a network failure would
    /// otherwise park every message.
    fn judge_failure(&self, row: &Row, error: &SendError) -> What {
        let is_refused = error.is_too_large() || (error.is_refused() && !is_of_the_queue(error));
        let error = error.to_string();
        if is_refused && row.refusals.saturating_add(1) >= self.park_after {
            return What::Parked { error };
        }
        What::Again { delay: self.backoff.delay(row.attempts.saturating_add(1)), error, is_refused }
    }

    /// Returns whether the rows behind this one may be sent.
    pub(super) fn goes_on_after(&self, mark: &Mark) -> bool {
        match mark.what {
            What::Sent { .. } => true,
            What::Again { .. } => false,
            What::Parked { .. } => !self.when_parked.holds(),
        }
    }
}

impl Mark {
    pub(super) fn is_sent(&self) -> bool {
        matches!(self.what, What::Sent { .. })
    }

    /// Returns the error for which the row is parked.
    pub(super) fn parked_for(&self) -> Option<&str> {
        match &self.what {
            What::Parked { error } => Some(error),
            _ => None,
        }
    }

    /// Returns the error of a failed attempt.
    pub(super) fn failed_for(&self) -> Option<&str> {
        match &self.what {
            What::Again { error, .. } => Some(error),
            _ => None,
        }
    }
}

#[derive(Serialize)]
struct SentJson<'a> {
    id: i64,
    message_id: &'a str,
}

#[derive(Serialize)]
struct FailedJson {
    id: i64,
    attempts: u32,
    state: &'static str,
    refusals: u8,
    error: String,
    delay_ms: i64,
}

/// Formats the marks for a statement: first sent rows, then the others. Each is `None` if it has no rows.
pub(super) fn as_json(marks: &[Mark]) -> (Option<String>, Option<String>) {
    let (mut sent, mut failed) = (Vec::new(), Vec::new());
    for Mark { id, attempts, what } in marks {
        match what {
            What::Sent { message_id } => sent.push(SentJson { id: *id, message_id }),
            What::Again { delay, error, is_refused } => failed.push(FailedJson {
                id: *id,
                attempts: *attempts,
                state: "pending",
                refusals: u8::from(*is_refused),
                error: shortened(error),
                delay_ms: super::store::millis(*delay),
            }),
            What::Parked { error } => {
                let (id, attempts, error) = (*id, *attempts, shortened(error));
                failed.push(FailedJson { id, attempts, state: "parked", refusals: 1, error, delay_ms: 0 })
            }
        }
    }
    (json(&sent), json(&failed))
}

fn json<T: Serialize>(marks: &[T]) -> Option<String> {
    // Serializing numbers and strings cannot fail.
    if marks.is_empty() { None } else { serde_json::to_string(marks).ok() }
}

/// The longest stored error, in characters. People read it.
const LONGEST_ERROR: usize = 1_000;

/// Shortens an error for its column, and drops NUL, which PostgreSQL does not store in text.
fn shortened(error: &str) -> String {
    error.chars().filter(|&char| char != '\0').take(LONGEST_ERROR).collect()
}
