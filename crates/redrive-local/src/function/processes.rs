//! A function in processes of its own, which this process starts and ends.

use std::future::Future;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use tokio::sync::watch;

use super::Invocation;
use super::environment::{Environment, Invoked, NotTaken};
use super::error::FunctionError;
use super::log::LogSink;
use super::places::Places;
use super::program::{Program, Settings};

/// How long a process may take to its first poll. Lambda gives it 10 s; a debug build on a laptop that is busy building
/// is slower than a release there.
const INIT_LIMIT: Duration = Duration::from_secs(30);

/// A function over the Lambda Runtime API: a process for each invocation that runs at a time, started before it is needed,
/// and used again.
///
/// All of them end when this is dropped, and one of them when its invocation is. [`shut_down`](Self::shut_down) lets what
/// runs come to its end.
pub struct Processes {
    settings: Settings,
    sink: LogSink,
    init_limit: Duration,
    places: Places,
    phase: watch::Sender<Phase>,
    pool: Arc<Mutex<Pool>>,
}

struct Pool {
    /// What new environments run.
    program: Arc<Program>,
    /// How many programs there have been, and which of them `program` is.
    programs: u64,
    current: u64,
    /// Environments that wait for an invocation, that which has waited longest first.
    idle: Vec<Environment>,
}

/// A process that has asked for an invocation. Dropped, it waits for another one, unless its program has been replaced.
pub(super) struct ReadyProcess {
    pool: Arc<Mutex<Pool>>,
    environment: Option<Environment>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    /// No invocation begins any more.
    Draining,
    /// Those that run are cut short.
    Ending,
}

impl Processes {
    /// No process starts before somebody wants one to be [ready](Self::ready). 0 invocations at a time count as 1.
    pub fn new(program: Program, settings: Settings, concurrency: u32, sink: LogSink) -> Self {
        let pool = Pool { program: Arc::new(program), programs: 0, current: 0, idle: Vec::new() };
        Self {
            settings,
            sink,
            init_limit: INIT_LIMIT,
            places: Places::new(usize::try_from(concurrency).unwrap_or(usize::MAX)),
            phase: watch::Sender::new(Phase::Running),
            pool: Arc::new(Mutex::new(pool)),
        }
    }

    #[cfg(test)]
    pub fn with_init_limit(mut self, limit: Duration) -> Self {
        self.init_limit = limit;
        self
    }

    pub(super) fn places(&self) -> &Places {
        &self.places
    }

    /// A process that waits for an invocation. If there is none, one is started.
    pub(super) async fn ready(&self) -> Result<ReadyProcess, FunctionError> {
        self.unless_shut_down(async {
            let environment = match self.take_idle().await {
                Some(environment) => environment,
                None => self.start(self.program()).await?,
            };
            Ok(self.keep(environment))
        })
        .await
    }

    /// A process that waits for an invocation, if there is one.
    pub(super) fn try_ready(&self) -> Option<ReadyProcess> {
        let mut environment = self.pool().idle.pop()?;
        // One that has ended is reaped by its drop.
        (!environment.has_exited()).then(|| self.keep(environment))
    }

    /// Runs an invocation in the process that is ready for it. Afterwards the process is ready for the next one, unless it
    /// has ended.
    pub(super) async fn invoke(
        &self,
        ready: &mut Option<ReadyProcess>,
        invocation: &Invocation,
    ) -> Result<Bytes, FunctionError> {
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
        let _turn = self.places.take().await;
        let mut ready = Some(self.ready().await?);
        self.invoke(&mut ready, invocation).await
    }

    /// Runs another program from now on, as after a build. It is started first: where it does not start, the old one goes
    /// on. What runs comes to its end on the old one.
    pub async fn replace(&self, program: Program) -> Result<(), FunctionError> {
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
                // A program that was built later has started sooner.
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

    /// Begins no invocation any more, waits for those that run, and cuts short what still runs after the drain limit. When
    /// this returns no process is left.
    pub async fn shut_down(&self, drain_limit: Duration) {
        self.phase.send_replace(Phase::Draining);
        // Those that wait for their turn have it before this does, and find that it is too late.
        if tokio::time::timeout(drain_limit, self.places.take_all()).await.is_err() {
            self.phase.send_replace(Phase::Ending);
            // They give back their places now.
            self.places.take_all().await;
        }
        let idle = mem::take(&mut self.pool().idle);
        end_all(idle).await;
    }

    /// Does something, unless this is shut down before or meanwhile.
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
            // What was at work is dropped, and with it killed.
            _ = phase.wait_for(|&phase| phase == Phase::Ending) => Err(FunctionError::ShutDown),
        }
    }

    async fn run(&self, ready: Option<ReadyProcess>, invocation: &Invocation) -> Result<Invoked, FunctionError> {
        let mut next = ready.and_then(ReadyProcess::into_current);
        // A process that waited may have ended just now, unseen. Nothing of the invocation has then been done, and it
        // goes to another.
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

    /// The environment that was used last: those beyond what is needed stay idle.
    async fn take_idle(&self) -> Option<Environment> {
        loop {
            // A statement of its own: the pool is not held any longer.
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

impl ReadyProcess {
    /// The environment, if it runs the program that is to run now.
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
    // Nothing panics while it is held.
    pool.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends environments that wait for nothing. Each of them takes but a moment.
async fn end_all(environments: Vec<Environment>) {
    for environment in environments {
        environment.end().await;
    }
}

#[cfg(test)]
mod tests;
