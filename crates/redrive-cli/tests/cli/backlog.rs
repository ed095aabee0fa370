//! `redrive dev` with a function that is slower than its queue fills.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use axum::Router;
use axum::routing::post;
use serde_json::{Value, json};

use crate::kit::{command, directory, served};

/// The limit of a wait, even on a machine that builds something else.
const LONG: Duration = Duration::from_secs(120);

/// The function's timeout is a second, the visibility timeout is the minimum for it, and every message has one receive.
const BACKLOG: &str = "
Resources:
  Dead: {Type: AWS::SQS::Queue, Properties: {QueueName: backlog-dead}}
  Work:
    Type: AWS::SQS::Queue
    Properties:
      QueueName: backlog
      VisibilityTimeout: 1
      RedrivePolicy: {deadLetterTargetArn: !GetAtt Dead.Arn, maxReceiveCount: 1}
  Slow: {Type: AWS::Lambda::Function, Properties: {Runtime: provided.al2023, Timeout: 1}}
  Mapping:
    Type: AWS::Lambda::EventSourceMapping
    Properties:
      EventSourceArn: !GetAtt Work.Arn
      FunctionName: !Ref Slow
      BatchSize: 1
      FunctionResponseTypes: [ReportBatchItemFailures]
";

/// A slow function that counts its runs and its most concurrent runs.
#[derive(Default)]
struct Function {
    runs: AtomicUsize,
    running: AtomicUsize,
    most: AtomicUsize,
}

impl Function {
    fn serve(self: &Arc<Self>, takes: Duration) -> String {
        let function = self.clone();
        let invoke = move || {
            let function = function.clone();
            async move {
                let running = function.running.fetch_add(1, Ordering::SeqCst) + 1;
                function.most.fetch_max(running, Ordering::SeqCst);
                tokio::time::sleep(takes).await;
                function.running.fetch_sub(1, Ordering::SeqCst);
                function.runs.fetch_add(1, Ordering::SeqCst);
                json!({"batchItemFailures": []}).to_string()
            }
        };
        served(Router::new().route("/2015-03-31/functions/_/invocations", post(invoke)))
    }
}

/// The running command and its events.
struct Dev {
    child: Child,
    events: Receiver<Value>,
    queue_url: String,
}

impl Dev {
    fn start(template: &str, arguments: &[&str]) -> Self {
        let directory = directory();
        std::fs::write(directory.join("template.yaml"), template).unwrap();
        let mut command = command(&directory, &[&["dev", "--port", "0", "--json"], arguments].concat());
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (sender, events) = channel();
        thread::spawn(move || {
            let events = lines.map_while(Result::ok).map(|line| serde_json::from_str(&line).unwrap());
            events.take_while(|event: &Value| sender.send(event.clone()).is_ok()).for_each(drop);
        });
        let mut dev = Self { child, events, queue_url: String::new() };
        while dev.queue_url.is_empty() {
            let event = dev.event();
            let url = event["message"].as_str().and_then(|message| message.strip_prefix("queue "));
            dev.queue_url = url.filter(|url| url.ends_with("/backlog")).unwrap_or_default().to_owned();
        }
        dev
    }

    fn event(&self) -> Value {
        self.events.recv_timeout(LONG).expect("another event arrives")
    }

    fn send(&self, count: usize) {
        let address = self.queue_url.strip_prefix("http://").unwrap().split('/').next().unwrap();
        for number in 0..count {
            let mut sqs = TcpStream::connect(address).unwrap();
            let body = json!({"QueueUrl": self.queue_url, "MessageBody": number.to_string()}).to_string();
            let head = "POST / HTTP/1.1\r\nHost: localhost\r\nX-Amz-Target: AmazonSQS.SendMessage\r\nConnection: close";
            write!(sqs, "{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
            let mut answer = String::new();
            sqs.read_to_string(&mut answer).unwrap();
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        }
    }

    /// Waits until this many batches have ended. No message may become a dead letter meanwhile.
    fn wait_for_batches(&self, count: usize) {
        let mut batches = 0;
        while batches < count {
            let event = self.event();
            assert_ne!(event["event"], "dead_lettered", "{event}");
            if event["event"] == "batch" {
                assert_eq!(event["messages"][0]["receive_count"], 1, "{event}");
                batches += 1;
            }
        }
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn backlog_behind_an_invoke_url_waits_in_its_queue() {
    let function = Arc::<Function>::default();
    let dev = Dev::start(BACKLOG, &["--invoke-url", &function.serve(Duration::from_millis(50))]);
    dev.send(60);
    dev.wait_for_batches(60);
    assert_eq!(function.runs.load(Ordering::SeqCst), 60);
    assert_eq!(function.most.load(Ordering::SeqCst), 1, "this is the default of `cargo lambda watch`");
}

#[test]
fn invoke_url_gets_as_many_concurrent_invocations_as_named() {
    let function = Arc::<Function>::default();
    let url = function.serve(Duration::from_millis(100));
    let dev = Dev::start(BACKLOG, &["--invoke-url", &url, "--invoke-concurrency", "5"]);
    dev.send(40);
    dev.wait_for_batches(40);
    assert_eq!(function.most.load(Ordering::SeqCst), 5);
}

#[test]
fn demo_ends_when_the_function_is_no_longer_served() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || drop(listener.accept().unwrap()));
    let ran = crate::kit::run(BACKLOG, &["dev", "--port", "0", "--demo", "--invoke-url", &url]);
    assert_eq!(ran.status, 2, "{}", ran.stdout);
    assert!(ran.stderr.contains("the function Slow: no function is served"), "{}", ran.stderr);
    assert!(!ran.stdout.contains("dead-lettered"), "{}", ran.stdout);
}

#[test]
fn function_that_is_not_served_costs_no_receive() {
    let function = Arc::<Function>::default();
    // The address listens only at the start.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let patient = BACKLOG.replace("VisibilityTimeout: 1", "VisibilityTimeout: 30");
    let dev = Dev::start(&patient, &["--invoke-url", &url]);
    // By now the command has seen that the address listens.
    drop(listener.accept().unwrap());
    drop(listener);
    dev.send(3);
    while dev.event()["event"] != "not_ready" {}
    let listener = std::net::TcpListener::bind(url.strip_prefix("http://").unwrap()).unwrap();
    listener.set_nonblocking(true).unwrap();
    let of_server = function.clone();
    thread::spawn(move || {
        let invoke = move || {
            of_server.runs.fetch_add(1, Ordering::SeqCst);
            async { "{}" }
        };
        let router = Router::new().fallback(invoke);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            axum::serve(tokio::net::TcpListener::from_std(listener).unwrap(), router).await.unwrap();
        });
    });
    dev.wait_for_batches(3);
    assert_eq!(function.runs.load(Ordering::SeqCst), 3);
}
