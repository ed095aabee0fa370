//! Runs a function in child processes.

use std::future::Future;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use redrive_local::function::{BoxFuture, Function, Invocation, InvokeError, Invoker, Slots};
use tokio::sync::watch;

use super::environment::{Environment, Invoked, NotTaken};
use super::error::FunctionError;
use super::log::LogSink;
use super::program::{Program, Settings};

/// The limit for a process until its first poll. Lambda allows 10 s. A debug build on a busy laptop is slower than a
/// release build on Lambda.
const INIT_LIMIT: Duration = Duration::from_secs(30);

/// A function in child processes that use the Lambda Runtime API. Each concurrent invocation has its own process.
/// Processes start before an invocation needs them and are reused.
///
/// Dropping this value ends all processes, and dropping an invocation ends its process. [`shut_down`](Self::shut_down)
/// lets running invocations finish.
pub(crate) struct Processes {
    settings: Settings,
    sink: LogSink,
    init_limit: Duration,
    slots: Slots,
    phase: watch::Sender<Phase>,
    pool: Arc<Mutex<Pool>>,
}

struct Pool {
    /// The program of new environments.
    program: Arc<Program>,
    /// The number of programs so far, and the number of `program`.
    programs: u64,
    current: u64,
    /// The environments that wait for an invocation, oldest first.
    idle: Vec<Environment>,
}

/// A process that polls for an invocation. Dropping it returns it to the pool, unless its program has been replaced.
struct ReadyProcess {
    pool: Arc<Mutex<Pool>>,
    environment: Option<Environment>,
}

/// Runs one invocation after the other, each in a process that was ready before.
struct ProcessInvoker {
    processes: Arc<Processes>,
    ready: Option<ReadyProcess>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    /// No further invocation starts.
    Draining,
    /// Running invocations are cancelled.
    Ending,
}

impl Processes {
    /// Creates a function without processes. They start on demand before an invocation. A concurrency of 0 counts
    /// as 1.
    pub(crate) fn new(program: Program, settings: Settings, concurrency: u32, sink: LogSink) -> Self {
        let pool = Pool { program: Arc::new(program), programs: 0, current: 0, idle: Vec::new() };
        Self {
            settings,
            sink,
            init_limit: INIT_LIMIT,
            slots: Slots::new(usize::try_from(concurrency).unwrap_or(usize::MAX)),
            phase: watch::Sender::new(Phase::Running),
            pool: Arc::new(Mutex::new(pool)),
        }
    }

    #[cfg(test)]
    pub(crate) fn with_init_limit(mut self, limit: Duration) -> Self {
        self.init_limit = limit;
        self
    }

    /// Checks that the program starts. Its process stays ready for the first invocation.
    pub(crate) async fn check(&self) -> Result<(), FunctionError> {
        let _permit = self.slots.take().await;
        self.ready_process().await.map(drop)
    }

    /// Returns a process that waits for an invocation, and starts one if necessary.
    async fn ready_process(&self) -> Result<ReadyProcess, FunctionError> {
        self.unless_shut_down(async {
            let environment = match self.take_idle().await {
                Some(environment) => environment,
                None => self.start(self.program()).await?,
            };
            Ok(self.keep(environment))
        })
        .await
    }

    /// Returns an idle process if there is one.
    fn idle_process(&self) -> Option<ReadyProcess> {
        let mut environment = self.pool().idle.pop()?;
        // Dropping an exited process reaps it.
        (!environment.has_exited()).then(|| self.keep(environment))
    }

    /// Runs an invocation in the ready process. Afterwards the process is ready again, unless it has exited.
    async fn invoke(&self, ready: &mut Option<ReadyProcess>, invocation: &Invocation) -> Result<Bytes, FunctionError> {
        self.unless_shut_down(async {
            let Invoked { result, environment } = self.run(ready.take(), invocation).await?;
            if let Some(environment) = environment {
                *ready = self.keep_current(environment).await;
            }
            result
        })
        .await
    }

    #[cfg(test)]
    async fn call(&self, invocation: &Invocation) -> Result<Bytes, FunctionError> {
        let _permit = self.slots.take().await;
        let mut ready = Some(self.ready_process().await?);
        self.invoke(&mut ready, invocation).await
    }

    /// Reslots the program, for example after a build. The new program has to start first; if it fails, the old one
    /// stays. Running invocations finish with the old program.
    pub(crate) async fn replace(&self, program: Program) -> Result<(), FunctionError> {
        let number = {
            let mut pool = self.pool();
            pool.programs += 1;
            pool.programs
        };
        let program = Arc::new(program);
        let environment = self.unless_shut_down(self.start(program.clone())).await?;
        let old = {
            let mut pool = self.pool();
            if pool.current > number {
                // A program from a later build may start before an earlier one.
                vec![environment]
            } else {
                pool.current = number;
                pool.program = program;
                mem::replace(&mut pool.idle, vec![environment])
            }
        };
        end_all(old).await;
        Ok(())
    }

