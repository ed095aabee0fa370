//! The result of sending a row, and its consequence for the row.

use std::time::Duration;

use redrive::Backoff;
use redrive::{SendError, Sent};
use serde::Serialize;

use super::circuit_breaker::is_of_the_queue;
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
pub struct RowResult {
    id: i64,
    /// Attempts before this one. A result that is written twice finds a higher number and changes nothing.
    attempts: u32,
    update: RowUpdate,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum RowUpdate {
    Sent { message_id: String },
    Retry { delay: Duration, error: String, is_refused: bool },
    Parked { error: String },
}

impl Policy {
    /// Decides the consequence of an attempt for its row.
    pub(super) fn judge(&self, row: &Row, attempt: Result<Sent, SendError>) -> RowResult {
        let update = match attempt {
            Ok(sent) => RowUpdate::Sent { message_id: sent.message_id().to_owned() },
            Err(error) => self.judge_failure(row, &error),
        };
        RowResult { id: row.id, attempts: row.attempts, update }
    }

    /// Counts only faults of the message itself. A missing queue, a missing permission or a network failure would
    /// otherwise park every message.
    fn judge_failure(&self, row: &Row, error: &SendError) -> RowUpdate {
        let is_refused = error.is_too_large() || (error.is_refused() && !is_of_the_queue(error));
        let error = error.to_string();
        if is_refused && row.refusals.saturating_add(1) >= self.park_after {
            return RowUpdate::Parked { error };
        }
        RowUpdate::Retry { delay: self.backoff.delay(row.attempts.saturating_add(1)), error, is_refused }
    }

    /// Returns whether the rows behind this one may be sent.
    pub(super) fn goes_on_after(&self, result: &RowResult) -> bool {
        match result.update {
            RowUpdate::Sent { .. } => true,
            RowUpdate::Retry { .. } => false,
            RowUpdate::Parked { .. } => !self.when_parked.holds(),
        }
    }
}

impl RowResult {
    pub(super) fn is_sent(&self) -> bool {
        matches!(self.update, RowUpdate::Sent { .. })
    }

    /// Returns the error for which the row is parked.
    pub(super) fn parked_for(&self) -> Option<&str> {
        match &self.update {
            RowUpdate::Parked { error } => Some(error),
            _ => None,
        }
    }

    /// Returns the error of a failed attempt.
    pub(super) fn failed_for(&self) -> Option<&str> {
        match &self.update {
            RowUpdate::Retry { error, .. } => Some(error),
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

/// Formats the results for a statement: first sent rows, then the others. Each is `None` if it has no rows.
pub(super) fn as_json(results: &[RowResult]) -> (Option<String>, Option<String>) {
    let (mut sent, mut failed) = (Vec::new(), Vec::new());
    for RowResult { id, attempts, update } in results {
        match update {
            RowUpdate::Sent { message_id } => sent.push(SentJson { id: *id, message_id }),
            RowUpdate::Retry { delay, error, is_refused } => failed.push(FailedJson {
                id: *id,
                attempts: *attempts,
                state: "pending",
                refusals: u8::from(*is_refused),
                error: shortened(error),
                delay_ms: super::columns::millis(*delay),
            }),
            RowUpdate::Parked { error } => {
                let (id, attempts, error) = (*id, *attempts, shortened(error));
                failed.push(FailedJson { id, attempts, state: "parked", refusals: 1, error, delay_ms: 0 })
            }
        }
    }
    (json(&sent), json(&failed))
}

fn json<T: Serialize>(results: &[T]) -> Option<String> {
    // Serializing numbers and strings cannot fail.
    if results.is_empty() { None } else { serde_json::to_string(results).ok() }
}

/// The longest stored error, in characters. People read it.
const LONGEST_ERROR: usize = 1_000;

/// Shortens an error for its column, and drops NUL, which PostgreSQL does not store in text.
fn shortened(error: &str) -> String {
    error.chars().filter(|&char| char != '\0').take(LONGEST_ERROR).collect()
}
