//! What an orchestrator is told of a worker, and the small server that tells it.

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

/// How a worker does, as its polls and its end have it.
#[derive(Debug)]
pub(super) struct Health {
    stage: Mutex<Stage>,
    /// When the runtime of the handlers last took up a task.
    took_up: Mutex<Instant>,
    handle: WorkerHandle,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// It looks for its queue.
    Beginning,
    /// It has found its queue, and waits for the answer to its first poll; or, paused, for who has it go on.
    Begun,
    /// SQS has answered the last poll.
    Polling,
    /// SQS could not be reached, or refused the last call, or there were no credentials for it.
    Failing,
    /// It was asked to end, and finishes what it has begun.
    Closing,
}

/// What is said, and whether it is well.
type Verdict = Result<&'static str, &'static str>;

/// How often the handlers' runtime is asked whether it has a thread.
const PULSE: Duration = Duration::from_secs(10);

/// Handlers that block every thread for so long will hardly let one go.
const STUCK_AFTER: Duration = Duration::from_secs(60);

impl Health {
    pub(super) fn new(handle: WorkerHandle) -> Self {
        Self { stage: Mutex::new(Stage::Beginning), took_up: Mutex::new(Instant::now()), handle }
    }

    /// What has happened last. Nothing does after the end has begun.
    pub(super) fn note(&self, stage: Stage) {
        let mut now = lock(&self.stage);
        if *now != Stage::Closing {
            *now = stage;
        }
    }

    /// Whether it does its work.
    fn readiness(&self) -> Verdict {
        match *lock(&self.stage) {
            Stage::Begun if self.handle.is_paused() => Ok("paused"),
            Stage::Beginning | Stage::Begun => Err("beginning: the queue has not answered yet"),
            Stage::Failing => Err("the queue cannot be polled; the log says why"),
            Stage::Closing => Err("closing: what has begun runs to its end"),
            Stage::Polling if self.handle.is_paused() => Ok("paused"),
            Stage::Polling => Ok("polling"),
        }
    }

    /// Whether a restart would help.
    fn liveness(&self) -> Verdict {
        if lock(&self.took_up).elapsed() < STUCK_AFTER {
            Ok("alive")
        } else {
            Err("stuck: handlers have blocked every thread of their runtime for a minute")
        }
    }

    /// Asks the runtime of the handlers again and again whether it has a thread. Does not end.
    async fn feel_pulse(&self, handlers: &Handle) -> Infallible {
        loop {
            // It waits in line behind whatever blocks, and so does this.
            if handlers.spawn(std::future::ready(())).await.is_ok() {
                *lock(&self.took_up) = Instant::now();
            }
            sleep(PULSE).await;
        }
    }

    /// Answers `GET /livez` and `GET /readyz`. Does not end.
    pub(super) async fn serve(&self, listener: TcpListener, handlers: &Handle) -> Infallible {
        tokio::select! {
            never = self.feel_pulse(handlers) => never,
            never = self.accept(listener) => never,
        }
    }

    async fn accept(&self, listener: TcpListener) -> Infallible {
        let mut connections = JoinSet::new();
        loop {
            // Probes are few. Whoever holds connections open makes others wait for at most the timeout of those.
            if connections.len() == MAX_CONNECTIONS {
                connections.join_next().await;
            }
            match listener.accept().await {
                Ok((stream, _)) => drop(connections.spawn(answer(stream, self.readiness(), self.liveness()))),
                Err(error) => {
                    // Most likely there are no file descriptors left, which takes its time.
                    tracing::warn!(%error, "a probe of the health port could not be accepted");
                    sleep(Duration::from_secs(1)).await;
                }
            }
            while connections.try_join_next().is_some() {}
        }
    }
}

const MAX_CONNECTIONS: usize = 16;

/// A probe sends its few bytes at once.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(5);

/// One request a connection.
async fn answer(stream: TcpStream, readiness: Verdict, liveness: Verdict) {
    let service = service_fn(move |request: Request<Incoming>| {
        std::future::ready(Ok::<_, Infallible>(response(&request, readiness, liveness)))
    });
    let mut server = http1::Builder::new();
    server.keep_alive(false).timer(TokioTimer::new()).header_read_timeout(CONNECTION_TIMEOUT);
    let connection = server.serve_connection(TokioIo::new(stream), service);
    match tokio::time::timeout(CONNECTION_TIMEOUT, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a probe of the health port broke off"),
        Err(_) => tracing::debug!("a probe of the health port was too slow"),
    }
}

fn response(request: &Request<Incoming>, readiness: Verdict, liveness: Verdict) -> Response<String> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refused = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are answered");
        refused.headers_mut().insert(ALLOW, "GET, HEAD".parse().expect("it is ASCII"));
        return refused;
    }
    let verdict = match request.uri().path() {
        "/livez" => liveness,
        "/readyz" => readiness,
        _ => return text(StatusCode::NOT_FOUND, "there are /livez and /readyz"),
    };
    match verdict {
        Ok(well) => text(StatusCode::OK, well),
        Err(ill) => text(StatusCode::SERVICE_UNAVAILABLE, ill),
    }
}

fn text(status: StatusCode, line: &str) -> Response<String> {
    let mut response = Response::new(format!("{line}\n"));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, "text/plain; charset=utf-8".parse().expect("it is ASCII"));
    response
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No user's code runs under it.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_worker_whose_handlers_never_let_a_thread_go_is_not_alive() {
        // Nothing drives it, as nothing drives one whose threads are all blocked.
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
    async fn a_pulse_keeps_it_alive() {
        let health = Health::new(WorkerHandle::default());
        let handlers = Handle::current();
        assert!(tokio::time::timeout(10 * STUCK_AFTER, health.feel_pulse(&handlers)).await.is_err());
        assert_eq!(health.liveness(), Ok("alive"));
    }

    #[tokio::test]
    async fn it_is_ready_while_its_polls_are_answered() {
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
        assert!(health.readiness().is_err(), "a poll under way changes nothing of the end");
    }
}
