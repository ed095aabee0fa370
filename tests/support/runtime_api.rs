//! A Lambda Runtime API in this process. It hands events to a function and receives its answers, for tests and
//! benchmarks.
//!
//! The protocol: <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>.

#![allow(dead_code, reason = "the tests and the benchmark each use a part of it")]

use std::collections::HashMap;
use std::ffi::OsStr;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use tokio::process::Command;
use tokio::sync::{mpsc, oneshot, watch};

/// How many invocations may wait for a poller; further ones wait before they are queued.
const QUEUED_INVOCATIONS: usize = 64;

/// Limits how long [`RuntimeApi::invoke`] waits for an answer, so that a stuck function fails its test. Lambda itself
/// waits for the function's timeout, at most 15 minutes.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);

/// The variables that Lambda sets for every function, apart from its Runtime API's address.
const ENVIRONMENT: [(&str, &str); 12] = [
    ("AWS_DEFAULT_REGION", "eu-west-1"),
    ("AWS_EXECUTION_ENV", "AWS_Lambda_provided.al2023"),
    ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512"),
    ("AWS_LAMBDA_FUNCTION_NAME", "orders"),
    ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
    ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand"),
    ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/orders"),
    ("AWS_LAMBDA_LOG_STREAM_NAME", "2026/01/01/[$LATEST]0123456789abcdef0123456789abcdef"),
    ("AWS_REGION", "eu-west-1"),
    ("PATH", "/usr/local/bin:/usr/bin:/bin"),
    ("TZ", ":UTC"),
    ("_HANDLER", "bootstrap"),
];

/// A Runtime API on its own port, for one function. Dropping it ends the server and closes its connections.
///
/// The server has its own thread and runtime. A handler that blocks every thread of its runtime therefore cannot delay
/// the clock that measures its answer. The end of the server's runtime ends every task that it spawned.
pub(crate) struct RuntimeApi {
    address: SocketAddr,
    desk: Arc<Desk>,
    /// Dropping it stops the server.
    running: Option<oneshot::Sender<()>>,
    server: Option<JoinHandle<()>>,
}

/// The answer to an event, and the time from handing out the event to the last byte of the answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) kind: Kind,
    pub(crate) body: Bytes,
    pub(crate) took: Duration,
}

/// The endpoint of an invocation that the function posted to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Response,
    Error,
}

/// The value of `lambda-runtime-deadline-ms`.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Deadline {
    /// Counted from handing out the event, as Lambda does.
    In(Duration),
    /// Milliseconds since 1970. `cargo lambda watch` sends a deadline in the distant past.
    At(u64),
}

impl Deadline {
    fn ms_since_1970(self) -> u128 {
        match self {
            Self::In(timeout) => {
                (SystemTime::now() + timeout).duration_since(UNIX_EPOCH).unwrap_or_default().as_millis()
            }
            Self::At(ms) => ms.into(),
        }
    }
}

impl From<Duration> for Deadline {
    fn from(timeout: Duration) -> Self {
        Self::In(timeout)
    }
}

impl RuntimeApi {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port of the loopback interface");
        listener.set_nonblocking(true).expect("a socket that does not block");
        let address = listener.local_addr().expect("a bound socket has an address");
        let desk = Arc::new(Desk::new());
        let (running, stopped) = oneshot::channel();
        let server = thread::spawn({
            let desk = desk.clone();
            move || serve(listener, desk, stopped)
        });
        Self { address, desk, running: Some(running), server: Some(server) }
    }

    /// Returns the value for `AWS_LAMBDA_RUNTIME_API`.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the command that starts a function as Lambda does. The environment is Lambda's alone, so that a
    /// developer's `RUST_LOG` or AWS profile does not change a test. The process ends when its handle is dropped.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .envs(ENVIRONMENT)
            .env("AWS_LAMBDA_RUNTIME_API", self.address.to_string())
            .kill_on_drop(true);
        command
    }

    /// Waits until the function asks for an event. The first request ends its start, and a later one ends its work
    /// after an answer.
    pub(crate) async fn polled(&self) {
        let mut pollers = self.desk.pollers.subscribe();
        pollers.wait_for(|&pollers| pollers > 0).await.expect("the desk holds a sender");
    }

    /// Queues an event and waits for its answer. Events are handed out in order, each to the poller that has waited
    /// longest.
    pub(crate) async fn invoke(&self, event: impl Into<Bytes>, deadline: impl Into<Deadline>) -> Answer {
        let (answer, answered) = oneshot::channel();
        let invocation = Invocation { event: event.into(), deadline: deadline.into(), answer };
        self.desk.entrance.send(invocation).await.expect("the desk holds a receiver");
        tokio::time::timeout(ANSWER_LIMIT, answered)
            .await
            .unwrap_or_else(|_| panic!("the function has not answered within {ANSWER_LIMIT:?}"))
            .expect("an invocation is held until it is answered")
    }

    /// Waits for an error before the first event, and returns its body.
    pub(crate) async fn init_error(&self) -> Bytes {
        let mut error = self.desk.init_error.subscribe();
        let error = error.wait_for(Option::is_some).await.expect("the desk holds a sender");
        error.clone().expect("waited for")
    }
}

