//! Tests `redrive::run` as a process: `REDRIVE_QUEUE_URL` makes it a worker, and it ends as an orchestrator expects.
//!
//! Processes and signals are real here, so these tests use the real clock.

use std::io::{Read, Write};
use std::process::Stdio;
use std::time::Duration;

use aws_sdk_sqs::types::QueueAttributeName as Name;
use redrive_local::Sqs;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

/// Signals for `kill`, by number.
const INT: &str = "-2";
pub(crate) const TERM: &str = "-15";

pub(crate) struct Served {
    pub(crate) sqs: Sqs,
    pub(crate) url: String,
    endpoint: String,
    service: JoinHandle<()>,
}

impl Served {
    pub(crate) async fn new() -> Self {
        let sqs = Sqs::with_seed(1);
        sqs.client().create_queue().queue_name("orders").send().await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let serve = sqs.clone().serve(listener, std::future::pending());
        let service = tokio::spawn(async { serve.await.unwrap() });
        let url = format!("{endpoint}/000000000000/orders");
        Self { sqs, url, endpoint, service }
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_orders"));
        command.env_clear().env("AWS_ENDPOINT_URL_SQS", &self.endpoint).env("AWS_REGION", "us-east-1");
        command.env("AWS_ACCESS_KEY_ID", "x").env("AWS_SECRET_ACCESS_KEY", "x").env("REDRIVE_QUEUE_URL", &self.url);
        command.stdout(Stdio::piped()).kill_on_drop(true);
        command
    }

    /// Returns the numbers of visible and in-flight messages.
    pub(crate) async fn counts(&self) -> (usize, usize) {
        let names = [Name::ApproximateNumberOfMessages, Name::ApproximateNumberOfMessagesNotVisible];
        let get = self.sqs.client().get_queue_attributes().queue_url(&self.url);
        let attributes = get.set_attribute_names(Some(names.to_vec())).send().await.unwrap().attributes.unwrap();
        let count = |name| attributes[name].parse().unwrap();
        (count(&names[0]), count(&names[1]))
    }

    async fn send(&self, body: &str) {
        self.sqs.client().send_message().queue_url(&self.url).message_body(body).send().await.unwrap();
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.service.abort();
    }
}

/// Waits for a log line with this text.
async fn until_logged(child: &mut Child, words: &str) -> String {
    let mut lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
    let said = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            if line.contains(words) {
                return line;
            }
        }
        panic!("the process exited without logging {words:?}");
    };
    tokio::time::timeout(Duration::from_secs(30), said).await.expect("the line is logged in time")
}

pub(crate) async fn signal(child: &Child, signal: &str) {
    let id = child.id().expect("the process is running").to_string();
    assert!(Command::new("kill").args([signal, &id]).status().await.unwrap().success());
}

