//! `redrive::run` as a process: it is a worker where `REDRIVE_QUEUE_URL` says so, and ends as an orchestrator wants it to.
//!
//! What is real here, a process and its signals, keeps a test waiting: nothing of it is on the paused clock.

use std::io::{Read, Write};
use std::process::Stdio;
use std::time::Duration;

use aws_sdk_sqs::types::QueueAttributeName as Name;
use redrive_local::Sqs;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

/// Signals of `kill`, by number.
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

    /// How many messages are visible, and how many in flight.
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

/// Waits for a line of the log with these words.
async fn until_it_says(child: &mut Child, words: &str) -> String {
    let mut lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
    let said = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            if line.contains(words) {
                return line;
            }
        }
        panic!("it has ended, and never said {words:?}");
    };
    tokio::time::timeout(Duration::from_secs(30), said).await.expect("it does not say so")
}

pub(crate) async fn signal(child: &Child, signal: &str) {
    let id = child.id().expect("it runs").to_string();
    assert!(Command::new("kill").args([signal, &id]).status().await.unwrap().success());
}

/// The body of one.
pub(crate) fn order(number: usize) -> String {
    let items = r#"[{"sku":"s","quantity":1,"unit_price_cents":5}]"#;
    format!(r#"{{"order_id":"{number}","customer":"c","currency":"EUR","items":{items}}}"#)
}

#[tokio::test]
async fn it_polls_the_queue_of_the_environment_and_ends_at_a_signal() {
    for asked in [TERM, INT] {
        let served = Served::new().await;
        served.send(&order(1)).await;
        let mut orders = served.command().spawn().unwrap();
        until_it_says(&mut orders, "order placed").await;
        signal(&orders, asked).await;
        until_it_says(&mut orders, "asked to end").await;
        // The poll under way has 20 s to bring something: this is it.
        served.send(&order(2)).await;
        until_it_says(&mut orders, "order placed").await;
        assert!(orders.wait().await.unwrap().success());
        assert_eq!(served.counts().await, (0, 0), "both are deleted");
    }
}

#[tokio::test]
async fn a_second_signal_ends_it_now() {
    let served = Served::new().await;
    served.send(&order(1)).await;
    let mut orders = served.command().spawn().unwrap();
    until_it_says(&mut orders, "order placed").await;
    signal(&orders, TERM).await;
    until_it_says(&mut orders, "asked to end").await;
    signal(&orders, TERM).await;
    let status = tokio::time::timeout(Duration::from_secs(10), orders.wait()).await.expect("a poll takes longer");
    assert_eq!(status.unwrap().code(), Some(1));
}

/// As much as a pipe holds that nobody reads.
const PIPE_BYTES: usize = 64 * 1024;

#[tokio::test]
async fn a_standard_output_that_nobody_reads_costs_no_message() {
    const ORDERS: usize = 300;
    let served = Served::new().await;
    let (mut unread, mut output) = std::io::pipe().unwrap();
    // It is full before the worker begins.
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
    tokio::time::timeout(Duration::from_secs(60), drained).await.expect("it waits for its log");
    signal(&orders, TERM).await;
    // Its last poll may take 20 s, and its log is not waited for.
    let status = tokio::time::timeout(Duration::from_secs(40), orders.wait()).await.expect("it waits for its log");
    assert!(status.unwrap().success());
    let mut written = Vec::new();
    unread.read_to_end(&mut written).unwrap();
    assert_eq!(written.len(), PIPE_BYTES, "nothing of it went out");
}

#[tokio::test]
async fn a_worker_that_ends_leaves_no_line_of_its_log_unwritten() {
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
    assert_eq!(served.counts().await, (ORDERS - placed, 0), "the log says of each that is deleted");
}

#[tokio::test]
async fn without_a_queue_that_is_one_it_says_what_is_wrong() {
    let served = Served::new().await;
    for (url, expected) in
        [("orders", "which is no URL"), (&*served.url.replace("orders", "oders"), "there is no queue at")]
    {
        let output = served.command().env("REDRIVE_QUEUE_URL", url).stderr(Stdio::piped()).output().await.unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && error.contains(expected), "{error}");
    }
}

#[tokio::test]
async fn it_answers_probes_where_the_environment_says() {
    let served = Served::new().await;
    let mut orders = served.command().env("REDRIVE_HEALTH_PORT", "0").spawn().unwrap();
    let line = until_it_says(&mut orders, "answering probes").await;
    let port: u16 =
        line.split("]:").nth(1).unwrap().split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap();
    // It listens on IPv4 too.
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.write_all(b"GET /livez HTTP/1.0\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.contains("200 OK") && answer.contains("alive"), "{answer}");
}

#[tokio::test]
async fn a_health_port_that_cannot_be_is_one_error() {
    let served = Served::new().await;
    let taken = TcpListener::bind("[::]:0").await.unwrap();
    let taken = taken.local_addr().unwrap().port().to_string();
    for (port, expected) in [("http", "which is no port"), (&taken, "take another port")] {
        let mut command = served.command();
        let output = command.env("REDRIVE_HEALTH_PORT", port).stderr(Stdio::piped()).output().await.unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && error.contains(expected), "{error}");
    }
}
