//! Tests the queue behind a socket.

use std::net::SocketAddr;
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::retry::RetryConfig;
use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_sqs::error::ProvideErrorMetadata;
use redrive_local::{Callers, Faults, Sqs};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::kit::{Queue, attribute};

struct Served {
    sqs: Sqs,
    address: SocketAddr,
    shutdown: oneshot::Sender<()>,
    server: JoinHandle<std::io::Result<()>>,
}

async fn serve() -> Served {
    serve_to(Callers::new()).await
}

async fn serve_to(callers: Callers) -> Served {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (shutdown, is_over) = oneshot::channel::<()>();
    let sqs = Sqs::new();
    let server = tokio::spawn(sqs.clone().serve_to(callers, listener, async move { drop(is_over.await) }));
    Served { sqs, address, shutdown, server }
}

impl Served {
    fn client(&self) -> Client {
        let config = aws_sdk_sqs::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-west-1"))
            .credentials_provider(Credentials::new("x", "x", None, None, "test"))
            .retry_config(RetryConfig::disabled())
            .endpoint_url(format!("http://{}", self.address));
        Client::from_conf(config.build())
    }

    /// Sends bytes unchanged and reads until the connection closes.
    async fn raw(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    async fn call(&self, operation: &str, body: &str) -> String {
        self.call_with("Host: localhost\r\n", operation, body).await
    }

    /// Makes a call with these additional header lines.
    async fn call_with(&self, lines: &str, operation: &str, body: &str) -> String {
        let length = body.len();
        let head = format!("POST / HTTP/1.1\r\n{lines}Connection: close\r\nContent-Length: {length}\r\n");
        self.raw(&format!("{head}X-Amz-Target: AmazonSQS.{operation}\r\n\r\n{body}")).await
    }
}

#[tokio::test]
async fn sdk_works_over_http() {
    let served = serve().await;
    let queue = Queue::new(&served.client(), "orders", &[]).await;
    assert!(queue.url.starts_with(&format!("http://{}/", served.address)), "{}", queue.url);
    queue.send("hello").await;
    let received = queue.receive().await;
    queue.delete(&received[0]).await;
    assert_eq!(queue.counts().await, ["0", "0", "0"]);
    // The client in this process sees the same queue.
    let inside = served.sqs.client().get_queue_url().queue_name("orders").send().await.unwrap();
    assert!(inside.queue_url().is_some());
    served.shutdown.send(()).unwrap();
    served.server.await.unwrap().unwrap();
}

#[tokio::test]
async fn errors_have_the_names_of_both_protocols() {
    let served = serve().await;
    let answer = served.call("GetQueueUrl", r#"{"QueueName": "none"}"#).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(answer.contains("x-amzn-query-error: AWS.SimpleQueueService.NonExistentQueue;Sender"), "{answer}");
    assert!(answer.contains(r#""__type":"com.amazonaws.sqs#QueueDoesNotExist""#), "{answer}");
}

#[tokio::test]
async fn queue_url_contains_the_host_of_the_call() {
    let served = serve_to(Callers::new().allow_host("queue.example").unwrap()).await;
    let answer = served.call_with("Host: queue.example:1\r\n", "CreateQueue", r#"{"QueueName": "orders"}"#).await;
    assert!(answer.ends_with(r#"{"QueueUrl":"http://queue.example:1/000000000000/orders"}"#), "{answer}");
}

#[tokio::test]
async fn null_value_counts_as_absent() {
    let served = serve().await;
    Queue::new(&served.client(), "orders", &[]).await;
    let nulls = r#"{"QueueUrl": "x/orders", "AttributeNames": null, "MaxNumberOfMessages": null}"#;
    let answer = served.call("ReceiveMessage", nulls).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("{}"), "{answer}");
}

#[tokio::test]
async fn malformed_calls_are_refused_with_a_reason() {
    let served = serve().await;
    let cases = [
        (served.call("GetQueueUrl", "{").await, "SerializationException"),
        (served.call("GetQueueUrl", r#"{"QueueName": 5}"#).await, "SerializationException"),
        (served.call("GetQueueUrl", "").await, "QueueName"),
        (served.call("SendSmoke", "{}").await, "SendSmoke"),
        (served.raw("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await, "no call"),
    ];
    for (answer, expected) in cases {
        assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains(expected), "{expected}: {answer}");
    }
}

#[tokio::test]
async fn batch_far_over_the_limit_has_the_error_of_a_batch_over_the_limit() {
    let served = serve().await;
    let queue = Queue::new(&served.client(), "orders", &[]).await;
    // Each byte has six characters on the wire. No batch of ten valid messages is longer.
    let body = "\\u0009".repeat(1 << 20);
    let entries = (0..10).map(|id| format!(r#"{{"Id": "{id}", "MessageBody": "{body}"}}"#)).collect::<Vec<_>>();
    let batch = format!(r#"{{"QueueUrl": "{}", "Entries": [{}]}}"#, queue.url, entries.join(","));
    let answer = served.call("SendMessageBatch", &batch).await;
    assert!(answer.contains("AWS.SimpleQueueService.BatchRequestTooLong"), "{answer}");
}

#[tokio::test]
async fn lost_answer_breaks_the_connection() {
    let served = serve().await;
    let queue = Queue::new(&served.client(), "orders", &[]).await;
    served.sqs.set_faults(Faults::none().lost_answers(1.0));
    let sent = queue.client.send_message().queue_url(&queue.url).message_body("x").send().await;
    assert!(sent.unwrap_err().as_service_error().is_none());
    served.sqs.set_faults(Faults::none());
    assert_eq!(queue.counts().await[0], "1");
}

#[tokio::test]
async fn poll_of_a_disconnected_caller_takes_no_message() {
    let served = serve().await;
    let queue = Queue::new(&served.client(), "orders", &[]).await;
    let poll = queue.client.receive_message().queue_url(&queue.url).wait_time_seconds(20).send();
    // The poll arrives within this time and disconnects. The clock is real, because a socket is involved.
    assert!(tokio::time::timeout(Duration::from_millis(200), poll).await.is_err());
    queue.send("hello").await;
    assert_eq!(queue.receive_for(Duration::from_secs(5)).await.len(), 1);
}

const LIST: (&str, &str) = ("ListQueues", "{}");

#[tokio::test]
async fn call_under_an_unknown_host_is_403_with_a_remedy() {
    let served = serve().await;
    for host in
        ["evil.example", "evil.example:9324", "localhost.evil.example", "0.0.0.0", "192.168.0.1:9324", "a@localhost"]
    {
        let answer = served.call_with(&format!("Host: {host}\r\n"), LIST.0, LIST.1).await;
        assert!(answer.starts_with("HTTP/1.1 403 "), "{host}: {answer}");
        assert!(answer.contains("x-amzn-query-error: AccessDenied;Sender"), "{host}: {answer}");
        assert!(answer.contains(&format!("--allow-host {host} ")), "{host}: {answer}");
    }
    for host in ["localhost", "LOCALHOST:1", "sqs.localhost:9324", "127.0.0.1", "127.9.9.9:1", "[::1]:9324"] {
        let answer = served.call_with(&format!("Host: {host}\r\n"), LIST.0, LIST.1).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{host}: {answer}");
    }
}

#[tokio::test]
async fn call_with_a_missing_repeated_or_foreign_host_is_refused() {
    let served = serve().await;
    let none = served.call_with("", LIST.0, LIST.1).await;
    assert!(none.starts_with("HTTP/1.1 400 ") && none.contains("Host header"), "{none}");
    let two = served.call_with("Host: localhost\r\nHost: localhost\r\n", LIST.0, LIST.1).await;
    assert!(two.starts_with("HTTP/1.1 400 "), "{two}");
    let old = served.raw("POST / HTTP/1.0\r\nX-Amz-Target: AmazonSQS.ListQueues\r\n\r\n").await;
    assert!(old.starts_with("HTTP/1.0 400 ") || old.starts_with("HTTP/1.1 400 "), "{old}");
    let absolute = |host: &str| {
        format!(
            "POST http://{host}/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             X-Amz-Target: AmazonSQS.ListQueues\r\nContent-Length: 2\r\n\r\n{{}}"
        )
    };
    let evil = served.raw(&absolute("evil.example")).await;
    assert!(evil.starts_with("HTTP/1.1 403 "), "{evil}");
    let own = served.raw(&absolute("127.0.0.1:9324")).await;
    assert!(own.starts_with("HTTP/1.1 200 "), "{own}");
}

#[tokio::test]
async fn web_page_is_refused_and_changes_nothing() {
    let served = serve().await;
    let queue = Queue::new(&served.client(), "orders", &[]).await;
    let body = r#"{"QueueUrl": "orders", "MessageBody": "from a page"}"#;
    for origin in ["http://evil.example", "null", "https://localhost", &format!("http://{}", served.address), ""] {
        let lines = format!("Host: localhost\r\nOrigin: {origin}\r\n");
        let answer = served.call_with(&lines, "SendMessage", body).await;
        assert!(answer.starts_with("HTTP/1.1 403 ") && answer.contains("--allow-origin"), "{origin}: {answer}");
        assert!(!answer.contains("access-control-allow-origin"), "{origin}: {answer}");
    }
    let lines = "Host: localhost\r\nSec-Fetch-Site: cross-site\r\n";
    let answer = served.call_with(lines, "SendMessage", body).await;
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    let preflight = "OPTIONS / HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\n\
                     Access-Control-Request-Method: POST\r\nConnection: close\r\n\r\n";
    let answer = served.raw(preflight).await;
    assert!(answer.starts_with("HTTP/1.1 403 ") && !answer.contains("access-control"), "{answer}");
    assert_eq!(queue.counts().await[0], "0");
}

#[tokio::test]
async fn page_of_an_allowed_origin_may_call_and_read() {
    let served = serve_to(Callers::new().allow_origin("http://localhost:3000").unwrap()).await;
    let preflight = "OPTIONS / HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost:3000\r\n\
                     Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: x-amz-target\r\n\
                     Connection: close\r\n\r\n";
    let lines = "Host: localhost\r\nOrigin: http://localhost:3000\r\nSec-Fetch-Site: same-site\r\n";
    let answers = [served.raw(preflight).await, served.call_with(lines, LIST.0, LIST.1).await];
    for (answer, status) in answers.iter().zip(["204", "200"]) {
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        assert!(answer.contains("access-control-allow-origin: http://localhost:3000\r\n"), "{answer}");
    }
    assert!(answers[0].contains("access-control-allow-headers: x-amz-target\r\n"), "{}", answers[0]);
    let other = served.call_with("Host: localhost\r\nOrigin: http://localhost:3001\r\n", LIST.0, LIST.1).await;
    assert!(other.starts_with("HTTP/1.1 403 "), "{other}");
}

#[tokio::test]
async fn sdk_shows_the_reason_of_a_refusal() {
    let served = serve().await;
    // An SDK call with a browser's header.
    let client = served.client();
    let sent = client.list_queues().customize().mutate_request(|request| {
        request.headers_mut().insert("origin", "null");
    });
    let error = sent.send().await.unwrap_err();
    assert_eq!(crate::kit::code(&error), "AccessDenied");
    assert!(error.message().unwrap().contains("--allow-origin null"), "{error:?}");
}

#[tokio::test]
async fn message_has_the_trace_of_its_call_unless_it_has_its_own() {
    let served = serve().await;
    let queue = Queue::new(&served.client(), "orders", &[]).await;
    let lines = "Host: localhost\r\nX-Amzn-Trace-Id: Root=1-call\r\n";
    let own = r#""MessageSystemAttributes": {"AWSTraceHeader": {"DataType": "String", "StringValue": "Root=1-own"}}"#;
    served.call_with(lines, "SendMessage", r#"{"QueueUrl": "orders", "MessageBody": "1"}"#).await;
    let with_own = format!(r#"{{"QueueUrl": "orders", "MessageBody": "2", {own}}}"#);
    served.call_with(lines, "SendMessage", &with_own).await;
    served.call("SendMessage", r#"{"QueueUrl": "orders", "MessageBody": "3"}"#).await;
    let received = queue.receive().await;
    let traces: Vec<_> = received.iter().map(|message| attribute(message, "AWSTraceHeader")).collect();
    assert_eq!(traces, [Some("Root=1-call"), Some("Root=1-own"), None]);
}

#[tokio::test]
async fn empty_lists_are_left_out_and_some_refusals_are_403() {
    let served = serve().await;
    let ends = async |operation: &str, body: &str, end: &str| {
        let answer = served.call(operation, body).await;
        assert!(answer.ends_with(end), "{operation}: {answer}");
        answer
    };
    ends("ListQueues", "{}", "\r\n\r\n{}").await;
    Queue::new(&served.client(), "orders", &[]).await;
    let batch =
        |body: &str| format!(r#"{{"QueueUrl": "orders", "Entries": [{{"Id": "a", "MessageBody": "{body}"}}]}}"#);
    assert!(!ends("SendMessageBatch", &batch("x"), "}]}").await.contains("Failed"));
    assert!(!ends("SendMessageBatch", &batch(""), "}]}").await.contains("Successful"));
    let purge = r#"{"QueueUrl": "orders"}"#;
    ends("PurgeQueue", purge, "{}").await;
    let second = served.call("PurgeQueue", purge).await;
    assert!(second.starts_with("HTTP/1.1 403 ") && second.contains("PurgeQueueInProgress"), "{second}");
    let actions = [r#""SendMessage""#; 8].join(",");
    let many = format!(r#"{{"QueueUrl": "orders", "Label": "a", "AWSAccountIds": ["1"], "Actions": [{actions}]}}"#);
    let many = served.call("AddPermission", &many).await;
    assert!(many.starts_with("HTTP/1.1 403 ") && many.contains("OverLimit"), "{many}");
}
