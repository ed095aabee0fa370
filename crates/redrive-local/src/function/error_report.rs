//! Defines a function's report of its own error.

use std::fmt;

use super::PAYLOAD_LIMIT_BYTES;

/// An error as the function reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorReport {
    pub error_type: String,
    pub message: String,
}

impl ErrorReport {
    pub fn new(error_type: impl Into<String>, message: impl Into<String>) -> Self {
        Self { error_type: error_type.into(), message: message.into() }
    }

    /// Returns Lambda's error for an answer over the size limit.
    pub fn too_large() -> Self {
        let message = format!("the answer is over the limit of {PAYLOAD_LIMIT_BYTES} bytes");
        Self::new("Function.ResponseSizeTooLarge", message)
    }
}

impl fmt::Display for ErrorReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.error_type, self.message)
    }
}
