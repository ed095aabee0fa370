//! The error type of this crate.

use std::fmt;

use crate::outcome::BoxError;

/// The error of an invocation, or of `run`.
///
/// A failed record is not an error: the answer reports it. This type covers problems of a whole batch (an event that is
/// not from SQS, a failed record without an id) and problems that keep `run` from running.
///
/// `Debug` formats like `Display`, because `main` prints errors with `Debug`.
pub struct Error {
    kind: ErrorKind,
}

pub(crate) enum ErrorKind {
    /// The event is JSON, but not an SQS event.
    Event(String),
    /// Records at these positions failed and have no id to report.
    #[cfg_attr(not(feature = "lambda"), allow(dead_code, reason = "a worker answers for each message"))]
    Unreportable { positions: Vec<usize>, of: usize },
    /// This many records failed, and the user asked for an error.
    #[cfg_attr(not(feature = "lambda"), allow(dead_code, reason = "a worker answers for each message"))]
    BatchFailed { failed: usize, of: usize },
    /// No host in this environment provides batches.
    NoHost,
    /// The host's environment is incomplete.
    Environment(String),
    /// The host stopped.
    Host(BoxError),
    /// The worker cannot start, because it cannot poll or settle its queue.
    #[cfg(feature = "worker")]
    Queue(String),
}

impl Error {
    /// Returns whether the event was not an SQS event: it has no list of `Records`, or records of another source.
    pub fn is_invalid_event(&self) -> bool {
        matches!(self.kind, ErrorKind::Event(_))
    }

    /// Returns whether a failed record has no `messageId` to report, so that the whole batch is retried.
    pub fn is_unreportable(&self) -> bool {
        matches!(self.kind, ErrorKind::Unreportable { .. })
    }

    /// Returns whether records failed and the consumer was told to return an error for them
    /// ([`fail_batch_on_any_failure`](crate::Consumer::fail_batch_on_any_failure),
    /// [`error_when_all_fail`](crate::Consumer::error_when_all_fail)).
    pub fn is_batch_failed(&self) -> bool {
        matches!(self.kind, ErrorKind::BatchFailed { .. })
    }

    /// Returns whether `run` found no host, or one with an incomplete environment.
    pub fn is_environment(&self) -> bool {
        matches!(self.kind, ErrorKind::NoHost | ErrorKind::Environment(_))
    }

    /// Returns whether the host stopped, because the Lambda Runtime API was unreachable or one of its threads panicked.
    pub fn is_host(&self) -> bool {
        matches!(self.kind, ErrorKind::Host(_))
    }
}

#[cfg(feature = "worker")]
impl Error {
    /// Returns whether a [worker](crate::Worker) could not start: the queue or the credentials are missing, or a
    /// permission is.
    pub fn is_queue_unavailable(&self) -> bool {
        matches!(self.kind, ErrorKind::Queue(_))
    }
}

impl From<ErrorKind> for Error {
    fn from(kind: ErrorKind) -> Self {
        Self { kind }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            ErrorKind::Event(problem) => write!(
                f,
                "this is not an SQS event: {problem}; check that the function's event source mapping reads from an SQS queue"
            ),
            ErrorKind::Unreportable { positions, of } => write!(
                f,
                "of {of} records, those at positions {positions:?} failed and have no messageId to report them by, \
                 so the whole batch is retried"
            ),
            ErrorKind::BatchFailed { failed, of } => {
                write!(f, "{failed} of {of} records failed, and the consumer is set to fail the batch then")
            }
            ErrorKind::NoHost => f.write_str(NO_HOST),
            ErrorKind::Environment(problem) => f.write_str(problem),
            ErrorKind::Host(error) => write!(f, "the host stopped: {error}"),
            #[cfg(feature = "worker")]
            ErrorKind::Queue(problem) => f.write_str(problem),
        }
    }
}

#[cfg(not(feature = "worker"))]
const NO_HOST: &str = "no host was found: AWS_LAMBDA_RUNTIME_API is not set, so this is not AWS Lambda. \
    Deploy it as a Lambda function, run it on this machine with `cargo lambda watch`, or build it with redrive's feature \
    `worker` and set REDRIVE_QUEUE_URL to poll a queue";
#[cfg(feature = "worker")]
const NO_HOST: &str = "no host was found: AWS_LAMBDA_RUNTIME_API is not set, so this is not AWS Lambda, and \
    neither is REDRIVE_QUEUE_URL. Deploy it as a Lambda function, run it on this machine with `cargo lambda watch`, or set \
    REDRIVE_QUEUE_URL to the URL of a queue to poll it";

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.kind {
            ErrorKind::Host(error) => Some(error.as_ref()),
            _ => None,
        }
    }
}
