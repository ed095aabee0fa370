//! Why an invocation has no answer.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::report::Report;

/// Why an invocation has no answer. Whichever it is, the whole batch comes back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FunctionError {
    /// The function's own error.
    Raised(Report),
    TimedOut {
        timeout: Duration,
    },
    /// Who serves the function ended the invocation, after a time of its own.
    TimedOutThere {
        address: String,
    },
    /// The function's process ended in the middle of the invocation.
    Crashed {
        status: String,
    },
    InitFailed(Report),
    /// The same, from a function that is served elsewhere. Some servers answer so where a function raised an error.
    InitFailedThere(Report),
    NeverPolled(NeverPolled),
    /// A process that has just started polled, and was gone when the invocation came.
    NotTaken,
    NotStarted {
        executable: PathBuf,
        problem: String,
    },
    Unreachable {
        address: String,
        problem: String,
    },
    /// The connection broke after the invocation had gone out.
    Broken {
        address: String,
        problem: String,
    },
    UnknownFunction {
        name: String,
        address: String,
    },
    Throttled,
    /// Nothing came back for longer than the function may run.
    Unanswered {
        timeout: Duration,
        waited: Duration,
    },
    /// Something answered that does not speak Lambda's protocol.
    UnexpectedStatus {
        status: u16,
        address: String,
    },
    ShutDown,
}

/// How a process came to be one that never asked for an invocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NeverPolled {
    Exited { status: String },
    Within(Duration),
}

impl FunctionError {
    /// Whether the function certainly has not seen the invocation, so that it may be made again.
    pub fn has_not_run(&self) -> bool {
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
            Self::Raised(report) => write!(f, "the function raised {report}"),
            Self::TimedOut { timeout } => write!(
                f,
                "the function did not answer within its timeout of {timeout:?}; give it a longer Timeout, or smaller batches"
            ),
            Self::TimedOutThere { address } => write!(
                f,
                "{address} gave the invocation up after its own time limit; `cargo lambda watch` has --timeout for it"
            ),
            Self::Crashed { status } => {
                write!(f, "the function's process ended in the middle of the invocation ({status}); its log says why")
            }
            Self::InitFailed(report) | Self::InitFailedThere(report) => {
                write!(f, "the function failed to start with {report}")
            }
            Self::NeverPolled(how) => how.fmt(f),
            Self::NotTaken => f.write_str(
                "the function's process asked for an invocation, and then did not wait for it; its log says why",
            ),
            Self::NotStarted { executable, problem } => write!(
                f,
                "the function could not be started: {}: {problem}; check that it is built, and executable",
                executable.display()
            ),
            Self::Unreachable { address, problem } => write!(
                f,
                "no function is served at {address}: {problem}; start it with `cargo lambda watch`, or correct --invoke-url"
            ),
            Self::Broken { address, problem } => write!(
                f,
                "the connection to {address} broke before the answer came: {problem}; the function may have run all the \
                 same, and runs again when the batch comes back"
            ),
            Self::UnknownFunction { name, address } => write!(
                f,
                "{address} knows no function {name:?}; `cargo lambda watch` names a function by its binary, and the only \
                 one also \"_\""
            ),
            Self::Throttled => f.write_str("the invocation was throttled"),
            Self::Unanswered { timeout, waited } => write!(
                f,
                "the function has not answered in {waited:?}, and its timeout is {timeout:?}; the call may still wait \
                 there, and run when the batch has long come back"
            ),
            Self::UnexpectedStatus { status, address } => write!(
                f,
                "{address} answered with HTTP status {status}, which no function does; check that --invoke-url leads to \
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
                write!(f, "the function's process ended before it asked for an invocation ({status}); its log says why")
            }
            Self::Within(limit) => write!(
                f,
                "the function's process asked for no invocation within {limit:?}; what its main() does first takes too \
                 long, or it never comes to redrive::run or lambda_runtime::run"
            ),
        }
    }
}

impl std::error::Error for FunctionError {}
