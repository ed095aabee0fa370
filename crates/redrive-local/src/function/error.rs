//! Defines the reasons for an invocation without an answer.

use std::fmt;
use std::time::Duration;

use super::error_report::ErrorReport;

/// The reason for an invocation without an answer. Every reason retries the whole batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InvokeError {
    /// The function returned an error.
    Raised(ErrorReport),
    TimedOut {
        timeout: Duration,
    },
    /// The function certainly has not seen the invocation, so it may be repeated. The text says why.
    NotRun(String),
    /// The function may have run without an answer. The text says why.
    Failed(String),
}

impl fmt::Display for InvokeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Raised(report) => write!(f, "the function raised {report}"),
            Self::TimedOut { timeout } => write!(
                f,
                "the function did not answer within its timeout of {timeout:?}; increase its Timeout or use smaller \
                 batches"
            ),
            Self::NotRun(problem) | Self::Failed(problem) => f.write_str(problem),
        }
    }
}

impl std::error::Error for InvokeError {}
