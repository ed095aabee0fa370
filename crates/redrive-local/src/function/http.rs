//! One HTTP request on a connection of its own.
//!
//! No connection is kept for the next request. A kept one may have been closed by the other side in the meantime; the
//! request is then to be sent again without knowing whether it has arrived, and a function may run twice.

use std::error::Error;
use std::fmt;

use axum::body::Bytes;
use axum::http::{Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Why a request has no response.
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

/// Sends a request on an open connection, and takes a response of so many bytes at most.
///
/// Its future is all there is: the connection closes when that is dropped.
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
        // A connection that ends has handed over all that came; what came may be a whole response.
        _ = connection => response.await,
    }
}

fn broken(error: impl Into<Box<dyn Error + Send + Sync>>) -> HttpError {
    HttpError::Broken(error.into().to_string())
}
