//! What the answer to a batch call says of each of its entries.

use aws_sdk_sqs::types::BatchResultErrorEntry;

use super::error_codes::{Trouble, of_code};
use super::safe_text::{hiding, redacted};

/// Why an entry did not do what it was to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryError {
    /// It never will.
    SenderFault(String),
    /// Neither will any other: the queue's key may not be used, say.
    Denied(String),
    /// It may another time, or may even have done so: SQS says so, or the call as a whole has failed.
    MayPass(String),
}

/// The text of an entry whose time was over before it was sent, or sent again.
const TOO_LATE: &str = "given up: by now another consumer may have the message";

impl EntryError {
    /// The entry's time was over before it was sent, or sent again.
    pub fn too_late() -> Self {
        Self::SenderFault(TOO_LATE.to_owned())
    }

    pub fn is_too_late(&self) -> bool {
        self.text() == TOO_LATE
    }

    pub fn text(&self) -> &str {
        match self {
            Self::SenderFault(text) | Self::Denied(text) | Self::MayPass(text) => text,
        }
    }
}

impl EntryError {
    /// The same without what the call carried, should the text quote it.
    pub fn hiding<'a>(self, carried: impl IntoIterator<Item = &'a str>) -> Self {
        let text = hiding(self.text(), carried);
        match self {
            Self::SenderFault(_) => Self::SenderFault(text),
            Self::Denied(_) => Self::Denied(text),
            Self::MayPass(_) => Self::MayPass(text),
        }
    }
}

impl From<&BatchResultErrorEntry> for EntryError {
    fn from(entry: &BatchResultErrorEntry) -> Self {
        let text = format!("{}: {}", entry.code(), redacted(entry.message().unwrap_or_default()));
        match (entry.sender_fault(), of_code(entry.code())) {
            // Whose fault it is does not matter: later there will be fewer calls.
            (false, _) | (true, Some(Trouble::Busy)) => Self::MayPass(text),
            (true, Some(Trouble::Denied)) => Self::Denied(text),
            (true, _) => Self::SenderFault(text),
        }
    }
}

/// The results of so many entries, by position, and `None` of one that the answer does not name. Positions are the ids of
/// entries, and not message ids: a message may be in a call twice.
pub fn by_position<'a, T>(
    len: usize,
    successful: impl Iterator<Item = (&'a str, T)>,
    failed: &'a [BatchResultErrorEntry],
) -> Vec<Option<Result<T, EntryError>>> {
    let mut results: Vec<_> = std::iter::repeat_with(|| None).take(len).collect();
    let failed = failed.iter().map(|entry| (entry.id(), Err(entry.into())));
    for (id, result) in successful.map(|(id, value)| (id, Ok(value))).chain(failed) {
        if let Some(place) = id.parse::<usize>().ok().and_then(|position| results.get_mut(position)) {
            *place = Some(result);
        }
    }
    results
}

/// The same, for calls that may be made again: what the answer does not name may pass.
pub(super) fn or_may_pass(results: Vec<Option<Result<(), EntryError>>>) -> Vec<Result<(), EntryError>> {
    let unnamed = || Err(EntryError::MayPass("the answer does not name it".to_owned()));
    results.into_iter().map(|result| result.unwrap_or_else(unnamed)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_may_not_be_used_is_no_fault_of_the_message() {
        let entry = BatchResultErrorEntry::builder().id("0").code("KMS.AccessDeniedException").sender_fault(true);
        let results = by_position::<()>(1, std::iter::empty(), &[entry.build().unwrap()]);
        assert!(matches!(&results[..], [Some(Err(EntryError::Denied(why)))] if why.contains("KMS")), "{results:?}");
    }

    #[test]
    fn a_throttle_passes_whoever_is_said_to_be_at_fault() {
        for code in ["KMS.ThrottlingException", "RequestThrottled"] {
            let entry = BatchResultErrorEntry::builder().id("0").code(code).sender_fault(true).build().unwrap();
            assert!(matches!(EntryError::from(&entry), EntryError::MayPass(_)), "{code}");
        }
    }

    #[test]
    fn what_the_answer_does_not_name_is_not_taken_for_done() {
        let results = or_may_pass(vec![Some(Ok(())), None]);
        assert!(matches!(&results[..], [Ok(()), Err(EntryError::MayPass(_))]), "{results:?}");
    }

    #[test]
    fn each_entry_has_what_the_answer_says_of_it() {
        let failed = |id: &str, senders| {
            let entry = BatchResultErrorEntry::builder().id(id).code("Broken").message("no").sender_fault(senders);
            entry.build().unwrap()
        };
        let failed = [failed("3", true), failed("0", false), failed("9", true), failed("x", true)];
        let results = by_position(4, [("1", 'a'), ("4", 'b')].into_iter(), &failed);
        let broken = "Broken: no".to_owned();
        let may_pass = Err(EntryError::MayPass(broken.clone()));
        assert_eq!(results, [Some(may_pass), Some(Ok('a')), None, Some(Err(EntryError::SenderFault(broken)))]);
    }
}
