//! A proxy in front of an SQS that this test serves. It decides about each call by its operation.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;

use crate::kit::served;

/// The proxy's decision about a call.
pub(crate) enum Way {
    Through,
    /// It forwards the call after this time.
    After(Duration),
    /// It answers the call itself.
    Answered(Value),
    /// It denies the call.
    Refused,
}

/// Starts a proxy for the SQS at that URL until the test ends. Returns the proxy's URL.
pub(crate) fn proxy(url: &str, way: impl Fn(&str) -> Way + Send + Sync + 'static) -> String {
    let (address, way) = (url.trim_start_matches("http://").to_owned(), Arc::new(way));
    let pass = move |request: Request| {
        let (address, way) = (address.clone(), way.clone());
        async move {
            let target = request.headers()["x-amz-target"].to_str().unwrap();
            match way(target.trim_start_matches("AmazonSQS.")) {
                Way::Through => forward(&address, request).await,
                Way::After(wait) => {
                    tokio::time::sleep(wait).await;
                    forward(&address, request).await
                }
                Way::Answered(answer) => answer.to_string().into_response(),
                Way::Refused => {
                    let error = serde_json::json!({"__type": "AccessDeniedException", "message": "No."});
                    (axum::http::StatusCode::BAD_REQUEST, error.to_string()).into_response()
                }
            }
        }
    };
    served(Router::new().fallback(pass))
}

/// Forwards a request with the caller's host, which the URLs of queues contain.
async fn forward(address: &str, request: Request) -> Response {
    let stream = TokioIo::new(tokio::net::TcpStream::connect(address).await.unwrap());
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let (parts, body) = sender.send_request(request).await.unwrap().into_parts();
    let body = to_bytes(Body::new(body), usize::MAX).await.unwrap();
    Response::from_parts(parts, Body::from(body))
}
