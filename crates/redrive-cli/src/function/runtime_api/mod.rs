//! Serves the Lambda Runtime API to one process of a function, with one invocation at a time.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>

mod dispatcher;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use redrive_local::function::{ErrorReport, Invocation, PAYLOAD_LIMIT_BYTES};
use redrive_local::{Callers, guarded};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use self::dispatcher::{Dispatcher, PendingInvocation};
use super::error_report::report_of;

/// A Runtime API on its own port. Dropping it ends the server.
pub(super) struct RuntimeApi {
    address: SocketAddr,
    dispatcher: Arc<Dispatcher>,
    /// Holds the one invocation that waits for a poll. When it is dropped, waiting polls receive an error.
    pending: mpsc::Sender<PendingInvocation>,
    /// The task that accepts connections. Open connections end with the process at their other end.
    _server: JoinSet<()>,
}

/// A function's answer to an invocation.
pub(super) type Answer = Result<Bytes, ErrorReport>;

impl RuntimeApi {
    pub(super) async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (pending, queue) = mpsc::channel(1);
        let dispatcher = Arc::new(Dispatcher::new(queue));
        let mut server = JoinSet::new();
        server.spawn(serve(listener, router(dispatcher.clone())));
        Ok(Self { address, dispatcher, pending, _server: server })
    }

    /// Returns the value for `AWS_LAMBDA_RUNTIME_API`.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until the function polls.
    pub(super) async fn polled(&self) {
        self.dispatcher.polled().await;
    }

    /// Waits until no poll is running.
    #[cfg(test)]
    pub(super) async fn left(&self) {
        self.dispatcher.left().await;
    }

    /// Waits until the function reports that it failed to start.
    pub(super) async fn init_error(&self) -> ErrorReport {
        self.dispatcher.init_error().await
    }

    /// Returns the error that the function has reported so far.
    pub(super) fn init_error_so_far(&self) -> Option<ErrorReport> {
        self.dispatcher.init_error_so_far()
    }

    /// Offers an invocation to the next poll. The receiver fails if another invocation is already waiting.
    pub(super) fn offer(&self, invocation: &Invocation) -> oneshot::Receiver<Answer> {
        let (answer, answered) = oneshot::channel();
        let _ = self.pending.try_send(PendingInvocation { invocation: invocation.clone(), answer });
        answered
    }

    /// Returns whether the function has taken this invocation and has not answered.
    pub(super) fn is_running(&self, request_id: &str) -> bool {
        self.dispatcher.is_running(request_id)
    }
}

fn router(dispatcher: Arc<Dispatcher>) -> Router {
    let router = Router::new()
        .route("/2018-06-01/runtime/invocation/next", get(next))
        .route("/2018-06-01/runtime/invocation/{id}/response", post(response))
        .route("/2018-06-01/runtime/invocation/{id}/error", post(error))
        .route("/2018-06-01/runtime/init/error", post(init_error))
        .layer(DefaultBodyLimit::max(PAYLOAD_LIMIT_BYTES))
        .with_state(dispatcher);
    // Without the guard a web page could take an invocation or answer one.
    guarded(router, Callers::new(), |refused| {
        refusal(refused.status(), "Runtime.Forbidden", &refused.message("this Runtime API"))
    })
}

async fn serve(listener: TcpListener, router: Router) {
    // With Nagle's algorithm the last bytes of an event would wait for an acknowledgement. A failure costs only time.
    let listener = listener.tap_io(|connection| drop(connection.set_nodelay(true)));
    // The server runs until it is dropped and does not fail.
    let _ = axum::serve(listener, router).await;
}

async fn next(State(dispatcher): State<Arc<Dispatcher>>) -> Response {
    match dispatcher.next().await {
        Some(invocation) => {
            let headers = dispatcher::headers(&invocation);
            (headers, invocation.event).into_response()
        }
        None => refusal(StatusCode::GONE, "Runtime.Ended", "this Runtime API has ended"),
    }
}

async fn response(
    State(dispatcher): State<Arc<Dispatcher>>,
    Path(id): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    match body {
        Ok(body) => acknowledge(dispatcher.settle(&id, Ok(body))),
        Err(rejection) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            dispatcher.settle(&id, Err(ErrorReport::too_large()));
            let report = ErrorReport::too_large();
            refusal(StatusCode::PAYLOAD_TOO_LARGE, &report.error_type, &report.message)
        }
        // An interrupted request contains no answer, so the invocation stays open.
        Err(rejection) => rejection.into_response(),
    }
}

async fn error(State(dispatcher): State<Arc<Dispatcher>>, Path(id): Path<String>, body: Bytes) -> Response {
    acknowledge(dispatcher.settle(&id, Err(report_of(&body))))
}

async fn init_error(State(dispatcher): State<Arc<Dispatcher>>, body: Bytes) -> Response {
    dispatcher.fail_to_start(report_of(&body));
    acknowledge(true)
}

fn acknowledge(settled: bool) -> Response {
    if settled {
        (StatusCode::ACCEPTED, r#"{"status":"OK"}"#).into_response()
    } else {
        refusal(StatusCode::BAD_REQUEST, "InvalidRequestID", "no running invocation has this request id")
    }
}

fn refusal(status: StatusCode, error_type: &str, message: &str) -> Response {
    let body = serde_json::json!({"errorType": error_type, "errorMessage": message});
    (status, body.to_string()).into_response()
}

#[cfg(test)]
mod tests;
