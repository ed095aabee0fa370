//! How a run ended, and what it has left.

use super::counted;
use super::hold::{Hold, Unseen};
use super::place::DeadLetterQueue;
use super::search::End;

/// What a run over a whole queue has not handled.
#[derive(Debug, Default)]
pub(super) struct Left {
    is_interrupted: bool,
    is_full: bool,
    late: usize,
    unseen: Unseen,
}

impl Left {
    /// `is_whole`: it was to look at all messages, and not only until some were found.
    pub(super) async fn by(hold: &Hold<'_>, end: &Result<End, String>, is_whole: bool) -> Self {
        let unseen = match end {
            Ok(_) if is_whole => hold.unseen().await,
            _ => Unseen::default(),
        };
        Self {
            is_interrupted: matches!(end, Ok(End::Interrupted)),
            is_full: matches!(end, Ok(End::Full)),
            late: if is_whole { hold.seen.late } else { 0 },
            unseen,
        }
    }

    pub(super) fn is_nothing(&self) -> bool {
        !self.is_interrupted && !self.is_full && self.late == 0 && self.unseen == Unseen::default()
    }

    /// Behind a summary, with a semicolon before each part.
    pub(super) fn said(&self, queue: &DeadLetterQueue) -> String {
        let mut said = String::new();
        if self.is_interrupted {
            said += "; interrupted, and the others stay";
        }
        if self.is_full {
            said += "; stopped, as SQS hides about 120,000 messages of a queue at most, and so many stay";
        }
        if self.late > 0 {
            said += &format!("; {} came back or arrived meanwhile, and stay", counted(self.late));
        }
        let Unseen { visible, hidden } = self.unseen;
        if visible > 0 {
            said += &format!("; about {} not looked at", counted(visible));
            if queue.is_fifo() && !self.is_interrupted {
                said += ", behind others of their group that stay";
            }
        }
        if hidden > 0 {
            said += &format!("; about {} not looked at, as somebody else has received them", counted(hidden));
        }
        said
    }
}
