//! Defines the reasons for an invocation without an answer.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use redrive_local::function::{ErrorReport, InvokeError};

/// The reason for an invocation without an answer. Every reason retries the whole batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FunctionError {
    /// The function returned an error.
    Raised(ErrorReport),
    TimedOut {
        timeout: Duration,
    },
    /// The server of the function ended the invocation at its own time limit.
    TimedOutThere {
        address: String,
    },
    /// The function's process exited during the invocation.
    Crashed {
        status: String,
    },
    InitFailed(ErrorReport),
    /// A function on another server failed to start. Some servers also answer like this for an error of the function.
    InitFailedThere(ErrorReport),
    NeverPolled(NeverPolled),
    /// A new process polled, but was gone when the invocation arrived.
    NotTaken,
    NotStarted {
        executable: PathBuf,
        problem: String,
    },
    Unreachable {
        address: String,
        problem: String,
    },
    /// The connection broke after the invocation was sent.
    Broken {
        address: String,
        problem: String,
    },
    UnknownFunction {
        name: String,
        address: String,
    },
    Throttled,
    /// No answer arrived within the time in which the function may run.
    Unanswered {
        timeout: Duration,
        waited: Duration,
    },
    /// The server does not speak Lambda's protocol.
    UnexpectedStatus {
        status: u16,
        address: String,
    },
    ShutDown,
}

/// The reason for a process that never polled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NeverPolled {
    Exited { status: String },
    Within(Duration),
}

impl FunctionError {
    /// Returns whether the function certainly has not seen the invocation, so that it may be repeated.
    fn has_not_run(&self) -> bool {
        match self {
            Self::InitFailed(_)
            | Self::NeverPolled(_)
            | Self::NotTaken
            | Self::NotStarted { .. }
            | Self::Unreachable { .. }
            | Self::UnknownFunction { .. }
            | Self::Throttled => true,
            Self::Raised(_)
            | Self::InitFailedThere(_)
            | Self::TimedOut { .. }
            | Self::TimedOutThere { .. }
            | Self::Crashed { .. }
            | Self::Broken { .. }
            | Self::Unanswered { .. }
            | Self::UnexpectedStatus { .. }
            | Self::ShutDown => false,
        }
    }
}

impl fmt::Display for FunctionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Raised(report) => InvokeError::Raised(report.clone()).fmt(f),
            Self::TimedOut { timeout } => InvokeError::TimedOut { timeout: *timeout }.fmt(f),
            Self::TimedOutThere { address } => write!(
                f,
                "{address} ended the invocation at its own time limit; increase --timeout of `cargo lambda watch`"
            ),
            Self::Crashed { status } => {
                write!(f, "the function's process exited during the invocation ({status}); see its log for the reason")
            }
            Self::InitFailed(report) | Self::InitFailedThere(report) => {
                write!(f, "the function failed to start: {report}")
            }
            Self::NeverPolled(how) => how.fmt(f),
            Self::NotTaken => f.write_str(
                "the function's process polled for an invocation but did not wait for it; see its log for the reason",
            ),
            Self::NotStarted { executable, problem } => write!(
                f,
                "the function could not be started: {}: {problem}; check that it is built and executable",
                executable.display()
            ),
            Self::Unreachable { address, problem } => write!(
                f,
                "no function is served at {address}: {problem}; start `cargo lambda watch`, or correct --invoke-url"
            ),
            Self::Broken { address, problem } => write!(
                f,
                "the connection to {address} broke before the answer: {problem}; the function may have run, and it \
                 runs again when the batch is retried"
            ),
            Self::UnknownFunction { name, address } => write!(
                f,
                "{address} has no function {name:?}; `cargo lambda watch` names a function after its binary, and a \
                 single binary is also \"_\""
            ),
            Self::Throttled => f.write_str("the invocation was throttled"),
            Self::Unanswered { timeout, waited } => write!(
                f,
                "the function did not answer within {waited:?}, and its timeout is {timeout:?}; the server may still \
                 run the invocation after the batch is retried"
            ),
            Self::UnexpectedStatus { status, address } => write!(
                f,
                "{address} answered with HTTP status {status}, but no function does; check that --invoke-url leads to \
                 `cargo lambda watch`"
            ),
            Self::ShutDown => f.write_str("the function is being shut down"),
        }
    }
}

impl fmt::Display for NeverPolled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited { status } => {
                write!(f, "the function's process exited before it polled ({status}); see its log for the reason")
            }
            Self::Within(limit) => write!(
                f,
                "the function's process did not poll within {limit:?}; check that its main() starts faster and calls \
                 redrive::run or lambda_runtime::run"
            ),
        }
    }
}

impl std::error::Error for FunctionError {}

impl From<FunctionError> for InvokeError {
    fn from(error: FunctionError) -> Self {
        match error {
            FunctionError::Raised(report) => Self::Raised(report),
            FunctionError::TimedOut { timeout } => Self::TimedOut { timeout },
            error if error.has_not_run() => Self::NotRun(error.to_string()),
            error => Self::Failed(error.to_string()),
        }
    }
}
