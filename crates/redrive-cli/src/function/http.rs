//! Sends each HTTP request on its own connection.
//!
//! Connections are not reused. The server may have closed an idle connection in the meantime. The client would then
//! have to repeat a request without knowing whether it arrived, and a function could run twice.

use std::error::Error;
use std::fmt;

use axum::body::Bytes;
use axum::http::{Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// The reason for a request without a response.
#[derive(Debug)]
pub(super) enum HttpError {
    /// The request was not sent.
    NotConnected(String),
    /// The request may have arrived.
    Broken(String),
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::NotConnected(problem) | Self::Broken(problem)) = self;
        f.write_str(problem)
    }
}

/// Sends a request on an open connection and reads a response of limited size.
///
/// Dropping the future closes the connection.
pub(super) async fn exchange(
    stream: TcpStream,
    request: Request<Full<Bytes>>,
    limit_bytes: usize,
) -> Result<Response<Bytes>, HttpError> {
    let handshake = http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|error| HttpError::NotConnected(error.to_string()))?;
    let response = async {
        let response = sender.send_request(request).await.map_err(broken)?;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, limit_bytes).collect().await.map_err(broken)?;
        Ok(Response::from_parts(parts, body.to_bytes()))
    };
    let mut response = std::pin::pin!(response);
    tokio::select! {
        biased;
        response = &mut response => response,
        // A closed connection has delivered all its bytes, which may contain a whole response.
        _ = connection => response.await,
    }
}

fn broken(error: impl Into<Box<dyn Error + Send + Sync>>) -> HttpError {
    HttpError::Broken(error.into().to_string())
}
