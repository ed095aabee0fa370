//! Answers an orchestrator's probes about a worker's health.

use std::convert::Infallible;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::handle::WorkerHandle;

/// The health of a worker. Its pollers and its shutdown update it.
#[derive(Debug)]
pub(super) struct Health {
    stage: Mutex<Stage>,
    /// When the handlers' runtime last ran a task.
    took_up: Mutex<Instant>,
    handle: WorkerHandle,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The worker reads its queue's attributes.
    Beginning,
    /// The worker has found its queue. It waits for the answer to its first poll, or it is paused.
    Begun,
    /// SQS has answered the last poll.
    Polling,
    /// The last call failed: SQS was unreachable, refused the call, or the credentials were missing.
    Failing,
    /// The worker was asked to end and settles the messages it has received.
    Closing,
}

/// The line of an answer: `Ok` becomes status 200, `Err` becomes 503.
type ProbeResult = Result<&'static str, &'static str>;

/// The time between two tests of the handlers' runtime.
const PULSE: Duration = Duration::from_secs(10);

/// After this time the worker is not alive. Handlers that block every thread for this long rarely recover.
const STUCK_AFTER: Duration = Duration::from_secs(60);

impl Health {
    pub(super) fn new(handle: WorkerHandle) -> Self {
        Self { stage: Mutex::new(Stage::Beginning), took_up: Mutex::new(Instant::now()), handle }
    }

    /// Records the worker's stage. After `Closing` it stays the same.
    pub(super) fn note(&self, stage: Stage) {
        let mut now = lock(&self.stage);
        if *now != Stage::Closing {
            *now = stage;
        }
    }

    /// Returns whether the worker polls or is paused.
    fn readiness(&self) -> ProbeResult {
        match *lock(&self.stage) {
            Stage::Begun if self.handle.is_paused() => Ok("paused"),
            Stage::Beginning | Stage::Begun => Err("starting: the queue has not answered yet"),
            Stage::Failing => Err("failing: the last call to the queue failed; see the log"),
            Stage::Closing => Err("closing: the worker settles its messages and ends"),
            Stage::Polling if self.handle.is_paused() => Ok("paused"),
            Stage::Polling => Ok("polling"),
        }
    }

    /// Returns an error if only a restart can help.
    fn liveness(&self) -> ProbeResult {
        if lock(&self.took_up).elapsed() < STUCK_AFTER {
            Ok("alive")
        } else {
            Err("stuck: handlers have blocked every thread of their runtime for a minute")
        }
    }

    /// Tests repeatedly whether the handlers' runtime has a free thread. Never returns.
    async fn feel_pulse(&self, handlers: &Handle) -> Infallible {
        loop {
            // The task waits behind every blocked thread, and so does this loop.
            if handlers.spawn(std::future::ready(())).await.is_ok() {
                *lock(&self.took_up) = Instant::now();
            }
            sleep(PULSE).await;
        }
    }

    /// Answers `GET /livez` and `GET /readyz`. Never returns.
    pub(super) async fn serve(&self, listener: TcpListener, handlers: &Handle) -> Infallible {
        tokio::select! {
            never = self.feel_pulse(handlers) => never,
            never = self.accept(listener) => never,
        }
    }

    async fn accept(&self, listener: TcpListener) -> Infallible {
        let mut connections = JoinSet::new();
        loop {
            // Connections are limited because probes are few. A full set delays the next probe by at most the
            // connection timeout.
            if connections.len() == MAX_CONNECTIONS {
                connections.join_next().await;
            }
            match listener.accept().await {
                Ok((stream, _)) => drop(connections.spawn(answer(stream, self.readiness(), self.liveness()))),
                Err(error) => {
                    // The usual cause is that no file descriptors are left. Retrying at once would spin.
                    tracing::warn!(%error, "failed to accept a probe of the health port; trying again in a second");
                    sleep(Duration::from_secs(1)).await;
                }
            }
            while connections.try_join_next().is_some() {}
        }
    }
}

const MAX_CONNECTIONS: usize = 16;

/// Limits a connection. A probe sends its few bytes at once.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(5);

/// Answers one request and closes the connection.
async fn answer(stream: TcpStream, readiness: ProbeResult, liveness: ProbeResult) {
    let service = service_fn(move |request: Request<Incoming>| {
        std::future::ready(Ok::<_, Infallible>(response(&request, readiness, liveness)))
    });
    let mut server = http1::Builder::new();
    server.keep_alive(false).timer(TokioTimer::new()).header_read_timeout(CONNECTION_TIMEOUT);
    let connection = server.serve_connection(TokioIo::new(stream), service);
    match tokio::time::timeout(CONNECTION_TIMEOUT, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a probe of the health port ended early"),
        Err(_) => tracing::debug!("closed a probe of the health port that took too long"),
    }
}

fn response(request: &Request<Incoming>, readiness: ProbeResult, liveness: ProbeResult) -> Response<String> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refused = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are answered");
        refused.headers_mut().insert(ALLOW, "GET, HEAD".parse().expect("the value is ASCII"));
        return refused;
    }
    let verdict = match request.uri().path() {
        "/livez" => liveness,
        "/readyz" => readiness,
        _ => return text(StatusCode::NOT_FOUND, "unknown path; ask for /livez or /readyz"),
    };
    match verdict {
        Ok(well) => text(StatusCode::OK, well),
        Err(ill) => text(StatusCode::SERVICE_UNAVAILABLE, ill),
    }
}

fn text(status: StatusCode, line: &str) -> Response<String> {
    let mut response = Response::new(format!("{line}\n"));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, "text/plain; charset=utf-8".parse().expect("the value is ASCII"));
    response
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No user code runs under the lock, so its data is valid even if it is poisoned.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_worker_is_not_alive_after_its_handlers_block_every_thread_for_a_minute() {
        // Nothing drives this runtime, like a runtime whose threads are all blocked.
        let blocked = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let health = Health::new(WorkerHandle::default());
        let feeling = health.feel_pulse(blocked.handle());
        assert!(tokio::time::timeout(STUCK_AFTER - PULSE, feeling).await.is_err());
        assert_eq!(health.liveness(), Ok("alive"));
        sleep(PULSE).await;
        assert!(health.liveness().unwrap_err().starts_with("stuck"));
        blocked.shutdown_background();
    }

    #[tokio::test(start_paused = true)]
    async fn a_worker_is_alive_while_its_runtime_runs_tasks() {
        let health = Health::new(WorkerHandle::default());
        let handlers = Handle::current();
        assert!(tokio::time::timeout(10 * STUCK_AFTER, health.feel_pulse(&handlers)).await.is_err());
        assert_eq!(health.liveness(), Ok("alive"));
    }

    #[tokio::test]
    async fn a_worker_is_ready_while_its_polls_are_answered_or_it_is_paused() {
        let handle = WorkerHandle::default();
        let health = Health::new(handle.clone());
        assert!(health.readiness().is_err());
        health.note(Stage::Begun);
        assert!(health.readiness().is_err());
        health.note(Stage::Polling);
        assert_eq!(health.readiness(), Ok("polling"));
        handle.pause();
        assert_eq!(health.readiness(), Ok("paused"));
        health.note(Stage::Failing);
        assert!(health.readiness().is_err());
        health.note(Stage::Closing);
        health.note(Stage::Polling);
        assert!(health.readiness().is_err(), "a poll under way does not reopen a closing worker");
    }
}
