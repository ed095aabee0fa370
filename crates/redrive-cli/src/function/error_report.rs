//! Parses a function's report of its own error.

use redrive_local::function::ErrorReport;
use serde_json::Value;

/// The keys of an error report, in requests to the Runtime API and in answers of failed invocations.
const ERROR_TYPE: &str = "errorType";
const ERROR_MESSAGE: &str = "errorMessage";

/// Parses an error report. Some runtimes leave out one of the two keys.
pub(super) fn read_report(body: &[u8]) -> Option<ErrorReport> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let word = |name| body.get(name).map(|word| word.as_str().unwrap_or_default().to_owned());
    match (word(ERROR_TYPE), word(ERROR_MESSAGE)) {
        (None, None) => None,
        (error_type, message) => {
            let error_type = error_type.filter(|error_type| !error_type.is_empty());
            Some(ErrorReport::new(error_type.unwrap_or_else(|| "Error".to_owned()), message.unwrap_or_default()))
        }
    }
}

/// Parses a body that should be an error report, and replaces any other body by a description.
pub(super) fn report_of(body: &[u8]) -> ErrorReport {
    read_report(body)
        .unwrap_or_else(|| ErrorReport::new("Error", format!("the error report of {} bytes is malformed", body.len())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn report_with_only_one_of_its_two_keys_is_parsed() {
        let read = |body: &str| read_report(body.as_bytes());
        assert_eq!(
            read(r#"{"errorType": "T", "errorMessage": "m", "stackTrace": []}"#),
            Some(ErrorReport::new("T", "m"))
        );
        assert_eq!(read(r#"{"errorMessage": "m"}"#), Some(ErrorReport::new("Error", "m")));
        assert_eq!(read(r#"{"errorType": "T"}"#), Some(ErrorReport::new("T", "")));
        assert_eq!(read(r#"{"errorType": null, "errorMessage": 1}"#), Some(ErrorReport::new("Error", "")));
    }

    #[test]
    fn other_bodies_are_not_reports() {
        for body in [r#"{"batchItemFailures": []}"#, "{}", "null", "", r#""errorType""#, "not JSON"] {
            assert_eq!(read_report(body.as_bytes()), None, "{body}");
        }
        assert_eq!(report_of(b"secret").to_string(), "Error: the error report of 6 bytes is malformed");
    }
}
