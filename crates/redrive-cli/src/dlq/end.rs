//! The end of a run, and the messages that it left.

use super::browse::{BrowseSession, Unseen};
use super::counted;
use super::search::SearchEnd;
use super::target::DeadLetterQueue;

/// The messages of a queue that a run has not handled.
#[derive(Debug, Default)]
pub(super) struct Left {
    is_interrupted: bool,
    is_full: bool,
    late: usize,
    unseen: Unseen,
}

impl Left {
    /// Collects them. With `is_whole` the run should have looked at all messages, not only until some were found.
    pub(super) async fn by(session: &BrowseSession<'_>, end: &Result<SearchEnd, String>, is_whole: bool) -> Self {
        let unseen = match end {
            Ok(_) if is_whole => session.unseen().await,
            _ => Unseen::default(),
        };
        Self {
            is_interrupted: matches!(end, Ok(SearchEnd::Interrupted)),
            is_full: matches!(end, Ok(SearchEnd::Full)),
            late: if is_whole { session.seen.late } else { 0 },
            unseen,
        }
    }

    pub(super) fn is_nothing(&self) -> bool {
        !self.is_interrupted && !self.is_full && self.late == 0 && self.unseen == Unseen::default()
    }

    /// Formats them for the end of a summary, with a semicolon before each part.
    pub(super) fn said(&self, queue: &DeadLetterQueue) -> String {
        let mut said = String::new();
        if self.is_interrupted {
            said += "; interrupted, and the other messages stay";
        }
        if self.is_full {
            said += "; stopped, because SQS hides at most about 120,000 messages of a queue, and that many stay";
        }
        if self.late > 0 {
            said += &format!("; {} returned or arrived meanwhile, and stay", counted(self.late));
        }
        let Unseen { visible, hidden } = self.unseen;
        if visible > 0 {
            said += &format!("; about {} not looked at", counted(visible));
            if queue.is_fifo() && !self.is_interrupted {
                said += ", behind others of their group that stay";
            }
        }
        if hidden > 0 {
            said += &format!("; about {} not looked at, because another consumer has received them", counted(hidden));
        }
        said
    }
}
