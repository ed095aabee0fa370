//! Callers as a layer round a router: what is refused does not reach it.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};

use super::{Callers, Refused};

/// How a server words what it refuses.
pub(crate) type Refusal = fn(&Refused) -> Response;

#[derive(Clone)]
struct Guard {
    callers: Arc<Callers>,
    refusal: Refusal,
}

/// A router that answers these callers only.
pub(crate) fn guarded(router: Router, callers: Callers, refusal: Refusal) -> Router {
    router.layer(from_fn_with_state(Guard { callers: Arc::new(callers), refusal }, guard))
}

async fn guard(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let origin = match guard.callers.check(request.uri(), request.headers()) {
        Ok(origin) => origin,
        Err(refused) => {
            tracing::debug!(?refused, "refused a request");
            return (guard.refusal)(&refused);
        }
    };
    let Some(origin) = origin else { return next.run(request).await };
    let response = if is_preflight(&request) { preflight(&request) } else { next.run(request).await };
    readable_by(origin, response)
}

/// Whether a browser asks if a page may make a call, before it makes it.
fn is_preflight(request: &Request) -> bool {
    request.method() == Method::OPTIONS && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// The page may send any header that it asks for: its origin is allowed.
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

impl Refused {
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::NoHost => StatusCode::BAD_REQUEST,
            Self::Host(_) | Self::Origin(_) | Self::Page => StatusCode::FORBIDDEN,
        }
    }
}
