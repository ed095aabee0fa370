//! What an event source mapping invokes: a function in this process, in processes of its own, or served elsewhere.

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

/// The largest answer that Lambda takes from a function, in bytes. Events are as large at most.
///
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
pub const PAYLOAD_LIMIT_BYTES: usize = 6 * 1024 * 1024 + 100;

/// A function, wherever it runs. Clones are the same function.
#[derive(Clone)]
pub enum Function {
    InProcess(InProcess),
    Processes(Arc<Processes>),
    InvokeUrl(Arc<InvokeUrl>),
}

/// One call of a function.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// What the function's log names the call by. A function that is served elsewhere makes up its own.
    pub request_id: String,
    /// JSON.
    pub event: Bytes,
    pub function_arn: String,
    /// The function's own, and not the queue's visibility timeout.
    pub timeout: Duration,
    /// `AWSTraceHeader`, as X-Ray has it.
    pub trace_header: Option<String>,
}

/// The right to one invocation of a function at a time, and the process that will run it, where the function has processes.
///
/// Whoever receives messages takes it first: [`Function::invoke`] takes no invocation without one.
#[must_use = "a place that is dropped is free again"]
pub struct Place {
    /// Goes back before the turn does, so that whoever has the next turn finds it.
    process: Option<ReadyProcess>,
    _turn: Turn,
}

impl Function {
    /// Finds out before the first batch whether there is a function to invoke.
    pub async fn check(&self) -> Result<(), FunctionError> {
        self.ready().await.map(drop)
    }

    /// The places that all mappings of this function share.
    pub fn places(&self) -> &Places {
        match self {
            Self::InProcess(function) => function.places(),
            Self::Processes(processes) => processes.places(),
            Self::InvokeUrl(url) => url.places(),
        }
    }

    /// Waits for a place at which an invocation can begin at once: a process that has asked for one, or a server that
    /// listens.
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

    /// Another place, if one is free and nothing has to be started or asked for it.
    pub fn try_ready(&self) -> Option<Place> {
        let turn = self.places().try_take()?;
        let process = match self {
            Self::InProcess(_) | Self::InvokeUrl(_) => None,
            Self::Processes(processes) => Some(processes.try_ready()?),
        };
        Some(Place { process, _turn: turn })
    }

    /// Gives back the answer as it came, which need not be JSON. An error fails the whole batch, unless the function
    /// [has not run](FunctionError::has_not_run): then the same place may be used again.
    pub async fn invoke(&self, place: &mut Place, invocation: &Invocation) -> Result<Bytes, FunctionError> {
        match self {
            Self::InProcess(function) => function.invoke(invocation.clone()).await,
            Self::Processes(processes) => processes.invoke(&mut place.process, invocation).await,
            Self::InvokeUrl(url) => url.invoke(invocation).await,
        }
    }

    /// Whether an invocation may take longer than its timeout, as one does that waits for a build elsewhere.
    pub fn may_outlast_timeout(&self) -> bool {
        matches!(self, Self::InvokeUrl(_))
    }

    #[cfg(test)]
    pub async fn call(&self, invocation: Invocation) -> Result<Bytes, FunctionError> {
        let mut place = self.ready().await?;
        self.invoke(&mut place, &invocation).await
    }

    /// Invokes no more, waits for what runs, and ends what still runs when the drain limit is over.
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
