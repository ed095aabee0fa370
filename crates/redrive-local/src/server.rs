//! Serves the queue at a socket, for every SDK.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::serve::ListenerExt;
use http_body::Frame;
use redrive::internals::hex::hex;
use tokio::net::TcpListener;

use super::callers::{Callers, RefusedCaller, guarded};
use super::queue::{Code, SqsError};
use super::sqs::{Call, Sqs};
use super::wire::{Answer, CONTENT_TYPE, QUERY_ERROR, REQUEST_ID, TARGET, TRACE_ID, query};

/// The size of ten messages of 1 MiB with every character escaped, and their JSON. The server reads a batch over the
/// limit completely, so that its sender receives an error instead of a broken connection.
const MAX_REQUEST_BYTES: usize = 64 * 1024 * 1024;

impl Sqs {
    /// Serves this SQS at a socket until `shutdown` completes, and answers running calls before it ends.
    ///
    /// The server uses plain HTTP and accepts every signature, so it is for loopback only. It answers programs that
    /// call it under a loopback name or address, and no web pages; [`Sqs::serve_to`] allows more callers. Point an SDK
    /// at it with `AWS_ENDPOINT_URL_SQS=http://127.0.0.1:9324`, any region and any credentials. The AWS CLI takes
    /// `--endpoint-url`.
    ///
    /// # Errors
    ///
    /// Returns an error when the socket cannot accept connections any more.
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<()> {
        self.serve_to(Callers::new(), listener, shutdown).await
    }

    /// Serves this SQS like [`Sqs::serve`] to these callers. They may include names outside loopback, and web pages.
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
    /// Returns an error when the socket cannot accept connections any more.
    pub async fn serve_to(
        self,
        callers: Callers,
        listener: TcpListener,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<()> {
        let address: Arc<str> = format!("http://{}", reachable(listener.local_addr()?)).into();
        let router = Router::new().fallback(answer).layer(DefaultBodyLimit::max(MAX_REQUEST_BYTES));
        let router = guarded(router.with_state(Served { sqs: self, address }), callers, refusal);
        // With Nagle's algorithm a small answer would wait for the acknowledgement of the previous one.
        let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
        axum::serve(listener, router).with_graceful_shutdown(shutdown).await
    }
}

/// Returns a refusal as an error of SQS, so that SDKs show it.
fn refusal(refused: &RefusedCaller) -> Response {
    let code = match refused {
        RefusedCaller::NoHost => Code::InvalidAddress,
        RefusedCaller::Host(_) | RefusedCaller::Origin(_) | RefusedCaller::Page => Code::AccessDenied,
    };
    response(Answer::refused(SqsError::new(code, refused.message("this SQS"))))
}

/// Returns an address to which clients can connect. A server on all interfaces is reachable at loopback.
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

async fn answer(State(Served { sqs, address }): State<Served>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    // The queue URL contains the host that the caller used, because a container uses another name.
    let base_url = text(header::HOST.as_str()).map_or_else(|| address.to_string(), |host| format!("http://{host}"));
    let call = |target, body| Call { target, body, base_url: &base_url, trace_id: text(TRACE_ID) };
    let form = match text(TARGET) {
        Some(_) => None,
        None => query::FormCall::read(forms(&uri, &headers, &body), uri.path()),
    };
    let response = match form {
        None => sqs.call(call(text(TARGET).unwrap_or_default(), &body)).await.map(response),
        Some(Err(error)) => Some(xml_response("", &Answer::refused(error))),
        Some(Ok(form)) => {
            let (target, body) = (form.target(), form.body.to_string());
            let answer = sqs.call(call(&target, body.as_bytes())).await;
            answer.map(|answer| xml_response(&form.operation, &answer))
        }
    };
    response.map_or_else(|| Response::new(Body::new(Broken)), |response| dated(response, &sqs.date()))
}

/// Returns the parts of a request that may be a form of the Query protocol: the URL's query and the body.
fn forms<'a>(uri: &'a Uri, headers: &HeaderMap, body: &'a Bytes) -> impl Iterator<Item = &'a [u8]> {
    let content_type = headers.get(header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    let is_form = content_type.starts_with(query::FORM.as_bytes());
    uri.query().map(str::as_bytes).into_iter().chain(is_form.then_some(&body[..]))
}

/// Sets the date of the queue's clock, which may be ahead of the machine's clock.
fn dated(mut response: Response, date: &str) -> Response {
    if let Ok(date) = HeaderValue::try_from(date) {
        response.headers_mut().insert(header::DATE, date);
    }
    response
}

fn response(answer: Answer) -> Response {
    let mut response = with_head(answer.status, CONTENT_TYPE, &request_id(), answer.body);
    if let Some(error) = answer.query_error.and_then(|error| HeaderValue::try_from(error).ok()) {
        response.headers_mut().insert(QUERY_ERROR, error);
    }
    response
}

/// Returns an answer of the Query protocol.
fn xml_response(operation: &str, answer: &Answer) -> Response {
    let id = request_id();
    with_head(answer.status, query::CONTENT_TYPE, &id, query::to_xml(operation, answer, &id))
}

fn with_head(status: u16, content_type: &'static str, request_id: &str, body: Vec<u8>) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    if let Ok(id) = HeaderValue::try_from(request_id) {
        headers.insert(REQUEST_ID, id);
    }
    response
}

fn request_id() -> String {
    hex(fastrand::u128(..))
}

/// A body that fails before its first byte, which makes hyper close the connection.
struct Broken;

impl HttpBody for Broken {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let error = io::Error::new(io::ErrorKind::ConnectionReset, "the connection broke: an injected fault");
        Poll::Ready(Some(Err(error)))
    }
}
