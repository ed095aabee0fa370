//! Tests invocations against a server that answers like `cargo lambda watch`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use redrive_local::function::{ErrorReport, Slot};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::*;
use crate::function::error_report::report_of;
use crate::function::test_function::invocation;

const PATH: &str = "/2015-03-31/functions/orders/invocations";

/// A server that answers every request in the same way.
struct Server {
    url: String,
    /// The received requests.
    requests: mpsc::UnboundedReceiver<(Uri, HeaderMap, Bytes)>,
    _task: JoinSet<()>,
}

impl Server {
    async fn start<R: IntoResponse + Clone + Send + Sync + 'static>(response: R) -> Self {
        Self::start_with(move || std::future::ready(response.clone().into_response())).await
    }

    async fn start_with<F, Fut>(respond: F) -> Self
    where
        F: Fn() -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Response> + Send,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (asked, requests) = mpsc::unbounded_channel();
        let router = Router::new().fallback(move |uri: Uri, headers: HeaderMap, body: Bytes| {
            asked.send((uri, headers, body)).unwrap();
            respond()
        });
        let mut task = JoinSet::new();
        task.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, requests, _task: task }
    }

    fn address(&self) -> String {
        self.url.trim_start_matches("http://").to_owned()
    }

    fn function(&self) -> InvokeUrl {
        InvokeUrl::new(&self.url, "orders", DEFAULT_CONCURRENCY).unwrap()
    }

    async fn invoke(&self) -> Result<Bytes, FunctionError> {
        self.function().call(&invocation("{}")).await
    }
}

fn report() -> ErrorReport {
    ErrorReport::new("Config", "is missing")
}

const REPORT: &str = r#"{"errorType": "Config", "errorMessage": "is missing"}"#;

#[tokio::test]
async fn answer_is_returned_unchanged() {
    let mut server = Server::start("not JSON").await;
    let function: Arc<dyn Function> = Arc::new(server.function());
    let mut slot = Slot::take(&function).await.unwrap();
    assert_eq!(slot.invoke(&invocation("the event")).await.unwrap(), "not JSON");
    let (uri, headers, body) = server.requests.recv().await.unwrap();
    assert_eq!((uri.path(), &*body), (PATH, &b"the event"[..]));
    assert_eq!(headers["content-type"], "application/json");
    assert_eq!(headers["host"], server.address());
    assert_eq!(headers["x-amzn-trace-id"], invocation("").trace_header.unwrap());
}

#[tokio::test]
async fn init_error_with_status_200_is_not_an_answer() {
    assert_eq!(Server::start(REPORT).await.invoke().await, Err(FunctionError::InitFailedThere(report())));
}

#[tokio::test]
async fn answer_with_batch_item_failures_is_not_an_init_error() {
    let answer = r#"{"batchItemFailures": [], "errorType": "none", "errorMessage": "none"}"#;
    assert_eq!(Server::start(answer).await.invoke().await.unwrap(), answer);
}

#[tokio::test]
async fn status_500_without_a_header_is_a_function_error() {
    let server = Server::start((StatusCode::INTERNAL_SERVER_ERROR, REPORT)).await;
    assert_eq!(server.invoke().await, Err(FunctionError::Raised(report())));
}

#[tokio::test]
async fn status_200_with_a_function_error_header_is_a_function_error() {
    let answers = r#"{"batchItemFailures": []}"#;
    for (body, report) in [(REPORT, report()), (answers, report_of(answers.as_bytes()))] {
        let server = Server::start(([("X-Amz-Function-Error", "Unhandled")], body)).await;
        assert_eq!(server.invoke().await, Err(FunctionError::Raised(report)));
    }
}

#[tokio::test]
async fn unknown_function_is_named() {
    let server = Server::start((StatusCode::NOT_FOUND, REPORT)).await;
    let unknown = FunctionError::UnknownFunction { name: "orders".to_owned(), address: server.address() };
    assert_eq!(server.invoke().await, Err(unknown));
}

#[tokio::test]
async fn other_statuses_map_to_their_errors() {
    let invoke = async |status: StatusCode| {
        let server = Server::start((status, "{}")).await;
        (server.invoke().await.unwrap_err(), server.address())
    };
    let (error, address) = invoke(StatusCode::REQUEST_TIMEOUT).await;
    assert_eq!(error, FunctionError::TimedOutThere { address });
    let (error, _) = invoke(StatusCode::TOO_MANY_REQUESTS).await;
    assert_eq!(error, FunctionError::Throttled);
    for status in [StatusCode::BAD_GATEWAY, StatusCode::ACCEPTED, StatusCode::NO_CONTENT, StatusCode::FOUND] {
        let (error, address) = invoke(status).await;
        assert_eq!(error, FunctionError::UnexpectedStatus { status: status.as_u16(), address });
    }
}

