//! What has become of a row, and what that means for it.

use std::time::Duration;

use redrive::Backoff;
use redrive::{SendError, Sent};
use serde::Serialize;

use super::pauses::is_of_the_queue;
use super::row::Row;

/// What happens to the messages of a group behind one that is parked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhenParked {
    /// They wait until somebody has it sent again or deletes it: none of a group is ever sent before another that came first. Other
    /// groups go on.
    #[default]
    Hold,
    /// They are sent. What a relay with the other setting has put aside goes on within a minute, before what is behind it.
    GoOn,
}

impl WhenParked {
    pub(super) fn holds(self) -> bool {
        self == Self::Hold
    }
}

/// When a row that fails is tried again, and when no more.
#[derive(Clone, Debug)]
pub(super) struct Policy {
    pub(super) backoff: Backoff,
    pub(super) park_after: u32,
    pub(super) when_parked: WhenParked,
}

/// What is written down of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    id: i64,
    /// Before this one. A mark that is written a second time finds more, and changes nothing.
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
    /// What an attempt means for its row.
    pub(super) fn judge(&self, row: &Row, attempt: Result<Sent, SendError>) -> Mark {
        let what = match attempt {
            Ok(sent) => What::Sent { message_id: sent.message_id().to_owned() },
            Err(error) => self.judge_failure(row, &error),
        };
        Mark { id: row.id, attempts: row.attempts, what }
    }

    /// Only what is wrong with the message itself is counted against it: a queue that is not there, a permission that is missing, a
    /// network that is down would have all messages parked.
    fn judge_failure(&self, row: &Row, error: &SendError) -> What {
        let is_refused = error.is_too_large() || (error.is_refused() && !is_of_the_queue(error));
        let error = error.to_string();
        if is_refused && row.refusals.saturating_add(1) >= self.park_after {
            return What::Parked { error };
        }
        What::Again { delay: self.backoff.delay(row.attempts.saturating_add(1)), error, is_refused }
    }

    /// Whether the rows behind this one may be sent.
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

    /// Why a row will not be tried again.
    pub(super) fn parked_for(&self) -> Option<&str> {
        match &self.what {
            What::Parked { error } => Some(error),
            _ => None,
        }
    }

    /// Why a row was not sent this time.
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

/// The marks as a statement takes them: those of sent rows, and those of others. `None` where there are none.
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
    // Numbers and texts can be written.
    if marks.is_empty() { None } else { serde_json::to_string(marks).ok() }
}

/// Characters. An error is for people to read.
const LONGEST_ERROR: usize = 1_000;

/// What a column takes: PostgreSQL has no text with a NUL in it.
fn shortened(error: &str) -> String {
    error.chars().filter(|&char| char != '\0').take(LONGEST_ERROR).collect()
}
