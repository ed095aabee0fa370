//! Invokes a function on a server with Lambda's Invoke API, such as `cargo lambda watch`.
//!
//! <https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html>

mod answer;
mod url;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{HeaderName, HeaderValue, Method, Request, header};
use http_body_util::Full;
use redrive_local::function::{BoxFuture, Function, Invocation, InvokeError, Invoker, PAYLOAD_LIMIT_BYTES, Slots};
use tokio::net::TcpStream;

use self::answer::read_answer;
use self::url::{InvokeTarget, InvokeUrlError};
use super::error::FunctionError;
use super::http::{HttpError, exchange};

/// The concurrency of `cargo lambda watch` without `--concurrency`. Further invocations would wait at the server while
/// the visibility timeout of their messages runs.
pub(crate) const DEFAULT_CONCURRENCY: u32 = 1;

/// The limit for opening a connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// The default wait beyond a function's timeout. `cargo lambda watch` builds a function at its first invocation. The
/// server keeps an abandoned call and runs it later, after the batch has been retried.
pub(crate) const DEFAULT_PATIENCE: Duration = Duration::from_secs(300);

const TRACE_HEADER: HeaderName = HeaderName::from_static("x-amzn-trace-id");

/// A function behind a URL.
pub(crate) struct InvokeUrl {
    target: InvokeTarget,
    slots: Slots,
    /// The wait beyond the function's timeout.
    patience: Duration,
}

/// Runs invocations at the URL. Each has its own connection.
struct UrlInvoker(Arc<InvokeUrl>);

impl InvokeUrl {
    /// Creates a function at a server such as `http://localhost:9000`. `concurrency` is the number of invocations that
    /// the server runs at a time (0 counts as 1).
    pub(crate) fn new(url: &str, function: &str, concurrency: u32) -> Result<Self, InvokeUrlError> {
        let (target, slots) = (InvokeTarget::parse(url, function)?, Slots::new(concurrency as usize));
        Ok(Self { target, slots, patience: DEFAULT_PATIENCE })
    }

    /// Sets how long a call waits beyond the function's timeout.
    pub(crate) fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Checks whether a server accepts connections. It sends no request, because `cargo lambda watch` treats even `GET
    /// /` as an invocation.
    pub(super) async fn check(&self) -> Result<(), FunctionError> {
        self.connect().await.map(drop)
    }

    /// Invokes the function. Wait for the result: dropping the future abandons the call, and the server still runs it.
    async fn call(&self, invocation: &Invocation) -> Result<Bytes, FunctionError> {
        let stream = self.connect().await?;
        let waited = invocation.timeout.saturating_add(self.patience);
        let response = exchange(stream, self.request(invocation), PAYLOAD_LIMIT_BYTES);
        let response = tokio::time::timeout(waited, response).await;
        let response = response.map_err(|_| FunctionError::Unanswered { timeout: invocation.timeout, waited })?;
        read_answer(response.map_err(|error| self.failed(error))?, &self.target)
    }

    async fn connect(&self) -> Result<TcpStream, FunctionError> {
        let connected = TcpStream::connect((self.target.host.as_str(), self.target.port));
        let problem = match tokio::time::timeout(CONNECT_LIMIT, connected).await {
            Ok(Ok(stream)) => {
                // With Nagle's algorithm the last bytes of an event would wait for an acknowledgement. A failure costs
                // only time.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no connection within {CONNECT_LIMIT:?}"),
        };
        Err(FunctionError::Unreachable { address: self.target.address(), problem })
    }

    fn request(&self, invocation: &Invocation) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(invocation.event.clone()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.target.path.clone();
        let headers = request.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::HOST, self.target.host_header.clone());
        // A producer may send any text as a trace header. A text that an HTTP header cannot hold is left out.
        if let Some(Ok(trace)) = invocation.trace_header.as_deref().map(HeaderValue::from_str) {
            headers.insert(TRACE_HEADER, trace);
        }
        request
    }

    fn failed(&self, error: HttpError) -> FunctionError {
        let address = self.target.address();
        match error {
            HttpError::NotConnected(problem) => FunctionError::Unreachable { address, problem },
            HttpError::Broken(problem) => FunctionError::Broken { address, problem },
        }
    }
}

impl Function for InvokeUrl {
    fn slots(&self) -> &Slots {
        &self.slots
    }

    fn ready(self: Arc<Self>) -> BoxFuture<'static, Result<Box<dyn Invoker>, InvokeError>> {
        Box::pin(async move {
            self.check().await?;
            Ok(Box::new(UrlInvoker(self)) as Box<dyn Invoker>)
        })
    }

    fn try_ready(self: Arc<Self>) -> Option<Box<dyn Invoker>> {
        Some(Box::new(UrlInvoker(self)))
    }

    fn may_outlast_timeout(&self) -> bool {
        true
    }
}

impl Invoker for UrlInvoker {
    fn invoke<'a>(&'a mut self, invocation: &'a Invocation) -> BoxFuture<'a, Result<Bytes, InvokeError>> {
        Box::pin(async move { Ok(self.0.call(invocation).await?) })
    }
}

#[cfg(test)]
mod tests;
