//! Interprets the answer to a batch call for each entry.

use aws_sdk_sqs::types::BatchResultErrorEntry;

use super::error_codes::{Code, Trouble, of_code};
use super::safe_text::{hiding, redacted};

/// The reason why an entry failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryError {
    /// It can never succeed.
    SenderFault(String),
    /// No other entry can succeed either, for example because the queue's key is not allowed.
    Denied(String),
    /// It may succeed later, or may have succeeded: SQS says so, or the whole call failed.
    MayPass(String),
}

/// The error of an entry whose time ended before it was sent, or sent again.
const TOO_LATE: &str = "it was given up because another consumer may have the message now";

impl EntryError {
    /// Creates the error of an entry whose time ended before it was sent, or sent again.
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

    /// Returns whether the error is the entry's, or its call's, with a code of that meaning.
    pub fn has_code(&self, code: Code) -> bool {
        code.is_named_in(self.text())
    }
}

impl EntryError {
    /// Removes what the call carried, in case the text quotes it.
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
            // A throttle passes later, even if the sender is blamed for it.
            (false, _) | (true, Some(Trouble::Busy)) => Self::MayPass(text),
            (true, Some(Trouble::Denied)) => Self::Denied(text),
            (true, _) => Self::SenderFault(text),
        }
    }
}

/// Returns the results by position, and `None` for an entry that the answer does not name. Positions are the entries'
/// ids, because a message may be in a call twice.
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

/// Returns the results of calls that may be repeated: an unnamed entry may succeed later.
pub(super) fn or_may_pass(results: Vec<Option<Result<(), EntryError>>>) -> Vec<Result<(), EntryError>> {
    let unnamed = || Err(EntryError::MayPass("the answer does not name it".to_owned()));
    results.into_iter().map(|result| result.unwrap_or_else(unnamed)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forbidden_key_is_not_the_messages_fault() {
        let entry = BatchResultErrorEntry::builder().id("0").code("KMS.AccessDeniedException").sender_fault(true);
        let results = by_position::<()>(1, std::iter::empty(), &[entry.build().unwrap()]);
        assert!(matches!(&results[..], [Some(Err(EntryError::Denied(why)))] if why.contains("KMS")), "{results:?}");
    }

    #[test]
    fn throttle_passes_even_if_the_sender_is_blamed() {
        for code in ["KMS.ThrottlingException", "RequestThrottled"] {
            let entry = BatchResultErrorEntry::builder().id("0").code(code).sender_fault(true).build().unwrap();
            assert!(matches!(EntryError::from(&entry), EntryError::MayPass(_)), "{code}");
        }
    }

    #[test]
    fn unnamed_entry_does_not_count_as_done() {
        let results = or_may_pass(vec![Some(Ok(())), None]);
        assert!(matches!(&results[..], [Ok(()), Err(EntryError::MayPass(_))]), "{results:?}");
    }

    #[test]
    fn each_entry_gets_its_own_result() {
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
