//! Provides a function for the tests of this folder: the test executable itself, run as another process.

use std::env;
use std::future::pending;
use std::io::Read;
use std::net::SocketAddr;
use std::process;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{Request, Response};
use http_body_util::Full;
use redrive_local::function::{Invocation, PAYLOAD_LIMIT_BYTES};
use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::Program;
use super::http::exchange;

/// Selects the behaviour of the function before its first poll.
pub(super) const INIT: &str = "REDRIVE_TEST_INIT";

/// The address to which a process connects for its lifetime, as a sign that it runs.
const ALIVE: &str = "REDRIVE_TEST_ALIVE";

pub(super) fn invocation(event: impl Into<Bytes>) -> Invocation {
    Invocation {
        request_id: "request-1".to_owned(),
        event: event.into(),
        function_arn: "arn:aws:lambda:eu-west-1:123456789012:function:orders".to_owned(),
        timeout: Duration::from_secs(20),
        trace_header: Some("Root=1-65a1b2c3-0123456789abcdef01234567".to_owned()),
    }
}

/// Returns a program that runs [`function`] in another process.
pub(super) fn program() -> Program {
    let mut program = Program::new(env::current_exe().unwrap());
    let name = concat!(module_path!(), "::function");
    let name = name.split_once("::").unwrap().1;
    program.arguments = ["--ignored", "--exact", "--nocapture", name].map(Into::into).to_vec();
    program
}

/// Sends one request to a Runtime API, as a function does.
pub(super) async fn call(api: SocketAddr, method: &str, path: &str, body: impl Into<Bytes>) -> Response<Bytes> {
    let stream = TcpStream::connect(api).await.unwrap();
    let request = Request::builder().method(method).uri(format!("/2018-06-01/runtime/{path}"));
    let request = request.header("host", api.to_string()).body(Full::new(body.into())).unwrap();
    exchange(stream, request, 2 * PAYLOAD_LIMIT_BYTES).await.unwrap()
}

#[tokio::test]
#[ignore = "other tests run this as a function"]
async fn function() {
    let Ok(api) = env::var("AWS_LAMBDA_RUNTIME_API") else { return };
    let api = api.parse().unwrap();
    let _alive = env::var(ALIVE).map(|address| std::net::TcpStream::connect(address).unwrap());
    match env::var(INIT).as_deref() {
        Ok("exit") => {
            eprintln!("no configuration");
            process::exit(3);
        }
        Ok("fail") => {
            call(api, "POST", "init/error", r#"{"errorType": "Config", "errorMessage": "is missing"}"#).await;
            process::exit(1);
        }
        Ok("hang") => pending().await,
        Ok("poll and leave") => {
            let poll = call(api, "GET", "invocation/next", "");
            assert!(tokio::time::timeout(Duration::from_millis(100), poll).await.is_err(), "an invocation was early");
            pending().await
        }
        Ok("consume") => {
            let consume = async |redrive::Body(body): redrive::Body| match body.as_str() {
                "good" => Ok(()),
                _ => Err(redrive::BoxError::from("it is bad")),
            };
            return redrive::run(consume).await.unwrap();
        }
        Ok(other) => panic!("{INIT} is {other:?}"),
        Err(_) => {}
    }
    loop {
        let next = call(api, "GET", "invocation/next", "").await;
        let id = next.headers()["lambda-runtime-aws-request-id"].to_str().unwrap();
        let event: Value = serde_json::from_slice(next.body()).unwrap();
        obey(api, id, &event).await;
    }
}

async fn obey(api: SocketAddr, id: &str, event: &Value) {
    let text = |name: &str| event[name].as_str().unwrap_or_default();
    let mut alive = event["alive"].as_str().map(|address| std::net::TcpStream::connect(address).unwrap());
    match text("do") {
        "answer when told" => alive.as_mut().unwrap().read_exact(&mut [0]).unwrap(),
        "answer and exit when told" => {
            let mut told = alive.take().unwrap();
            std::thread::spawn(move || {
                told.read_exact(&mut [0]).unwrap();
                println!("\ngone");
                process::exit(0);
            });
        }
        _ => {}
    }
    println!("\n{}", text("print"));
    eprintln!("{}", text("complain"));
    let has_cargos = env::var_os("CARGO_MANIFEST_DIR").is_some();
    let answer = json!({"pid": process::id(), "variable": env::var("VARIABLE").ok(), "has_cargos": has_cargos});
    match text("do") {
        "raise" => {
            let report = r#"{"errorType": "Database", "errorMessage": "is away"}"#;
            call(api, "POST", &format!("invocation/{id}/error"), report).await;
        }
        "exit" => process::exit(7),
        "hang" => pending().await,
        "beget" => {
            let heir = env::current_exe().unwrap();
            let mut heir = tokio::process::Command::new(heir);
            let _heir = heir.args(program().arguments).env(INIT, "hang").env(ALIVE, text("heir")).spawn().unwrap();
            pending().await
        }
        "answer" | "answer when told" | "answer and exit when told" | "answer and exit" | "answer and hang" => {
            call(api, "POST", &format!("invocation/{id}/response"), answer.to_string()).await;
            match text("do") {
                "answer and exit" => process::exit(0),
                "answer and hang" => pending().await,
                _ => {}
            }
        }
        other => panic!("cannot do {other:?}"),
    }
}
