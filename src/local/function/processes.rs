//! A function in processes of its own, which this process starts and ends.

use std::future::Future;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use tokio::sync::{Semaphore, watch};

use super::Invocation;
use super::environment::{Environment, Invoked, NotTaken};
use super::error::FunctionError;
use super::log::LogSink;
use super::program::{Program, Settings};

/// How long a process may take to its first poll. Lambda gives it 10 s; a debug build on a laptop that is busy building
/// is slower than a release there.
const INIT_LIMIT: Duration = Duration::from_secs(30);

/// A function over the Lambda Runtime API: a process for each invocation that runs at a time, started when there is none
/// free, and used again.
///
/// All of them end when this is dropped, and one of them when its invocation is. [`shut_down`](Self::shut_down) lets what
/// runs come to its end.
pub(crate) struct Processes {
    settings: Settings,
    sink: LogSink,
    init_limit: Duration,
    concurrency: u32,
    /// One for each invocation that may run. All of them at once mean that none does.
    permits: Semaphore,
    phase: watch::Sender<Phase>,
    pool: Mutex<Pool>,
}

struct Pool {
    /// What new environments run.
    program: Arc<Program>,
    /// Environments that wait for an invocation, that which has waited longest first.
    idle: Vec<Environment>,
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
    /// No process starts before the first invocation, or [`check`](Self::check). 0 invocations at a time count as 1; those
    /// beyond wait for their turn, and their time does not run meanwhile.
    pub(crate) fn new(program: Program, settings: Settings, concurrency: u32, sink: LogSink) -> Self {
        let concurrency = concurrency.max(1);
        Self {
            settings,
            sink,
            init_limit: INIT_LIMIT,
            concurrency,
            permits: Semaphore::new(usize::try_from(concurrency).unwrap_or(Semaphore::MAX_PERMITS)),
            phase: watch::Sender::new(Phase::Running),
            pool: Mutex::new(Pool { program: Arc::new(program), idle: Vec::new() }),
        }
    }

    #[cfg(test)]
    pub(crate) fn with_init_limit(mut self, limit: Duration) -> Self {
        self.init_limit = limit;
        self
    }

    /// Starts a process, if none waits, and keeps it for the first invocation.
    pub(super) async fn check(&self) -> Result<(), FunctionError> {
        self.while_permitted(async {
            let environment = match self.take_idle().await {
                Some(environment) => environment,
                None => self.start().await?,
            };
            self.give_back(environment).await;
            Ok(())
        })
        .await
    }

    pub(super) async fn invoke(&self, invocation: &Invocation) -> Result<Bytes, FunctionError> {
        self.while_permitted(self.run(invocation)).await
    }

    /// Has new invocations run another program, as after a build. What runs goes on to its end on the old one.
    pub(crate) async fn replace(&self, program: Program) {
        let idle = {
            let mut pool = self.pool();
            pool.program = Arc::new(program);
            mem::take(&mut pool.idle)
        };
        end_all(idle).await;
    }

    /// Begins no invocation any more, waits for those that run, and cuts short what still runs after the drain limit. When
    /// this returns no process is left.
    pub(crate) async fn shut_down(&self, drain_limit: Duration) {
        self.phase.send_replace(Phase::Draining);
        // Those that wait for their turn have it before this does, and find that it is too late.
        let drained = self.permits.acquire_many(self.concurrency);
        if tokio::time::timeout(drain_limit, drained).await.is_err() {
            self.phase.send_replace(Phase::Ending);
            // They give back their permits now. It only fails where this has been here before.
            let _ = self.permits.acquire_many(self.concurrency).await;
        }
        let idle = mem::take(&mut self.pool().idle);
        end_all(idle).await;
    }

    /// Does something when its turn has come, unless this is shut down before or meanwhile.
    async fn while_permitted<T>(
        &self,
        work: impl Future<Output = Result<T, FunctionError>>,
    ) -> Result<T, FunctionError> {
        let _permit = self.permits.acquire().await.map_err(|_| FunctionError::ShutDown)?;
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

    async fn run(&self, invocation: &Invocation) -> Result<Bytes, FunctionError> {
        // A process that waited may have ended just now, unseen. Nothing of the invocation has then been done, and it
        // goes to another.
        while let Some(environment) = self.take_idle().await {
            if let Ok(invoked) = environment.invoke(invocation).await {
                return self.finish(invoked).await;
            }
        }
        match self.start().await?.invoke(invocation).await {
            Ok(invoked) => self.finish(invoked).await,
            Err(NotTaken) => Err(FunctionError::NotTaken),
        }
    }

    async fn finish(&self, invoked: Invoked) -> Result<Bytes, FunctionError> {
        if let Some(environment) = invoked.environment {
            self.give_back(environment).await;
        }
        invoked.result
    }

    async fn start(&self) -> Result<Environment, FunctionError> {
        let program = self.pool().program.clone();
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

    /// Keeps an environment for the next invocation, unless its program has been replaced.
    async fn give_back(&self, environment: Environment) {
        let replaced = {
            let mut pool = self.pool();
            if environment.runs(&pool.program) {
                pool.idle.push(environment);
                None
            } else {
                Some(environment)
            }
        };
        if let Some(environment) = replaced {
            environment.end().await;
        }
    }

    fn pool(&self) -> MutexGuard<'_, Pool> {
        // Nothing panics while it is held.
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends environments that wait for nothing. Each of them takes but a moment.
async fn end_all(environments: Vec<Environment>) {
    for environment in environments {
        environment.end().await;
    }
}

#[cfg(test)]
mod tests;
