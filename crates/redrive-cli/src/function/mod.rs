//! Runs the functions of a template: in processes with a Lambda Runtime API, or on another server.
//!
//! | To find | Open |
//! |---|---|
//! | what a process may ask of Lambda | `runtime_api` |
//! | one process and its Runtime API | `environment` |
//! | the processes of a function, and a change of its program | `processes` |
//! | functions behind `--invoke-url` | `invoke_url` |

mod child;
mod environment;
mod error;
mod error_report;
mod http;
mod invoke_url;
mod log;
#[cfg(test)]
mod mapped;
mod process_group;
mod processes;
mod program;
mod runtime_api;
#[cfg(test)]
mod test_function;

use std::sync::Arc;
use std::time::Duration;

use redrive_local::function::Function;

pub(crate) use self::error::FunctionError;
pub(crate) use self::invoke_url::{DEFAULT_CONCURRENCY, DEFAULT_PATIENCE, InvokeUrl};
pub(crate) use self::log::LogLine;
pub(crate) use self::process_group::ProcessGroup;
pub(crate) use self::processes::Processes;
pub(crate) use self::program::{Program, Settings};

/// A function of the template that a mapping can invoke.
#[derive(Clone)]
pub(crate) enum RunningFunction {
    InProcesses(Arc<Processes>),
    AtUrl(Arc<InvokeUrl>),
}

impl RunningFunction {
    /// Returns the function for a mapping.
    pub(crate) fn to_function(&self) -> Arc<dyn Function> {
        match self {
            Self::InProcesses(processes) => processes.clone(),
            Self::AtUrl(url) => url.clone(),
        }
    }

    /// Checks before the first batch whether there is a function to invoke.
    pub(crate) async fn check(&self) -> Result<(), FunctionError> {
        match self {
            Self::InProcesses(processes) => processes.check().await,
            Self::AtUrl(url) => url.check().await,
        }
    }

    /// Stops accepting invocations, waits for running ones, and cancels them at the drain limit. A function on another
    /// server keeps running.
    pub(crate) async fn shut_down(&self, drain_limit: Duration) {
        match self {
            Self::InProcesses(processes) => processes.shut_down(drain_limit).await,
            Self::AtUrl(_) => {}
        }
    }
}
