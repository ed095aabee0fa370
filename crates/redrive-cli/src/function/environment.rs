//! Manages an execution environment: a process and its Runtime API.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use redrive_local::function::Invocation;
use tokio::time::Instant;

use super::child::Process;
use super::error::{FunctionError, NeverPolled};
use super::log::LogSink;
use super::program::{Program, Settings};
use super::runtime_api::RuntimeApi;

/// An execution environment. As on Lambda, it runs one invocation at a time. Dropping it ends its process.
pub(super) struct Environment {
    program: Arc<Program>,
    process: Process,
    api: RuntimeApi,
}

/// A finished invocation.
pub(super) struct Invoked {
    pub(super) result: Result<Bytes, FunctionError>,
    /// The environment, if it is ready for another invocation.
    pub(super) environment: Option<Environment>,
}

/// The process exited or stopped polling before it took the invocation, so the function has not seen it.
pub(super) struct NotTaken;

impl Environment {
    /// Starts a process and waits for its first poll.
    pub(super) async fn start(
        program: Arc<Program>,
        settings: &Settings,
        sink: &LogSink,
        init_limit: Duration,
    ) -> Result<Self, FunctionError> {
        let not_started = |error: std::io::Error| {
            let executable = program.executable.clone();
            FunctionError::NotStarted { executable, problem: error.to_string() }
        };
        let api = RuntimeApi::start().await.map_err(not_started)?;
        let process = Process::start(program.command(settings, api.address()), sink).map_err(not_started)?;
        let mut environment = Self { program, process, api };
        match environment.first_poll(init_limit).await {
            Ok(()) => Ok(environment),
            Err(error) => {
                environment.end().await;
                Err(error)
            }
        }
    }

    async fn first_poll(&mut self, init_limit: Duration) -> Result<(), FunctionError> {
        tokio::select! {
            biased;
            report = self.api.init_error() => Err(FunctionError::InitFailed(report)),
            () = self.api.polled() => Ok(()),
            // A function that fails to start reports the error before it exits.
            status = self.process.exited() => Err(match self.api.init_error_so_far() {
                Some(report) => FunctionError::InitFailed(report),
                None => FunctionError::NeverPolled(NeverPolled::Exited { status }),
            }),
            () = tokio::time::sleep(init_limit) => Err(FunctionError::NeverPolled(NeverPolled::Within(init_limit))),
        }
    }

    pub(super) fn runs(&self, program: &Arc<Program>) -> bool {
        Arc::ptr_eq(&self.program, program)
    }

    pub(super) fn has_exited(&mut self) -> bool {
        self.process.has_exited()
    }

    /// Runs an invocation. Returns no environment if it was cancelled, because Lambda starts a new one as well.
    pub(super) async fn invoke(mut self, invocation: &Invocation) -> Result<Invoked, NotTaken> {
        let time = tokio::time::sleep(invocation.timeout);
        let deadline = time.deadline();
        self.process.begin(&invocation.request_id);
        let mut answer = self.api.offer(invocation);
        let error = tokio::select! {
            biased;
            Ok(answer) = &mut answer => {
                let result = answer.map_err(FunctionError::Raised);
                return Ok(Invoked { result, environment: self.settle(deadline).await });
            }
            status = self.process.exited() => FunctionError::Crashed { status },
            () = time => FunctionError::TimedOut { timeout: invocation.timeout },
        };
        let was_running = self.api.is_running(&invocation.request_id);
        self.end().await;
        match answer.try_recv() {
            // The function answered with the last action of its process.
            Ok(answer) => Ok(Invoked { result: answer.map_err(FunctionError::Raised), environment: None }),
            Err(_) if was_running => Ok(Invoked { result: Err(error), environment: None }),
            Err(_) => Err(NotTaken),
        }
    }

    /// Waits for the next poll, which ends an invocation on Lambda too. The poll follows at once, unless the function
    /// exits or blocks its thread until the invocation's timeout.
    async fn settle(mut self, deadline: Instant) -> Option<Self> {
        let polls = tokio::select! {
            biased;
            () = self.api.polled() => true,
            _ = self.process.exited() => false,
            () = tokio::time::sleep_until(deadline) => false,
        };
        if polls {
            return Some(self);
        }
        self.end().await;
        None
    }

    /// Kills the process and waits for its end.
    pub(super) async fn end(self) {
        self.process.kill().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::function::test_function::{self, INIT, invocation};

    #[tokio::test]
    async fn invocation_is_not_taken_when_no_process_polls_for_it() {
        let mut settings = Settings { name: "orders".to_owned(), ..Settings::default() };
        settings.variables.insert(INIT.to_owned(), "poll and leave".to_owned());
        let (program, sink): (_, LogSink) = (Arc::new(test_function::program()), Arc::new(|_| {}));
        let started = Environment::start(program, &settings, &sink, Duration::from_secs(60)).await;
        let environment = started.map_err(|error| error.to_string()).unwrap();
        environment.api.left().await;
        let mut invocation = invocation("{}");
        invocation.timeout = Duration::from_millis(10);
        assert!(matches!(environment.invoke(&invocation).await, Err(NotTaken)));
    }
}