    /// Stops accepting invocations, waits for running ones, and cancels them at the drain limit. No process is left
    /// afterwards.
    pub(crate) async fn shut_down(&self, drain_limit: Duration) {
        self.phase.send_replace(Phase::Draining);
        // Invocations that already wait for a place get it first, and then find the phase changed.
        if tokio::time::timeout(drain_limit, self.slots.take_all()).await.is_err() {
            self.phase.send_replace(Phase::Ending);
            // The cancelled invocations now return their slots.
            drop(self.slots.take_all().await);
        }
        let idle = mem::take(&mut self.pool().idle);
        end_all(idle).await;
    }

    /// Runs `work`, unless a shutdown started before or ends it.
    async fn unless_shut_down<T>(
        &self,
        work: impl Future<Output = Result<T, FunctionError>>,
    ) -> Result<T, FunctionError> {
        let mut phase = self.phase.subscribe();
        if *phase.borrow_and_update() != Phase::Running {
            return Err(FunctionError::ShutDown);
        }
        tokio::select! {
            biased;
            result = work => result,
            // The select drops `work`, which kills its process.
            _ = phase.wait_for(|&phase| phase == Phase::Ending) => Err(FunctionError::ShutDown),
        }
    }

    async fn run(&self, ready: Option<ReadyProcess>, invocation: &Invocation) -> Result<Invoked, FunctionError> {
        let mut next = ready.and_then(ReadyProcess::into_current);
        // An idle process may have exited unnoticed. It has not seen the invocation, so another process can run it.
        loop {
            let environment = match next.take() {
                Some(environment) => environment,
                None => match self.take_idle().await {
                    Some(environment) => environment,
                    None => break,
                },
            };
            if let Ok(invoked) = environment.invoke(invocation).await {
                return Ok(invoked);
            }
        }
        let environment = self.start(self.program()).await?;
        environment.invoke(invocation).await.map_err(|NotTaken| FunctionError::NotTaken)
    }

    async fn start(&self, program: Arc<Program>) -> Result<Environment, FunctionError> {
        Environment::start(program, &self.settings, &self.sink, self.init_limit).await
    }

    /// Returns the most recently used environment. Surplus environments therefore stay idle.
    async fn take_idle(&self) -> Option<Environment> {
        loop {
            // A separate statement, so that the lock is released before the await.
            let idle = self.pool().idle.pop();
            let mut environment = idle?;
            if !environment.has_exited() {
                return Some(environment);
            }
            environment.end().await;
        }
    }

    fn keep(&self, environment: Environment) -> ReadyProcess {
        ReadyProcess { pool: self.pool.clone(), environment: Some(environment) }
    }

    /// Keeps an environment for the next invocation, unless its program has been replaced.
    async fn keep_current(&self, environment: Environment) -> Option<ReadyProcess> {
        if environment.runs(&self.program()) {
            return Some(self.keep(environment));
        }
        environment.end().await;
        None
    }

    fn program(&self) -> Arc<Program> {
        self.pool().program.clone()
    }

    fn pool(&self) -> MutexGuard<'_, Pool> {
        lock(&self.pool)
    }
}

impl Function for Processes {
    fn slots(&self) -> &Slots {
        &self.slots
    }

    fn ready(self: Arc<Self>) -> BoxFuture<'static, Result<Box<dyn Invoker>, InvokeError>> {
        Box::pin(async move {
            let ready = Some(self.ready_process().await?);
            Ok(Box::new(ProcessInvoker { processes: self, ready }) as Box<dyn Invoker>)
        })
    }

    fn try_ready(self: Arc<Self>) -> Option<Box<dyn Invoker>> {
        let ready = Some(self.idle_process()?);
        Some(Box::new(ProcessInvoker { processes: self, ready }))
    }
}

impl Invoker for ProcessInvoker {
    fn invoke<'a>(&'a mut self, invocation: &'a Invocation) -> BoxFuture<'a, Result<Bytes, InvokeError>> {
        Box::pin(async move { Ok(self.processes.invoke(&mut self.ready, invocation).await?) })
    }
}

impl ReadyProcess {
    /// Returns the environment if it runs the current program.
    fn into_current(mut self) -> Option<Environment> {
        let environment = self.environment.take()?;
        let is_current = environment.runs(&lock(&self.pool).program);
        is_current.then_some(environment)
    }
}

impl Drop for ReadyProcess {
    fn drop(&mut self) {
        let Some(environment) = self.environment.take() else { return };
        let mut pool = lock(&self.pool);
        if environment.runs(&pool.program) {
            pool.idle.push(environment);
        }
    }
}

fn lock(pool: &Mutex<Pool>) -> MutexGuard<'_, Pool> {
    // No code panics while it holds the lock, so the data is valid.
    pool.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends idle environments. Each one exits quickly.
async fn end_all(environments: Vec<Environment>) {
    for environment in environments {
        environment.end().await;
    }
}

#[cfg(test)]
mod tests;
