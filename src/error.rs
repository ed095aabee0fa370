//! The one error of this crate.

use std::fmt;

use crate::outcome::BoxError;

/// Why an invocation, or `run` itself, failed.
///
/// A record that fails is no error: it is reported in the answer. This type is for what concerns the whole batch (an
/// event that is none of SQS's, a failed record that cannot be named) and for what keeps `run` from running.
///
/// `Debug` reads like `Display`, since that is what `main` prints.
pub struct Error {
    kind: Kind,
}

pub(crate) enum Kind {
    /// The event is JSON, but not an SQS event.
    Event(String),
    /// Records at these positions failed, and carry no id to report them by.
    #[cfg_attr(not(feature = "lambda"), allow(dead_code, reason = "a worker answers for each message"))]
    Unreportable { positions: Vec<usize>, of: usize },
    /// The user asked for an error where this many records failed.
    #[cfg_attr(not(feature = "lambda"), allow(dead_code, reason = "a worker answers for each message"))]
    BatchFailed { failed: usize, of: usize },
    /// There is no host here that could bring batches.
    NoHost,
    /// The host is here, but its environment is not as it promises.
    Environment(String),
    /// The host stopped.
    Host(BoxError),
    /// The worker cannot begin: its queue cannot be polled, or not settled.
    #[cfg(feature = "worker")]
    Queue(String),
}

impl Error {
    /// The event was not an SQS event: no list of `Records`, or records of another source.
    pub fn is_invalid_event(&self) -> bool {
        matches!(self.kind, Kind::Event(_))
    }

    /// A record failed that has no `messageId` to report it by, so the whole batch has to come back.
    pub fn is_unreportable(&self) -> bool {
        matches!(self.kind, Kind::Unreportable { .. })
    }

    /// Records failed, and the consumer was told to raise an error for it
    /// ([`fail_batch_on_any_failure`](crate::Consumer::fail_batch_on_any_failure),
    /// [`error_when_all_fail`](crate::Consumer::error_when_all_fail)).
    pub fn is_batch_failed(&self) -> bool {
        matches!(self.kind, Kind::BatchFailed { .. })
    }

    /// `run` found no host, or one whose environment is incomplete.
    pub fn is_environment(&self) -> bool {
        matches!(self.kind, Kind::NoHost | Kind::Environment(_))
    }

    /// The host stopped: the Lambda Runtime API could not be reached any more, or a thread of it broke.
    pub fn is_host(&self) -> bool {
        matches!(self.kind, Kind::Host(_))
    }
}

#[cfg(feature = "worker")]
impl Error {
    /// A [worker](crate::Worker) could not begin: there is no such queue, there are no credentials, or they do not allow what
    /// it needs.
    pub fn is_queue_unavailable(&self) -> bool {
        matches!(self.kind, Kind::Queue(_))
    }
}

impl From<Kind> for Error {
    fn from(kind: Kind) -> Self {
        Self { kind }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Event(problem) => write!(
                f,
                "this is not an SQS event: {problem}; check that the function's event source mapping reads from an SQS queue"
            ),
            Kind::Unreportable { positions, of } => write!(
                f,
                "of {of} records, those at positions {positions:?} failed and have no messageId to report them by, \
                 so the whole batch comes back"
            ),
            Kind::BatchFailed { failed, of } => {
                write!(f, "{failed} of {of} records failed, and the batch was asked to fail for it")
            }
            Kind::NoHost => f.write_str(NO_HOST),
            Kind::Environment(problem) => f.write_str(problem),
            Kind::Host(error) => write!(f, "the host stopped: {error}"),
            #[cfg(feature = "worker")]
            Kind::Queue(problem) => f.write_str(problem),
        }
    }
}

#[cfg(not(feature = "worker"))]
const NO_HOST: &str = "nothing here brings batches: AWS_LAMBDA_RUNTIME_API is not set, so this is not AWS Lambda. \
    Deploy it as a Lambda function, run it on this machine with `cargo lambda watch`, or build it with redrive's feature \
    `worker` and set REDRIVE_QUEUE_URL to have it poll a queue itself";
#[cfg(feature = "worker")]
const NO_HOST: &str = "nothing here brings batches: AWS_LAMBDA_RUNTIME_API is not set, so this is not AWS Lambda, and \
    neither is REDRIVE_QUEUE_URL. Deploy it as a Lambda function, run it on this machine with `cargo lambda watch`, or set \
    REDRIVE_QUEUE_URL to the URL of the queue that it is to poll itself";

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.kind {
            Kind::Host(error) => Some(error.as_ref()),
            _ => None,
        }
    }
}
