//! Represents the target of an event source mapping: a function in this process, in its own processes, or on a server.

mod child;
mod environment;
mod error;
mod http;
mod in_process;
mod invoke_url;
mod log;
mod places;
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

use self::places::Turn;
use self::processes::ReadyProcess;

pub use self::error::FunctionError;
#[cfg(test)]
use self::error::NeverPolled;
pub use self::in_process::InProcess;
#[cfg(test)]
use self::invoke_url::InvokeUrlError;
pub use self::invoke_url::{DEFAULT_CONCURRENCY, DEFAULT_PATIENCE, InvokeUrl};
#[cfg(test)]
use self::log::Stream;
pub use self::log::{LogLine, LogSink};
pub use self::places::Places;
pub use self::process_group::ProcessGroup;
pub use self::processes::Processes;
pub use self::program::{Program, Settings};
pub use self::report::Report;

/// Lambda's limit for a function's answer, in bytes. Events have the same limit.
///
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
pub const PAYLOAD_LIMIT_BYTES: usize = 6 * 1024 * 1024 + 100;

/// A function, wherever it runs. Clones refer to the same function.
#[derive(Clone)]
pub enum Function {
    InProcess(InProcess),
    Processes(Arc<Processes>),
    InvokeUrl(Arc<InvokeUrl>),
}

/// One invocation of a function.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// The request id in the function's log. A function on another server uses its own.
    pub request_id: String,
    /// The event as JSON.
    pub event: Bytes,
    pub function_arn: String,
    /// The function's own timeout, which differs from the queue's visibility timeout.
    pub timeout: Duration,
    /// The `AWSTraceHeader` in X-Ray's format.
    pub trace_header: Option<String>,
}

/// The right to one invocation of a function, with the process that will run it if the function has processes.
///
/// A mapping takes a place before it receives messages: [`Function::invoke`] requires one.
#[must_use = "a dropped place becomes free again"]
pub struct Place {
    /// Declared first, so that it is dropped before the turn. The next owner of the turn then finds the process.
    process: Option<ReadyProcess>,
    _turn: Turn,
}

impl Function {
    /// Checks before the first batch whether there is a function to invoke.
    pub async fn check(&self) -> Result<(), FunctionError> {
        self.ready().await.map(drop)
    }

    /// Returns the places that all mappings of this function share.
    pub fn places(&self) -> &Places {
        match self {
            Self::InProcess(function) => function.places(),
            Self::Processes(processes) => processes.places(),
            Self::InvokeUrl(url) => url.places(),
        }
    }

    /// Waits for a place at which an invocation can start at once: a process that polls, or a server that accepts
    /// connections.
    pub async fn ready(&self) -> Result<Place, FunctionError> {
        let turn = self.places().take().await.ok_or(FunctionError::ShutDown)?;
        let process = match self {
            Self::InProcess(_) => None,
            Self::Processes(processes) => Some(processes.ready().await?),
            Self::InvokeUrl(url) => {
                url.check().await?;
                None
            }
        };
        Ok(Place { process, _turn: turn })
    }

    /// Returns another place if one is free and no process has to be started.
    pub fn try_ready(&self) -> Option<Place> {
        let turn = self.places().try_take()?;
        let process = match self {
            Self::InProcess(_) | Self::InvokeUrl(_) => None,
            Self::Processes(processes) => Some(processes.try_ready()?),
        };
        Some(Place { process, _turn: turn })
    }

    /// Returns the answer unchanged; it may not be JSON. An error fails the whole batch, unless the function
    /// [has not run](FunctionError::has_not_run). In that case the caller may use the same place again.
    pub async fn invoke(&self, place: &mut Place, invocation: &Invocation) -> Result<Bytes, FunctionError> {
        match self {
            Self::InProcess(function) => function.invoke(invocation.clone()).await,
            Self::Processes(processes) => processes.invoke(&mut place.process, invocation).await,
            Self::InvokeUrl(url) => url.invoke(invocation).await,
        }
    }

    /// Returns whether an invocation may take longer than its timeout, for example because a server builds the function
    /// first.
    pub fn may_outlast_timeout(&self) -> bool {
        matches!(self, Self::InvokeUrl(_))
    }

    #[cfg(test)]
    pub async fn call(&self, invocation: Invocation) -> Result<Bytes, FunctionError> {
        let mut place = self.ready().await?;
        self.invoke(&mut place, &invocation).await
    }

    /// Stops accepting invocations, waits for running ones, and cancels them at the drain limit.
    pub async fn shut_down(&self, drain_limit: Duration) {
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
