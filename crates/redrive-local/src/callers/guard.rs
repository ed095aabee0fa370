//! Wraps a router in a layer that refuses unknown callers before a request reaches the router.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};

use super::{Callers, RefusedCaller};

/// Turns a refusal into the server's own error response.
type Refusal = fn(&RefusedCaller) -> Response;

#[derive(Clone)]
struct Guard {
    callers: Arc<Callers>,
    refusal: Refusal,
}

/// Returns a router that answers only these callers.
#[doc(hidden)]
pub fn guarded(router: Router, callers: Callers, refusal: Refusal) -> Router {
    router.layer(from_fn_with_state(Guard { callers: Arc::new(callers), refusal }, guard))
}

async fn guard(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let origin = match guard.callers.check(request.uri(), request.headers()) {
        Ok(origin) => origin,
        Err(refused) => {
            tracing::debug!(?refused, "refused a request from an unknown caller");
            return (guard.refusal)(&refused);
        }
    };
    let Some(origin) = origin else { return next.run(request).await };
    let response = if is_preflight(&request) { preflight(&request) } else { next.run(request).await };
    readable_by(origin, response)
}

/// Returns whether a browser asks for permission before it makes the call of a page.
fn is_preflight(request: &Request) -> bool {
    request.method() == Method::OPTIONS && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// Answers a preflight request. The page's origin is allowed, so the page may send any header.
fn preflight(request: &Request) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST"));
    if let Some(wanted) = request.headers().get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
    }
    // Chrome asks for this when a public page calls loopback.
    if request.headers().contains_key("access-control-request-private-network") {
        headers.insert("access-control-allow-private-network", HeaderValue::from_static("true"));
    }
    response
}

fn readable_by(origin: HeaderValue, mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("*"));
    headers.append(header::VARY, HeaderValue::from_static("origin"));
    response
}

impl RefusedCaller {
    pub fn status(&self) -> StatusCode {
        match self {
            Self::NoHost => StatusCode::BAD_REQUEST,
            Self::Host(_) | Self::Origin(_) | Self::Page => StatusCode::FORBIDDEN,
        }
    }
}
