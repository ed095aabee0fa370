//! What an event source mapping invokes: a function in this process, in processes of its own, or served elsewhere.

mod child;
mod environment;
mod error;
mod http;
mod in_process;
mod invoke_url;
mod log;
mod process_group;
mod processes;
mod program;
mod report;
mod runtime_api;
#[cfg(test)]
mod test_function;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;

pub(crate) use self::error::FunctionError;
#[cfg(test)]
use self::error::NeverPolled;
pub(crate) use self::in_process::InProcess;
#[cfg(test)]
use self::invoke_url::InvokeUrlError;
pub(crate) use self::invoke_url::{DEFAULT_CONCURRENCY, InvokeUrl};
pub(crate) use self::log::LogLine;
#[cfg(test)]
use self::log::{LogSink, Stream};
pub(crate) use self::process_group::ProcessGroup;
pub(crate) use self::processes::Processes;
pub(crate) use self::program::{Program, Settings};
pub(crate) use self::report::Report;

/// The largest answer that Lambda takes from a function, in bytes. Events are as large at most.
///
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
pub(crate) const PAYLOAD_LIMIT_BYTES: usize = 6 * 1024 * 1024 + 100;

/// A function, wherever it runs. Clones are the same function.
#[derive(Clone)]
pub(crate) enum Function {
    InProcess(InProcess),
    Processes(Arc<Processes>),
    InvokeUrl(Arc<InvokeUrl>),
}

/// One call of a function.
#[derive(Clone, Debug)]
pub(crate) struct Invocation {
    /// What the function's log names the call by. A function that is served elsewhere makes up its own.
    pub(crate) request_id: String,
    /// JSON.
    pub(crate) event: Bytes,
    pub(crate) function_arn: String,
    /// The function's own, and not the queue's visibility timeout.
    pub(crate) timeout: Duration,
    /// `AWSTraceHeader`, as X-Ray has it.
    pub(crate) trace_header: Option<String>,
}

impl Function {
    /// Finds out before the first batch whether there is a function to invoke.
    pub(crate) async fn check(&self) -> Result<(), FunctionError> {
        match self {
            Self::InProcess(_) => Ok(()),
            Self::Processes(processes) => processes.check().await,
            Self::InvokeUrl(url) => url.check().await,
        }
    }

    /// Gives back the answer as it came, which need not be JSON. For the mapping every error means the same: the whole
    /// batch comes back.
    pub(crate) async fn invoke(&self, invocation: Invocation) -> Result<Bytes, FunctionError> {
        match self {
            Self::InProcess(function) => function.invoke(invocation).await,
            Self::Processes(processes) => processes.invoke(&invocation).await,
            Self::InvokeUrl(url) => url.invoke(&invocation).await,
        }
    }

    /// Invokes no more, waits for what runs, and ends what still runs when the drain limit is over.
    pub(crate) async fn shut_down(&self, drain_limit: Duration) {
        match self {
            Self::InProcess(_) | Self::InvokeUrl(_) => {}
            Self::Processes(processes) => processes.shut_down(drain_limit).await,
        }
    }
}

impl From<InProcess> for Function {
    fn from(function: InProcess) -> Self {
        Self::InProcess(function)
    }
}

impl From<Processes> for Function {
    fn from(processes: Processes) -> Self {
        Self::Processes(Arc::new(processes))
    }
}

impl From<InvokeUrl> for Function {
    fn from(url: InvokeUrl) -> Self {
        Self::InvokeUrl(Arc::new(url))
    }
}
