//! `redrive dev` with a function that this test serves. The README's first command, which the gate runs, also builds
//! and runs a function.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Stdio};

use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use serde_json::{Value, json};

use crate::kit::{GOOD, Ran, command, directory, run, served};

/// Serves a function as `cargo lambda watch` does, until the test ends.
pub(crate) fn serve(function: fn(Value) -> Value) -> String {
    let invoke = move |event: Bytes| async move { function(serde_json::from_slice(&event).unwrap()).to_string() };
    served(Router::new().route("/2015-03-31/functions/_/invocations", post(invoke)))
}

/// Fails the messages that the demo wants to fail, as `orders` does.
pub(crate) fn orders(event: Value) -> Value {
    let fails = |record: &&Value| {
        let (body, count) = (record["body"].as_str().unwrap(), &record["attributes"]["ApproximateReceiveCount"]);
        let is_late = body.contains("BACK-ORDER") && ["1", "2"].contains(&count.as_str().unwrap());
        serde_json::from_str::<Value>(body).is_err() || body.contains("OUT-OF-STOCK") || is_late
    };
    let failed = event["Records"].as_array().unwrap().iter().filter(fails);
    let items: Vec<_> = failed.map(|record| json!({"itemIdentifier": record["messageId"]})).collect();
    json!({"batchItemFailures": items})
}

/// Does the same and checks its region.
fn orders_in_ireland(event: Value) -> Value {
    assert_eq!(event["Records"][0]["eventSourceARN"], "arn:aws:sqs:eu-west-1:000000000000:orders");
    orders(event)
}

fn dev(template: &str, arguments: &[&str]) -> Ran {
    run(template, &[&["dev", "--port", "0"], arguments].concat())
}

#[test]
fn demo_accounts_for_every_message() {
    let ran = dev(GOOD, &["--demo", "--invoke-url", &serve(orders)]);
    assert_eq!(ran.status, 0, "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("10 sent, 8 processed"), "{}", ran.stdout);
    assert!(ran.stdout.contains("2 dead-lettered"), "{}", ran.stdout);
    assert_eq!(ran.stdout.matches("orders -> dead:").count(), 2, "{}", ran.stdout);
    assert!(ran.stdout.contains("done at receive 3"), "{}", ran.stdout);
    assert!(!ran.stdout.contains('\u{1b}'), "output to a pipe has no colours");
}

#[test]
fn queues_are_in_the_named_region() {
    let ran = dev(GOOD, &["--demo", "--region", "eu-west-1", "--invoke-url", &serve(orders_in_ireland)]);
    assert_eq!(ran.status, 0, "{}{}", ran.stdout, ran.stderr);
}

#[test]
fn json_output_is_an_object_a_line() {
    let ran = dev(GOOD, &["--demo", "--json", "--invoke-url", &serve(orders)]);
    let events: Vec<Value> = ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let summary = events.last().unwrap();
    assert_eq!((&summary["event"], &summary["dead_lettered"]), (&json!("summary"), &json!(2)), "{summary}");
    let batch = events.iter().find(|event| event["event"] == "batch").unwrap();
    assert_eq!(batch["queue"], "orders");
    assert_eq!(batch["visible_again_after_s"], 180);
}

#[test]
fn lost_messages_without_reports_are_unaccounted_for() {
    let template = GOOD.replace("            FunctionResponseTypes: [ReportBatchItemFailures]\n", "");
    let ran = dev(&template, &["--demo", "--invoke-url", &serve(orders)]);
    assert!(ran.stdout.contains("10 processed"), "{}", ran.stdout);
    assert!(ran.stdout.contains("ReportBatchItemFailures"), "{}", ran.stdout);
}

#[test]
fn queues_without_a_function_are_idle_at_once() {
    let queues = GOOD.split("  Place:").next().unwrap();
    let ran = dev(queues, &["--until-idle"]);
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    assert!(ran.stdout.contains("/000000000000/orders"), "{}", ran.stdout);
}

fn refused(template: &str, arguments: &[&str], expected: &[&str]) {
    let ran = dev(template, arguments);
    assert_eq!(ran.status, 2, "{}", ran.stdout);
    assert_eq!(ran.stderr.trim_end().lines().count(), 1, "one error: {}", ran.stderr);
    for expected in expected {
        assert!(ran.stderr.contains(expected), "{expected}: {}", ran.stderr);
    }
}

#[test]
fn template_that_cannot_run_is_one_error_with_place_and_remedy() {
    refused(GOOD, &[], &["template.yaml:17:3", "no Cargo.toml", "--invoke-url"]);
    let unserved = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    refused(GOOD, &["--invoke-url", &format!("http://{unserved}")], &["no function is served", "cargo lambda watch"]);
    refused(GOOD, &["--invoke-url", "https://x"], &["https"]);
    let elsewhere = GOOD.replace("Queue: !GetAtt Orders.Arn", "Queue: arn:aws:sqs:us-east-1:111122223333:orders");
    refused(&elsewhere, &[], &["111122223333", "does not make"]);
    let short = GOOD.replace("VisibilityTimeout: 180", "VisibilityTimeout: 20");
    refused(&short, &["--invoke-url", "http://localhost:1"], &["VisibilityTimeout 20s", "template.yaml:"]);
    refused("Resources: [", &[], &["template.yaml:"]);
}

/// Sends a request that lists the queues with these header lines. Returns its status.
fn status(address: &str, lines: &str) -> String {
    let mut sqs = TcpStream::connect(address).unwrap();
    let call = "Connection: close\r\nX-Amz-Target: AmazonSQS.ListQueues\r\nContent-Length: 2\r\n\r\n{}";
    write!(sqs, "POST / HTTP/1.1\r\n{lines}{call}").unwrap();
    let mut answer = String::new();
    sqs.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).unwrap().to_owned()
}

