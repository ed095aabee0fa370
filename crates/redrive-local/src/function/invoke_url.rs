//! Invokes a function on a server with Lambda's Invoke API, such as `cargo lambda watch`.
//!
//! <https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html>

mod answer;
mod url;

use std::time::Duration;

use axum::body::Bytes;
use axum::http::{HeaderName, HeaderValue, Method, Request, header};
use http_body_util::Full;
use tokio::net::TcpStream;

use self::answer::read_answer;
pub(super) use self::url::InvokeUrlError;
use self::url::Target;
use super::error::FunctionError;
use super::http::{HttpError, exchange};
use super::places::Places;
use super::{Invocation, PAYLOAD_LIMIT_BYTES};

/// The concurrency of `cargo lambda watch` without `--concurrency`. Further invocations would wait at the server while
/// the visibility timeout of their messages runs.
pub const DEFAULT_CONCURRENCY: u32 = 1;

/// The limit for opening a connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// The default wait beyond a function's timeout. `cargo lambda watch` builds a function at its first invocation. The
/// server keeps an abandoned call and runs it later, after the batch has been retried.
pub const DEFAULT_PATIENCE: Duration = Duration::from_secs(300);

const TRACE_HEADER: HeaderName = HeaderName::from_static("x-amzn-trace-id");

/// A function behind a URL.
pub struct InvokeUrl {
    target: Target,
    places: Places,
    /// The wait beyond the function's timeout.
    patience: Duration,
}

impl InvokeUrl {
    /// Creates a function at a server such as `http://localhost:9000`. `concurrency` is the number of invocations that
    /// the server runs at a time (0 counts as 1).
    pub fn new(url: &str, function: &str, concurrency: u32) -> Result<Self, InvokeUrlError> {
        let (target, places) = (Target::parse(url, function)?, Places::new(concurrency as usize));
        Ok(Self { target, places, patience: DEFAULT_PATIENCE })
    }

    /// Sets how long a call waits beyond the function's timeout.
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    pub(super) fn places(&self) -> &Places {
        &self.places
    }

    /// Checks whether a server accepts connections. It sends no request, because `cargo lambda watch` treats even `GET
    /// /` as an invocation.
    pub(super) async fn check(&self) -> Result<(), FunctionError> {
        self.connect().await.map(drop)
    }

    /// Invokes the function. Wait for the result: dropping the future abandons the call, and the server still runs it.
    pub(super) async fn invoke(&self, invocation: &Invocation) -> Result<Bytes, FunctionError> {
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

#[cfg(test)]
mod tests;
