//! Stands before an SQS that this test serves, and knows which call is made.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;

use crate::kit::served;

/// What becomes of a call.
pub(crate) enum Way {
    Through,
    /// Later.
    After(Duration),
    /// It does not get there, and has this answer.
    Answered(Value),
    /// It does not get there, as it may not.
    Refused,
}

/// The URL of what stands before the SQS at that URL, for as long as the test runs.
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

/// With the caller's host, of which the URLs of queues are made.
async fn forward(address: &str, request: Request) -> Response {
    let stream = TokioIo::new(tokio::net::TcpStream::connect(address).await.unwrap());
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let (parts, body) = sender.send_request(request).await.unwrap().into_parts();
    let body = to_bytes(Body::new(body), usize::MAX).await.unwrap();
    Response::from_parts(parts, Body::from(body))
}