impl Drop for RuntimeApi {
    fn drop(&mut self) {
        self.running = None;
        if let Some(server) = self.server.take() {
            // The server's panic is already printed. A second panic here could hide the test's own.
            let _ = server.join();
        }
    }
}

fn serve(listener: TcpListener, desk: Arc<Desk>, stopped: oneshot::Receiver<()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        tokio::select! {
            () = accept(listener, desk) => {}
            _ = stopped => {}
        }
    });
}

async fn accept(listener: TcpListener, desk: Arc<Desk>) {
    // Without `TCP_NODELAY` the end of an event would wait for the acknowledgement of its beginning.
    let listener = tokio::net::TcpListener::from_std(listener)
        .expect("a listener that does not block")
        .tap_io(|connection| connection.set_nodelay(true).expect("an open connection"));
    let router = Router::new()
        .route("/2018-06-01/runtime/invocation/next", get(next))
        .route("/2018-06-01/runtime/invocation/{id}/response", post(response))
        .route("/2018-06-01/runtime/invocation/{id}/error", post(error))
        .route("/2018-06-01/runtime/init/error", post(init_error))
        .layer(DefaultBodyLimit::disable())
        .with_state(desk);
    axum::serve(listener, router).await.expect("a server that goes on accepting");
}

async fn next(State(desk): State<Arc<Desk>>) -> impl IntoResponse {
    let invocation = desk.next().await;
    let deadline_ms = invocation.deadline.ms_since_1970();
    let id = desk.hand_out(invocation.answer);
    let headers = [
        ("lambda-runtime-aws-request-id", id),
        ("lambda-runtime-deadline-ms", deadline_ms.to_string()),
        ("lambda-runtime-invoked-function-arn", "arn:aws:lambda:eu-west-1:123456789012:function:orders".into()),
        (
            "lambda-runtime-trace-id",
            "Root=1-65a1b2c3-0123456789abcdef01234567;Parent=0123456789abcdef;Sampled=0".into(),
        ),
        ("content-type", "application/json".into()),
    ];
    (headers, invocation.event)
}

async fn response(State(desk): State<Arc<Desk>>, Path(id): Path<String>, body: Bytes) -> StatusCode {
    desk.settle(&id, Kind::Response, body)
}

async fn error(State(desk): State<Arc<Desk>>, Path(id): Path<String>, body: Bytes) -> StatusCode {
    desk.settle(&id, Kind::Error, body)
}

async fn init_error(State(desk): State<Arc<Desk>>, body: Bytes) -> StatusCode {
    desk.init_error.send_replace(Some(body));
    StatusCode::ACCEPTED
}

/// The state that the server shares with its callers.
struct Desk {
    entrance: mpsc::Sender<Invocation>,
    /// Pollers wait for this lock in the order of their arrival. A poller whose connection closes releases the lock
    /// without an event.
    queue: tokio::sync::Mutex<mpsc::Receiver<Invocation>>,
    pollers: watch::Sender<usize>,
    out: Mutex<HashMap<String, HandedOut>>,
    handed_out: AtomicU64,
    init_error: watch::Sender<Option<Bytes>>,
}

struct Invocation {
    event: Bytes,
    deadline: Deadline,
    answer: oneshot::Sender<Answer>,
}

struct HandedOut {
    at: Instant,
    answer: oneshot::Sender<Answer>,
}

impl Desk {
    fn new() -> Self {
        let (entrance, queue) = mpsc::channel(QUEUED_INVOCATIONS);
        Self {
            entrance,
            queue: tokio::sync::Mutex::new(queue),
            pollers: watch::Sender::new(0),
            out: Mutex::default(),
            handed_out: AtomicU64::new(0),
            init_error: watch::Sender::new(None),
        }
    }

    async fn next(&self) -> Invocation {
        let _polling = Polling::start(&self.pollers);
        self.queue.lock().await.recv().await.expect("the desk holds a sender")
    }

    fn hand_out(&self, answer: oneshot::Sender<Answer>) -> String {
        let number = self.handed_out.fetch_add(1, Ordering::Relaxed);
        let id = format!("8476a536-e9f4-11e8-9739-{number:012x}");
        let handed_out = HandedOut { at: Instant::now(), answer };
        self.out.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone(), handed_out);
        id
    }

    /// Accepts the first answer. Like Lambda, it refuses an answer to an unknown or finished invocation.
    fn settle(&self, id: &str, kind: Kind, body: Bytes) -> StatusCode {
        let Some(handed_out) = self.out.lock().unwrap_or_else(PoisonError::into_inner).remove(id) else {
            return StatusCode::BAD_REQUEST;
        };
        let answer = Answer { kind, body, took: handed_out.at.elapsed() };
        // If nobody waits for the answer any more, the function is not at fault.
        let _ = handed_out.answer.send(answer);
        StatusCode::ACCEPTED
    }
}

/// Counts a poller while it waits, even if it leaves without an event.
struct Polling<'a>(&'a watch::Sender<usize>);

impl<'a> Polling<'a> {
    fn start(pollers: &'a watch::Sender<usize>) -> Self {
        pollers.send_modify(|pollers| *pollers += 1);
        Self(pollers)
    }
}

impl Drop for Polling<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|pollers| *pollers -= 1);
    }
}
