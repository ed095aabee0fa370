//! Selects messages by the options of the command line.

use std::collections::HashSet;

use clap::Args;

use super::dead_letter::DeadLetter;

/// The filter on the command line.
#[derive(Args)]
#[group(required = true, multiple = false)]
pub(super) struct FilterArguments {
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
pub(super) enum Filter {
    Ids(HashSet<String>),
    Reason(String),
    All,
}

impl FilterArguments {
    pub(super) fn to_filter(&self) -> Filter {
        match &self.reason {
            _ if self.all => Filter::All,
            Some(text) => Filter::Reason(text.clone()),
            None => Filter::Ids(self.ids.iter().cloned().collect()),
        }
    }
}

impl Filter {
    /// Returns whether the message matches, and marks its id as found.
    pub(super) fn takes(&mut self, dead_letter: &DeadLetter) -> bool {
        match self {
            Self::All => true,
            Self::Reason(text) => {
                [dead_letter.reason(), dead_letter.error()].iter().flatten().any(|said| said.contains(&**text))
            }
            Self::Ids(ids) => {
                let original = dead_letter.original_id().is_some_and(|id| ids.remove(id));
                ids.remove(&dead_letter.id) || original
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
    use crate::dlq::dead_letter::tests::dead_letter;

    #[test]
    fn id_of_either_queue_matches_once() {
        let mut filter = Filter::Ids(["there".to_owned(), "else".to_owned()].into());
        let noted = dead_letter(&[], &[(note::MESSAGE_ID, "there")]);
        assert!(filter.takes(&noted));
        assert!(!filter.takes(&noted));
        assert_eq!(filter.missing(), ["else"]);
        assert!(Filter::Ids(["here".to_owned()].into()).takes(&noted));
    }

    #[test]
    fn text_matches_the_reason_or_the_error() {
        let noted = dead_letter(&[], &[(note::REASON, "no such order"), (note::ERROR, "timed out")]);
        let takes = |text: &str, dead_letter: &DeadLetter| Filter::Reason(text.to_owned()).takes(dead_letter);
        assert!(takes("such", &noted) && takes("timed", &noted) && !takes("Such", &noted));
        assert!(!takes("", &dead_letter(&[], &[])), "a message without a reason matches no text");
    }
}