/// The running command, which ends with the test.
struct Dev(Child);

impl Drop for Dev {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Starts the command with queues only. Also returns the address of SQS.
fn begin(arguments: &[&str]) -> (Dev, String) {
    let directory = directory();
    std::fs::write(directory.join("template.yaml"), GOOD.split("  Place:").next().unwrap()).unwrap();
    let mut command = command(&directory, &[&["dev", "--port", "0"], arguments].concat());
    let mut dev = Dev(command.stdout(Stdio::piped()).spawn().unwrap());
    let mut lines = BufReader::new(dev.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    let line = lines.find(|line| line.contains("SQS at http://")).unwrap();
    let address = line.split("SQS at http://").nth(1).unwrap().split(';').next().unwrap().to_owned();
    // Further output is read, so that the pipe does not fill.
    std::thread::spawn(move || lines.for_each(drop));
    (dev, address)
}

#[test]
fn other_hosts_and_web_pages_are_answered_only_with_a_flag() {
    let page = "Host: localhost\r\nOrigin: http://localhost:3000\r\n";
    let (_dev, address) = begin(&[]);
    assert_eq!(status(&address, "Host: host.docker.internal:9324\r\n"), "403");
    assert_eq!((status(&address, page), status(&address, "Host: localhost\r\n")), ("403".into(), "200".into()));

    let allowed = ["--allow-host", "host.docker.internal", "--allow-host", "queue.test", "--allow-origin"];
    let (_dev, address) = begin(&[&allowed[..], &["http://localhost:3000"]].concat());
    for lines in ["Host: host.docker.internal:9324\r\n", "Host: queue.test\r\n", page, "Host: [::1]\r\n"] {
        assert_eq!(status(&address, lines), "200", "{lines}");
    }
    for lines in ["Host: evil.example\r\n", "Host: localhost\r\nOrigin: http://localhost:3001\r\n"] {
        assert_eq!(status(&address, lines), "403", "{lines}");
    }
}

#[test]
fn host_or_origin_that_cannot_be_allowed_is_one_error() {
    refused(GOOD, &["--allow-host", "http://queue.test"], &["--allow-host", "http://queue.test", "queue.test:9324"]);
    refused(GOOD, &["--allow-origin", "*"], &["--allow-origin", "http://localhost:3000"]);
    refused(GOOD, &["--allow-origin", "null"], &["--allow-origin", "http://localhost:3000"]);
}

/// Calls the operation on the queue `orders`. Returns the status.
fn call(address: &str, operation: &str, body: &str) -> String {
    let mut sqs = TcpStream::connect(address).unwrap();
    let head = format!("POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}", body.len());
    write!(sqs, "{head}\r\nX-Amz-Target: AmazonSQS.{operation}\r\n\r\n{body}").unwrap();
    let mut answer = String::new();
    sqs.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).unwrap().to_owned()
}

#[test]
fn queue_is_purged_and_created_again_at_once_without_a_cooldown() {
    let (orders, name) = (r#"{"QueueUrl": "orders"}"#, r#"{"QueueName": "orders"}"#);
    for (arguments, expected) in [(&[][..], ["200", "403", "200", "400"]), (&["--no-cooldown"][..], ["200"; 4])] {
        let (_dev, address) = begin(arguments);
        let calls = [("PurgeQueue", orders), ("PurgeQueue", orders), ("DeleteQueue", orders), ("CreateQueue", name)];
        let statuses = calls.map(|(operation, body)| call(&address, operation, body));
        assert_eq!(statuses, expected, "{arguments:?}");
    }
}

#[test]
fn port_in_use_is_one_error() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let ran = run(GOOD, &["dev", "--port", &port]);
    assert_eq!(ran.status, 2);
    assert!(ran.stderr.contains(&port) && ran.stderr.contains("--port"), "{}", ran.stderr);
}
