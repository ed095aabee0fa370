//! Runs each server in its own process, with this program.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use axum::Router;
use axum::http::{HeaderMap, header};
use axum::serve::ListenerExt;
use redrive_local::Sqs;
use serde_json::json;
use tokio::net::TcpListener;

use crate::{BATCH, BODY_BYTES};

/// The variable that selects the server of a process.
const KIND: &str = "BENCH_SERVER";

#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Queue,
    /// Answers each operation with a fixed text.
    Canned,
}

impl Kind {
    pub(crate) fn from_env() -> Option<Self> {
        match env::var(KIND).ok()?.as_str() {
            "queue" => Some(Self::Queue),
            _ => Some(Self::Canned),
        }
    }
}

/// Serves until the process is killed.
pub(crate) async fn serve(kind: Kind) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    println!("http://{}", listener.local_addr().expect("the listener has an address"));
    match kind {
        Kind::Queue => Sqs::new().serve(listener, std::future::pending()).await.expect("the server runs"),
        Kind::Canned => {
            let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
            axum::serve(listener, Router::new().fallback(canned)).await.expect("the server runs");
        }
    }
}

async fn canned(headers: HeaderMap, _: axum::body::Bytes) -> ([(header::HeaderName, &'static str); 1], String) {
    let target = headers.get("x-amz-target").and_then(|target| target.to_str().ok()).unwrap_or_default();
    let md5 = "0".repeat(32);
    let ids = || 0..BATCH;
    let answer = match target {
        "AmazonSQS.CreateQueue" => json!({"QueueUrl": "http://localhost/000000000000/orders"}),
        "AmazonSQS.ReceiveMessage" => {
            let message =
                json!({"MessageId": md5, "ReceiptHandle": md5, "MD5OfBody": md5, "Body": "x".repeat(BODY_BYTES)});
            json!({"Messages": ids().map(|_| message.clone()).collect::<Vec<_>>()})
        }
        _ => {
            let entry = |id: usize| json!({"Id": id.to_string(), "MessageId": md5, "MD5OfMessageBody": md5});
            json!({"Successful": ids().map(entry).collect::<Vec<_>>(), "Failed": []})
        }
    };
    ([(header::CONTENT_TYPE, "application/x-amz-json-1.0")], answer.to_string())
}

/// A running server. Dropping it ends the process.
pub(crate) struct Server {
    process: Child,
    url: String,
}

impl Server {
    pub(crate) fn start(kind: Kind) -> Self {
        let name = match kind {
            Kind::Queue => "queue",
            Kind::Canned => "canned",
        };
        let program = env::current_exe().expect("this program has a path");
        let mut process =
            Command::new(program).env(KIND, name).stdout(Stdio::piped()).spawn().expect("this program starts");
        let mut url = String::new();
        let output = process.stdout.take().expect("standard output is piped");
        BufReader::new(output).read_line(&mut url).expect("the server prints its address");
        Self { process, url: url.trim().to_owned() }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Returns the memory of the process, or NaN if the system has no `/proc`.
    pub(crate) fn memory_mib(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap_or_default();
        let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
        kib.map_or(f64::NAN, |kib| kib.parse::<f64>().expect("the memory is a number of kB") / 1024.0)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The process has ended already, or ends now.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
