//! Models batch calls, in which each entry has its own result.

use std::collections::HashSet;

use serde::Serialize;

use super::error::{Code, SqsError};

/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html>
const MAX_ENTRIES: usize = 10;
const MAX_ID_CHARS: usize = 80;

/// The answer to a batch call.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct BatchResult<T> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub successful: Vec<T>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<BatchResultErrorEntry>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct BatchResultErrorEntry {
    pub id: String,
    pub sender_fault: bool,
    pub code: &'static str,
    pub message: String,
}

/// A successful entry without further data.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Succeeded {
    pub id: String,
}

impl<T> BatchResult<T> {
    pub fn of(results: impl IntoIterator<Item = (String, Result<T, SqsError>)>) -> Self {
        let mut batch = Self { successful: Vec::new(), failed: Vec::new() };
        for (id, result) in results {
            match result {
                Ok(success) => batch.successful.push(success),
                Err(error) => batch.failed.push(BatchResultErrorEntry::new(id, error)),
            }
        }
        batch
    }
}

impl BatchResultErrorEntry {
    pub fn new(id: String, SqsError { code, message }: SqsError) -> Self {
        Self { id, sender_fault: code.is_sender_fault(), code: code.query_code(), message }
    }
}

/// Checks the ids of a batch. Refuses the whole batch if it has too few or too many entries, or a repeated id.
pub(super) fn check_ids<'a>(entry: &str, ids: impl ExactSizeIterator<Item = &'a str>) -> Result<(), SqsError> {
    match ids.len() {
        0 => {
            let message = format!("There should be at least one {entry} in the request.");
            return Err(SqsError::new(Code::EmptyBatchRequest, message));
        }
        1..=MAX_ENTRIES => {}
        many => {
            let message = format!("Maximum number of entries per request are {MAX_ENTRIES}. You have sent {many}.");
            return Err(SqsError::new(Code::TooManyEntriesInBatchRequest, message));
        }
    }
    let mut seen = HashSet::new();
    for id in ids {
        if !is_id(id) {
            let message = "A batch entry id can only contain alphanumeric characters, hyphens and underscores. \
                           It can be at most 80 letters long.";
            return Err(SqsError::new(Code::InvalidBatchEntryId, message));
        }
        if !seen.insert(id) {
            return Err(SqsError::new(Code::BatchEntryIdsNotDistinct, format!("Id {id} repeated.")));
        }
    }
    Ok(())
}

/// Returns whether a text is a valid id or label.
pub(super) fn is_id(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=MAX_ID_CHARS).contains(&text.len()) && text.bytes().all(is_allowed)
}
