//! The messages that the user chooses.

use std::collections::HashSet;

use clap::Args;

use super::letter::Letter;

/// The choice on the command line.
#[derive(Args)]
#[group(required = true, multiple = false)]
pub(super) struct Choice {
    /// All messages of the queue
    #[arg(long)]
    pub(super) all: bool,
    /// Messages with these ids, as `redrive dlq list` shows them or as in their source queue
    #[arg(long = "id", value_name = "ID", num_args = 1..)]
    ids: Vec<String>,
    /// Messages whose reason or error contains this text
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// The messages that are still to be found.
pub(super) enum Wanted {
    Ids(HashSet<String>),
    Reason(String),
    All,
}

impl Choice {
    pub(super) fn wanted(&self) -> Wanted {
        match &self.reason {
            _ if self.all => Wanted::All,
            Some(text) => Wanted::Reason(text.clone()),
            None => Wanted::Ids(self.ids.iter().cloned().collect()),
        }
    }
}

impl Wanted {
    /// Returns whether the message is one of them, and marks it as found.
    pub(super) fn takes(&mut self, letter: &Letter) -> bool {
        match self {
            Self::All => true,
            Self::Reason(text) => [letter.reason(), letter.error()].iter().flatten().any(|said| said.contains(&**text)),
            Self::Ids(ids) => {
                let original = letter.original_id().is_some_and(|id| ids.remove(id));
                ids.remove(&letter.id) || original
            }
        }
    }

    /// Returns the ids that were not found.
    pub(super) fn missing(&self) -> Vec<&str> {
        let Self::Ids(ids) = self else { return Vec::new() };
        let mut missing: Vec<_> = ids.iter().map(String::as_str).collect();
        missing.sort_unstable();
        missing
    }

    /// Returns whether every message has to be looked at, because the number of matches is unknown.
    pub(super) fn is_all_that_fit(&self) -> bool {
        matches!(self, Self::All | Self::Reason(_))
    }

    pub(super) fn is_found(&self) -> bool {
        matches!(self, Self::Ids(ids) if ids.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use redrive::internals::note;

    use super::*;
    use crate::dlq::letter::tests::letter;

    #[test]
    fn id_of_either_queue_matches_once() {
        let mut wanted = Wanted::Ids(["there".to_owned(), "else".to_owned()].into());
        let noted = letter(&[], &[(note::MESSAGE_ID, "there")]);
        assert!(wanted.takes(&noted));
        assert!(!wanted.takes(&noted));
        assert_eq!(wanted.missing(), ["else"]);
        assert!(Wanted::Ids(["here".to_owned()].into()).takes(&noted));
    }

    #[test]
    fn text_matches_the_reason_or_the_error() {
        let noted = letter(&[], &[(note::REASON, "no such order"), (note::ERROR, "timed out")]);
        let takes = |text: &str, letter: &Letter| Wanted::Reason(text.to_owned()).takes(letter);
        assert!(takes("such", &noted) && takes("timed", &noted) && !takes("Such", &noted));
        assert!(!takes("", &letter(&[], &[])), "a message without a reason matches no text");
    }
}
