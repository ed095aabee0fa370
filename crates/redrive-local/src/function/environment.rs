//! An execution environment: a process, and the Runtime API that it polls.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use tokio::time::Instant;

use super::Invocation;
use super::child::Process;
use super::error::{FunctionError, NeverPolled};
use super::log::LogSink;
use super::program::{Program, Settings};
use super::runtime_api::RuntimeApi;

/// As on Lambda it has one invocation at a time. It ends when it is dropped, with its process.
pub(super) struct Environment {
    program: Arc<Program>,
    process: Process,
    api: RuntimeApi,
}

/// An invocation that is over.
pub(super) struct Invoked {
    pub(super) result: Result<Bytes, FunctionError>,
    /// Where it ran, if it waits for another.
    pub(super) environment: Option<Environment>,
}

/// The process ended, or stopped polling, before it had the invocation: no function has seen it.
pub(super) struct NotTaken;

impl Environment {
    /// Starts a process, and waits for its first poll.
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
            // A function that failed to start reports it, and then exits.
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

    /// Runs an invocation. An environment in which it was cut short is not given back: Lambda starts a new one as well.
    pub(super) async fn invoke(mut self, invocation: &Invocation) -> Result<Invoked, NotTaken> {
        let time = tokio::time::sleep(invocation.timeout);
        let deadline = time.deadline();
        self.process.begin(&invocation.request_id);
        let mut answer = self.api.hand_in(invocation);
        let error = tokio::select! {
            biased;
            Ok(answer) = &mut answer => {
                let result = answer.map_err(FunctionError::Raised);
                return Ok(Invoked { result, environment: self.settle(deadline).await });
            }
            status = self.process.exited() => FunctionError::Crashed { status },
            () = time => FunctionError::TimedOut { timeout: invocation.timeout },
        };
        let was_out = self.api.is_out(&invocation.request_id);
        self.end().await;
        match answer.try_recv() {
            // It came with the last that the process did.
            Ok(answer) => Ok(Invoked { result: answer.map_err(FunctionError::Raised), environment: None }),
            Err(_) if was_out => Ok(Invoked { result: Err(error), environment: None }),
            Err(_) => Err(NotTaken),
        }
    }

    /// Waits for the next poll, with which Lambda too takes an invocation to be over. It comes at once, unless the
    /// function exits, or blocks its thread until the invocation's time is over.
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

    /// Kills the process, and waits for its end.
    pub(super) async fn end(self) {
        self.process.kill().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::function::test_function::{self, INIT, invocation};

    #[tokio::test]
    async fn an_invocation_that_no_process_came_for_has_not_begun() {
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