/// On a paused clock an earlier limit of the client would expire at once, because time advances while all tasks wait.
#[tokio::test(start_paused = true)]
async fn call_waits_beyond_the_timeout_and_reports_an_unanswered_invocation() {
    let server = Server::start_with(std::future::pending).await;
    let function = server.function();
    let began = tokio::time::Instant::now();
    let mut invocation = invocation("{}");
    invocation.timeout = Duration::from_secs(900);
    let error = function.call(&invocation).await.unwrap_err();
    let waited = invocation.timeout + DEFAULT_PATIENCE;
    assert_eq!(error, FunctionError::Unanswered { timeout: invocation.timeout, waited });
    assert!(began.elapsed() >= waited && waited > invocation.timeout, "{:?}", began.elapsed());
    assert!(error.to_string().contains("may still run the invocation"), "{error}");
}

#[tokio::test]
async fn concurrent_invocations_are_limited_to_the_concurrency() {
    for concurrency in [0, 1, 3] {
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let server = {
            let (running, most) = (running.clone(), most.clone());
            Server::start_with(move || {
                let (running, most) = (running.clone(), most.clone());
                async move {
                    most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    // Long enough for all admitted invocations to arrive.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    running.fetch_sub(1, Ordering::SeqCst);
                    StatusCode::OK.into_response()
                }
            })
            .await
        };
        let function: Arc<dyn Function> = Arc::new(InvokeUrl::new(&server.url, "orders", concurrency).unwrap());
        let mut calls = JoinSet::new();
        for _ in 0..6 {
            let function = function.clone();
            calls.spawn(async move {
                let mut slot = Slot::take(&function).await.unwrap();
                slot.invoke(&invocation("{}")).await.unwrap()
            });
        }
        calls.join_all().await;
        assert_eq!(most.load(Ordering::SeqCst), concurrency.max(1) as usize);
    }
}

#[tokio::test]
async fn check_connects_without_sending_a_request() {
    let mut server = Server::start("").await;
    server.function().check().await.unwrap();
    // The first request of the server is therefore the following invocation.
    server.invoke().await.unwrap();
    assert_eq!(server.requests.recv().await.unwrap().0.path(), PATH);
    assert!(server.requests.try_recv().is_err());
}

#[tokio::test]
async fn address_without_a_server_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let function = InvokeUrl::new(&format!("http://{address}"), "orders", 1).unwrap();
    for error in [function.check().await.unwrap_err(), function.call(&invocation("")).await.unwrap_err()] {
        assert!(matches!(&error, FunctionError::Unreachable { address: named, .. } if *named == address), "{error:?}");
    }
}

#[tokio::test]
async fn broken_connection_does_not_say_whether_the_function_ran() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let function = InvokeUrl::new(&format!("http://{}", listener.local_addr().unwrap()), "orders", 1).unwrap();
    let invocation = invocation("{}");
    let (result, ()) = tokio::join!(function.call(&invocation), async {
        let (mut stream, _) = listener.accept().await.unwrap();
        tokio::io::AsyncReadExt::read(&mut stream, &mut [0; 64]).await.unwrap();
    });
    assert!(matches!(result, Err(FunctionError::Broken { .. })), "{result:?}");
}

#[tokio::test]
async fn answer_over_the_limit_is_refused() {
    let of = |bytes: usize| Server::start(vec![b' '; bytes]);
    assert_eq!(of(PAYLOAD_LIMIT_BYTES).await.invoke().await.unwrap().len(), PAYLOAD_LIMIT_BYTES);
    let error = of(PAYLOAD_LIMIT_BYTES + 1).await.invoke().await;
    assert!(matches!(error, Err(FunctionError::Broken { .. })), "{error:?}");
}

#[tokio::test]
async fn trace_header_that_http_cannot_hold_is_left_out() {
    let mut server = Server::start("").await;
    let mut invocation = invocation("{}");
    invocation.trace_header = Some("Root=1\nX: y".to_owned());
    server.function().call(&invocation).await.unwrap();
    assert_eq!(server.requests.recv().await.unwrap().1.get("x-amzn-trace-id"), None);
}

#[test]
fn invalid_url_has_its_own_error() {
    let error: Option<InvokeUrlError> = InvokeUrl::new("https://localhost", "orders", 1).err();
    assert!(error.unwrap().to_string().contains("https"));
}
