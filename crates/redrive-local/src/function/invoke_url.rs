//! A function that `cargo lambda watch` serves, or another that speaks Lambda's Invoke.
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

/// How many invocations `cargo lambda watch` runs at a time, unless its `--concurrency` says otherwise. Those beyond
/// would wait there, while the visibility timeout of their messages runs out.
pub const DEFAULT_CONCURRENCY: u32 = 1;

/// How long a connection may take to come about.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// How much longer than its timeout a function is waited for, where nothing else is said. `cargo lambda watch` builds a
/// function at its first invocation. A call that is given up is not taken back there: it runs later, when its batch has
/// come back already.
pub const DEFAULT_PATIENCE: Duration = Duration::from_secs(300);

const TRACE_HEADER: HeaderName = HeaderName::from_static("x-amzn-trace-id");

/// A function behind a URL.
pub struct InvokeUrl {
    target: Target,
    places: Places,
    /// How much longer than its timeout a function is waited for.
    patience: Duration,
}

impl InvokeUrl {
    /// The URL is that of the server, as `http://localhost:9000`; `concurrency` is how many invocations it runs at a time
    /// (0 counts as 1).
    pub fn new(url: &str, function: &str, concurrency: u32) -> Result<Self, InvokeUrlError> {
        let (target, places) = (Target::parse(url, function)?, Places::new(concurrency as usize));
        Ok(Self { target, places, patience: DEFAULT_PATIENCE })
    }

    /// The same, with a function that is waited for so much longer than its timeout.
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    pub(super) fn places(&self) -> &Places {
        &self.places
    }

    /// Sees whether anything listens there, and asks for nothing: `cargo lambda watch` takes even `GET /` for an
    /// invocation.
    pub(super) async fn check(&self) -> Result<(), FunctionError> {
        self.connect().await.map(drop)
    }

    /// To drop this is to give the call up, and it is not taken back there: wait for its end.
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
                // The last bytes of an event would otherwise wait until its first are acknowledged. If it cannot be set,
                // they do.
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
        // A producer's word. One that no header can hold is left out.
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
