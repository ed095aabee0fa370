//! The queue behind a socket, for every SDK there is.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::serve::ListenerExt;
use http_body::Frame;
use redrive::internals::hex::hex;
use tokio::net::TcpListener;

use super::callers::{Callers, Refused, guarded};
use super::queue::{Code, SqsError};
use super::sqs::{Call, Sqs};
use super::wire::{Answer, CONTENT_TYPE, QUERY_ERROR, REQUEST_ID, TARGET, TRACE_ID};

/// Ten messages of 1 MiB, all of whose characters are escaped, and the JSON round them: a batch that is too long is read
/// whole, so that its sender is told that, and not that the connection broke.
const MAX_REQUEST_BYTES: usize = 64 * 1024 * 1024;

impl Sqs {
    /// Serves this SQS at a socket until `shutdown` is over; calls under way are answered before it ends.
    ///
    /// It speaks plain HTTP and believes every signature, so it is for loopback only. It answers programs that call it
    /// under a loopback name or address, and no web page: [`Sqs::serve_to`] is for others. Point an SDK at it with
    /// `AWS_ENDPOINT_URL_SQS=http://127.0.0.1:9324`, any region and any credentials; the AWS CLI takes `--endpoint-url`.
    ///
    /// # Errors
    ///
    /// Where the socket can accept no more connections.
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<()> {
        self.serve_to(Callers::new(), listener, shutdown).await
    }

    /// Serves this SQS like [`Sqs::serve`], to these callers: also under other names than loopback's, and to web pages.
    ///
    /// ```no_run
    /// use redrive_local::{Callers, Sqs};
    ///
    /// # async fn serve() -> Result<(), Box<dyn std::error::Error>> {
    /// let listener = tokio::net::TcpListener::bind("127.0.0.1:9324").await?;
    /// let callers = Callers::new().allow_host("host.docker.internal")?;
    /// Sqs::new().serve_to(callers, listener, std::future::pending()).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Where the socket can accept no more connections.
    pub async fn serve_to(
        self,
        callers: Callers,
        listener: TcpListener,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<()> {
        let address: Arc<str> = format!("http://{}", reachable(listener.local_addr()?)).into();
        let router = Router::new().fallback(answer).layer(DefaultBodyLimit::max(MAX_REQUEST_BYTES));
        let router = guarded(router.with_state(Served { sqs: self, address }), callers, refusal);
        // An answer is one small write: without this it waits for the acknowledgement of the one before.
        let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
        axum::serve(listener, router).with_graceful_shutdown(shutdown).await
    }
}

/// An error of SQS, so that SDKs show it.
fn refusal(refused: &Refused) -> Response {
    let code = match refused {
        Refused::NoHost => Code::InvalidAddress,
        Refused::Host(_) | Refused::Origin(_) | Refused::Page => Code::AccessDenied,
    };
    response(Answer::refused(SqsError::new(code, refused.message("this SQS"))))
}

/// An address that can be connected to: one that listens everywhere is reached at loopback.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip([127, 0, 0, 1].into());
    }
    address
}

#[derive(Clone)]
struct Served {
    sqs: Sqs,
    address: Arc<str>,
}

async fn answer(State(Served { sqs, address }): State<Served>, headers: HeaderMap, body: Bytes) -> Response {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    // The queue has the name that the caller knows its host by: in a container that is another one.
    let base_url = text(header::HOST.as_str()).map_or_else(|| address.to_string(), |host| format!("http://{host}"));
    let target = text(TARGET).unwrap_or_default();
    match sqs.call(Call { target, body: &body, base_url: &base_url, trace_id: text(TRACE_ID) }).await {
        Some(answer) => dated(response(answer), &sqs.date()),
        None => Response::new(Body::new(Broken)),
    }
}

/// The queue's clock may be ahead of the machine's, whose date the server would write.
fn dated(mut response: Response, date: &str) -> Response {
    if let Ok(date) = HeaderValue::try_from(date) {
        response.headers_mut().insert(header::DATE, date);
    }
    response
}

fn response(answer: Answer) -> Response {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, answer.body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
    if let Some(error) = answer.query_error.and_then(|error| HeaderValue::try_from(error).ok()) {
        headers.insert(QUERY_ERROR, error);
    }
    if let Ok(id) = HeaderValue::try_from(request_id()) {
        headers.insert(REQUEST_ID, id);
    }
    response
}

fn request_id() -> String {
    hex(fastrand::u128(..))
}

/// An error before the first byte: all that hyper can do is to close the connection.
struct Broken;

impl HttpBody for Broken {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let error = io::Error::new(io::ErrorKind::ConnectionReset, "the connection broke: a fault that was asked for");
        Poll::Ready(Some(Err(error)))
    }
}
