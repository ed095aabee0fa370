use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::function::test_function::{call, invocation};

/// The time limit of a failing test.
const LONG: Duration = Duration::from_secs(60);

fn numbered(request_id: &str) -> Invocation {
    Invocation { request_id: request_id.to_owned(), ..invocation(format!("{request_id:?}")) }
}

async fn answered(answer: oneshot::Receiver<Answer>) -> Answer {
    tokio::time::timeout(LONG, answer).await.unwrap().unwrap()
}

#[tokio::test]
async fn invocation_is_delivered_with_its_headers_and_its_answer_is_returned() {
    let api = RuntimeApi::start().await.unwrap();
    let answer = api.offer(&invocation(r#"{"Records": []}"#));
    assert!(!api.is_running("request-1"));
    let before = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let next = call(api.address(), "GET", "invocation/next", "").await;
    let after = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();

    assert!(api.is_running("request-1"));
    assert_eq!((next.status(), &**next.body()), (StatusCode::OK, &br#"{"Records": []}"#[..]));
    let header = |name: &str| next.headers()[name].to_str().unwrap();
    assert_eq!(header("lambda-runtime-aws-request-id"), "request-1");
    assert_eq!(header("lambda-runtime-invoked-function-arn"), invocation("").function_arn);
    assert_eq!(header("lambda-runtime-trace-id"), invocation("").trace_header.unwrap());
    let deadline = Duration::from_millis(header("lambda-runtime-deadline-ms").parse().unwrap());
    let timeout = invocation("").timeout;
    let millisecond = Duration::from_millis(1);
    assert!((before + timeout - millisecond..=after + timeout).contains(&deadline), "{deadline:?}");

    let status = call(api.address(), "POST", "invocation/request-1/response", "the answer").await.status();
    assert_eq!(status, StatusCode::ACCEPTED);
    assert_eq!(answered(answer).await, Ok("the answer".into()));
    assert!(!api.is_running("request-1"));
}

#[tokio::test]
async fn error_is_returned_as_the_function_reported_it() {
    let api = RuntimeApi::start().await.unwrap();
    let answer = api.offer(&numbered("1"));
    call(api.address(), "GET", "invocation/next", "").await;
    call(api.address(), "POST", "invocation/1/error", r#"{"errorType": "T", "errorMessage": "m"}"#).await;
    assert_eq!(answered(answer).await, Err(ErrorReport::new("T", "m")));
}

#[tokio::test]
async fn only_the_first_answer_to_a_running_invocation_is_accepted() {
    let api = RuntimeApi::start().await.unwrap();
    let answer = api.offer(&numbered("1"));
    let respond =
        async |id: &str| call(api.address(), "POST", &format!("invocation/{id}/response"), "late").await.status();
    assert_eq!(respond("1").await, StatusCode::BAD_REQUEST, "no poll has taken the invocation");
    call(api.address(), "GET", "invocation/next", "").await;
    assert_eq!(respond("2").await, StatusCode::BAD_REQUEST);
    assert_eq!(respond("1").await, StatusCode::ACCEPTED);
    assert_eq!(respond("1").await, StatusCode::BAD_REQUEST);
    assert_eq!(answered(answer).await, Ok("late".into()));
}

#[tokio::test]
async fn only_one_invocation_waits_at_a_time() {
    let api = RuntimeApi::start().await.unwrap();
    let (first, second) = (api.offer(&numbered("1")), api.offer(&numbered("2")));
    assert!(second.await.is_err());
    call(api.address(), "GET", "invocation/next", "").await;
    call(api.address(), "POST", "invocation/1/response", "").await;
    assert_eq!(answered(first).await, Ok("".into()));
}

#[tokio::test]
async fn closed_poll_takes_no_invocation() {
    let api = RuntimeApi::start().await.unwrap();
    tokio::select! {
        _ = call(api.address(), "GET", "invocation/next", "") => panic!("there is no invocation"),
        () = api.polled() => {}
    }
    api.left().await;
    let _answer = api.offer(&numbered("1"));
    assert_eq!(call(api.address(), "GET", "invocation/next", "").await.body(), "\"1\"");
}

#[tokio::test]
async fn payloads_of_the_full_size_pass_and_larger_answers_are_refused() {
    let api = RuntimeApi::start().await.unwrap();
    let large = Bytes::from(vec![b' '; PAYLOAD_LIMIT_BYTES]);
    let answer = api.offer(&Invocation { event: large.clone(), ..numbered("1") });
    assert_eq!(call(api.address(), "GET", "invocation/next", "").await.body().len(), PAYLOAD_LIMIT_BYTES);
    call(api.address(), "POST", "invocation/1/response", large.clone()).await;
    assert_eq!(answered(answer).await.map(|answer| answer.len()), Ok(PAYLOAD_LIMIT_BYTES));

    let answer = api.offer(&numbered("2"));
    call(api.address(), "GET", "invocation/next", "").await;
    let larger = Bytes::from(vec![b' '; PAYLOAD_LIMIT_BYTES + 1]);
    let status = call(api.address(), "POST", "invocation/2/response", larger).await.status();
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(answered(answer).await, Err(ErrorReport::too_large()));
}

#[tokio::test]
async fn start_failure_of_a_function_is_reported() {
    let api = RuntimeApi::start().await.unwrap();
    assert_eq!(api.init_error_so_far(), None);
    let report = r#"{"errorType": "Config", "errorMessage": "is missing"}"#;
    let (heard, response) = tokio::join!(api.init_error(), call(api.address(), "POST", "init/error", report));
    assert_eq!(response.status(), StatusCode::ACCEPTED);
    assert_eq!(heard, ErrorReport::new("Config", "is missing"));
    assert_eq!(api.init_error_so_far(), Some(heard));
}

#[tokio::test]
async fn trace_header_that_http_cannot_hold_is_left_out() {
    let api = RuntimeApi::start().await.unwrap();
    let _answer = api.offer(&Invocation { trace_header: Some("Root=1\nX: y".to_owned()), ..numbered("1") });
    let next = call(api.address(), "GET", "invocation/next", "").await;
    assert_eq!(next.headers().get("lambda-runtime-trace-id"), None);
}

#[tokio::test]
async fn polls_receive_an_error_when_the_runtime_api_ends() {
    let api = RuntimeApi::start().await.unwrap();
    let address = api.address();
    let (next, ()) = tokio::join!(call(address, "GET", "invocation/next", ""), async move {
        api.polled().await;
        drop(api);
    });
    assert_eq!(next.status(), StatusCode::GONE);
}

/// Sends bytes unchanged and reads until the connection closes.
async fn raw(api: &RuntimeApi, request: String) -> String {
    let mut stream = TcpStream::connect(api.address()).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn web_page_can_neither_take_nor_answer_an_invocation() {
    let api = RuntimeApi::start().await.unwrap();
    let waiting = api.offer(&numbered("1"));
    let next = "GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nConnection: close\r\n";
    for lines in [
        "Host: evil.example\r\n",
        "Host: evil.example:9001\r\n",
        "Host: localhost\r\nOrigin: http://evil.example\r\n",
        "Host: localhost\r\nOrigin: null\r\n",
        // An image on a page sends no origin.
        "Host: 127.0.0.1\r\nSec-Fetch-Site: cross-site\r\n",
    ] {
        let answer = raw(&api, format!("{next}{lines}\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 403 ") && answer.contains("Runtime.Forbidden"), "{lines}: {answer}");
        assert!(!api.is_running("1"), "{lines}");
    }
    let nameless = raw(&api, format!("{next}\r\n")).await;
    assert!(nameless.starts_with("HTTP/1.1 400 ") && !api.is_running("1"), "{nameless}");

    let taken = raw(&api, format!("{next}Host: LocalHost:1\r\n\r\n")).await;
    assert!(taken.starts_with("HTTP/1.1 200 ") && api.is_running("1"), "{taken}");
    let post = "POST /2018-06-01/runtime/invocation/1/response HTTP/1.1\r\nConnection: close\r\nContent-Length: 4\r\n";
    let forged = raw(&api, format!("{post}Host: localhost\r\nOrigin: null\r\n\r\nfake")).await;
    assert!(forged.starts_with("HTTP/1.1 403 ") && api.is_running("1"), "{forged}");
    call(api.address(), "POST", "invocation/1/response", "true").await;
    assert_eq!(answered(waiting).await, Ok("true".into()));
}
