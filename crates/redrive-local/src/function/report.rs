//! Parses a function's report of its own error.

use std::fmt;

use serde_json::Value;

use super::PAYLOAD_LIMIT_BYTES;

/// The keys of an error report, in requests to the Runtime API and in answers of failed invocations.
const ERROR_TYPE: &str = "errorType";
const ERROR_MESSAGE: &str = "errorMessage";

/// An error as the function reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    pub error_type: String,
    pub message: String,
}

impl Report {
    pub(super) fn new(error_type: impl Into<String>, message: impl Into<String>) -> Self {
        Self { error_type: error_type.into(), message: message.into() }
    }

    /// Returns Lambda's error for an answer over the size limit.
    pub(super) fn too_large() -> Self {
        let message = format!("the answer is over the limit of {PAYLOAD_LIMIT_BYTES} bytes");
        Self::new("Function.ResponseSizeTooLarge", message)
    }

    /// Parses an error report. Some runtimes leave out one of the two keys.
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        let body: Value = serde_json::from_slice(body).ok()?;
        let word = |name| body.get(name).map(|word| word.as_str().unwrap_or_default().to_owned());
        match (word(ERROR_TYPE), word(ERROR_MESSAGE)) {
            (None, None) => None,
            (error_type, message) => {
                let error_type = error_type.filter(|error_type| !error_type.is_empty());
                Some(Self::new(error_type.unwrap_or_else(|| "Error".to_owned()), message.unwrap_or_default()))
            }
        }
    }

    /// Parses a body that should be an error report, and replaces any other body by a description.
    pub(super) fn of(body: &[u8]) -> Self {
        Self::read(body)
            .unwrap_or_else(|| Self::new("Error", format!("the error report of {} bytes is malformed", body.len())))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.error_type, self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn report_with_only_one_of_its_two_keys_is_parsed() {
        let read = |body: &str| Report::read(body.as_bytes());
        assert_eq!(read(r#"{"errorType": "T", "errorMessage": "m", "stackTrace": []}"#), Some(Report::new("T", "m")));
        assert_eq!(read(r#"{"errorMessage": "m"}"#), Some(Report::new("Error", "m")));
        assert_eq!(read(r#"{"errorType": "T"}"#), Some(Report::new("T", "")));
        assert_eq!(read(r#"{"errorType": null, "errorMessage": 1}"#), Some(Report::new("Error", "")));
    }

    #[test]
    fn other_bodies_are_not_reports() {
        for body in [r#"{"batchItemFailures": []}"#, "{}", "null", "", r#""errorType""#, "not JSON"] {
            assert_eq!(Report::read(body.as_bytes()), None, "{body}");
        }
        assert_eq!(Report::of(b"secret").to_string(), "Error: the error report of 6 bytes is malformed");
    }
}