/// Returns the body of an order.
pub(crate) fn order(number: usize) -> String {
    let items = r#"[{"sku":"s","quantity":1,"unit_price_cents":5}]"#;
    format!(r#"{{"order_id":"{number}","customer":"c","currency":"EUR","items":{items}}}"#)
}

#[tokio::test]
async fn worker_polls_the_queue_of_the_environment_and_ends_at_a_signal() {
    for asked in [TERM, INT] {
        let served = Served::new().await;
        served.send(&order(1)).await;
        let mut orders = served.command().spawn().unwrap();
        until_logged(&mut orders, "order placed").await;
        signal(&orders, asked).await;
        until_logged(&mut orders, "asked to end").await;
        // The running poll waits up to 20 s and receives this message.
        served.send(&order(2)).await;
        until_logged(&mut orders, "order placed").await;
        assert!(orders.wait().await.unwrap().success());
        assert_eq!(served.counts().await, (0, 0), "a message was not deleted");
    }
}

#[tokio::test]
async fn second_signal_ends_the_worker_at_once() {
    let served = Served::new().await;
    served.send(&order(1)).await;
    let mut orders = served.command().spawn().unwrap();
    until_logged(&mut orders, "order placed").await;
    signal(&orders, TERM).await;
    until_logged(&mut orders, "asked to end").await;
    signal(&orders, TERM).await;
    let status =
        tokio::time::timeout(Duration::from_secs(10), orders.wait()).await.expect("the poll does not delay it");
    assert_eq!(status.unwrap().code(), Some(1));
}

/// The capacity of a pipe without a reader.
const PIPE_BYTES: usize = 64 * 1024;

#[tokio::test]
async fn unread_standard_output_costs_no_message() {
    const ORDERS: usize = 300;
    let served = Served::new().await;
    let (mut unread, mut output) = std::io::pipe().unwrap();
    // The pipe is full before the worker starts.
    output.write_all(&vec![b'\n'; PIPE_BYTES]).unwrap();
    let mut orders = served.command().stdout(output).spawn().unwrap();
    for number in 0..ORDERS {
        served.send(&order(number)).await;
    }
    let drained = async {
        while served.counts().await != (0, 0) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), drained).await.expect("the worker does not wait for its log");
    signal(&orders, TERM).await;
    // The last poll may take 20 s. The worker does not wait for its log.
    let status =
        tokio::time::timeout(Duration::from_secs(40), orders.wait()).await.expect("the worker ends without its log");
    assert!(status.unwrap().success());
    let mut written = Vec::new();
    unread.read_to_end(&mut written).unwrap();
    assert_eq!(written.len(), PIPE_BYTES, "a line was written");
}

#[tokio::test]
async fn all_log_lines_are_written_before_the_worker_ends() {
    const ORDERS: usize = 100;
    let served = Served::new().await;
    for number in 0..ORDERS {
        served.send(&order(number)).await;
    }
    let mut orders = served.command().spawn().unwrap();
    let mut lines = BufReader::new(orders.stdout.take().unwrap()).lines();
    let (mut placed, mut asked) = (0, false);
    while let Some(line) = lines.next_line().await.unwrap() {
        asked |= line.contains("asked to end");
        placed += usize::from(line.contains("order placed"));
        if line.contains("order placed") && placed == 1 {
            signal(&orders, TERM).await;
        }
    }
    assert!(orders.wait().await.unwrap().success() && asked);
    assert_eq!(served.counts().await, (ORDERS - placed, 0), "a deleted message has no log line");
}

#[tokio::test]
async fn invalid_or_missing_queue_is_an_error_with_a_reason() {
    let served = Served::new().await;
    for (url, expected) in
        [("orders", "which is not a URL"), (&*served.url.replace("orders", "oders"), "there is no queue at")]
    {
        let output = served.command().env("REDRIVE_QUEUE_URL", url).stderr(Stdio::piped()).output().await.unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && error.contains(expected), "{error}");
    }
}

#[tokio::test]
async fn probes_are_answered_at_the_address_of_the_environment() {
    let served = Served::new().await;
    let mut orders = served.command().env("REDRIVE_HEALTH_PORT", "0").spawn().unwrap();
    let line = until_logged(&mut orders, "answering probes").await;
    let port: u16 =
        line.split("]:").nth(1).unwrap().split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap();
    // The port accepts IPv4 connections too.
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.write_all(b"GET /livez HTTP/1.0\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.contains("200 OK") && answer.contains("alive"), "{answer}");
}

#[tokio::test]
async fn unusable_health_port_is_one_error() {
    let served = Served::new().await;
    let taken = TcpListener::bind("[::]:0").await.unwrap();
    let taken = taken.local_addr().unwrap().port().to_string();
    for (port, expected) in [("http", "which is not a port"), (&taken, "take another port")] {
        let mut command = served.command();
        let output = command.env("REDRIVE_HEALTH_PORT", port).stderr(Stdio::piped()).output().await.unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && error.contains(expected), "{error}");
    }
}
