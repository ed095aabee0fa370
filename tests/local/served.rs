//! The queue behind a socket.

use std::net::SocketAddr;
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::retry::RetryConfig;
use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region};
use redrive::local::{Faults, Sqs};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::kit::Queue;

struct Served {
    sqs: Sqs,
    address: SocketAddr,
    shutdown: oneshot::Sender<()>,
    server: JoinHandle<std::io::Result<()>>,
}

async fn serve() -> Served {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (shutdown, is_over) = oneshot::channel::<()>();
    let sqs = Sqs::new();
    let server = tokio::spawn(sqs.clone().serve(listener, async move { drop(is_over.await) }));
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

    /// Sends bytes as they are, and reads until the connection is closed.
    async fn raw(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    async fn call(&self, operation: &str, body: &str) -> String {
        let length = body.len();
        let target = format!("X-Amz-Target: AmazonSQS.{operation}\r\n");
        let head =
            format!("POST / HTTP/1.1\r\nHost: queue.example:1\r\nConnection: close\r\nContent-Length: {length}\r\n");
        self.raw(&format!("{head}{target}\r\n{body}")).await
    }
}

#[tokio::test]
async fn the_sdk_drives_it_over_http() {
    let served = serve().await;
    let queue = Queue::new(&served.client(), "orders", &[]).await;
    assert!(queue.url.starts_with(&format!("http://{}/", served.address)), "{}", queue.url);
    queue.send("hello").await;
    let received = queue.receive().await;
    queue.delete(&received[0]).await;
    assert_eq!(queue.counts().await, ["0", "0", "0"]);
    // In process it is the same queue.
    let inside = served.sqs.client().get_queue_url().queue_name("orders").send().await.unwrap();
    assert!(inside.queue_url().is_some());
    served.shutdown.send(()).unwrap();
    served.server.await.unwrap().unwrap();
}

#[tokio::test]
async fn errors_have_their_names_of_both_protocols() {
    let served = serve().await;
    let answer = served.call("GetQueueUrl", r#"{"QueueName": "none"}"#).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(answer.contains("x-amzn-query-error: AWS.SimpleQueueService.NonExistentQueue;Sender"), "{answer}");
    assert!(answer.contains(r#""__type":"com.amazonaws.sqs#QueueDoesNotExist""#), "{answer}");
}

#[tokio::test]
async fn a_queue_has_the_host_that_its_caller_knows() {
    let served = serve().await;
    let answer = served.call("CreateQueue", r#"{"QueueName": "orders"}"#).await;
    assert!(answer.ends_with(r#"{"QueueUrl":"http://queue.example:1/000000000000/orders"}"#), "{answer}");
}

#[tokio::test]
async fn what_is_null_is_absent() {
    let served = serve().await;
    Queue::new(&served.client(), "orders", &[]).await;
    let nulls = r#"{"QueueUrl": "x/orders", "AttributeNames": null, "MaxNumberOfMessages": null}"#;
    let answer = served.call("ReceiveMessage", nulls).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("{}"), "{answer}");
}

#[tokio::test]
async fn what_is_no_call_is_refused_and_said_so() {
    let served = serve().await;
    let cases = [
        (served.call("GetQueueUrl", "{").await, "SerializationException"),
        (served.call("GetQueueUrl", r#"{"QueueName": 5}"#).await, "SerializationException"),
        (served.call("GetQueueUrl", "").await, "QueueName"),
        (served.call("SendSmoke", "{}").await, "SendSmoke"),
        (served.raw("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await, "JSON protocol"),
    ];
    for (answer, expected) in cases {
        assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains(expected), "{expected}: {answer}");
    }
}

#[tokio::test]
async fn a_batch_that_is_far_too_long_has_the_error_of_one_that_is_too_long() {
    let served = serve().await;
    let queue = Queue::new(&served.client(), "orders", &[]).await;
    // Each byte is six on the wire: no batch of ten messages that may be sent singly is longer.
    let body = "\\u0009".repeat(1 << 20);
    let entries = (0..10).map(|id| format!(r#"{{"Id": "{id}", "MessageBody": "{body}"}}"#)).collect::<Vec<_>>();
    let batch = format!(r#"{{"QueueUrl": "{}", "Entries": [{}]}}"#, queue.url, entries.join(","));
    let answer = served.call("SendMessageBatch", &batch).await;
    assert!(answer.contains("AWS.SimpleQueueService.BatchRequestTooLong"), "{answer}");
}

#[tokio::test]
async fn a_lost_answer_is_a_broken_connection() {
    let served = serve().await;
    let queue = Queue::new(&served.client(), "orders", &[]).await;
    served.sqs.set_faults(Faults::none().lost_answers(1.0));
    let sent = queue.client.send_message().queue_url(&queue.url).message_body("x").send().await;
    assert!(sent.unwrap_err().as_service_error().is_none());
    served.sqs.set_faults(Faults::none());
    assert_eq!(queue.counts().await[0], "1");
}

#[tokio::test]
async fn a_caller_that_hangs_up_takes_no_message_with_it() {
    let served = serve().await;
    let queue = Queue::new(&served.client(), "orders", &[]).await;
    let poll = queue.client.receive_message().queue_url(&queue.url).wait_time_seconds(20).send();
    // The poll arrives within that time, and hangs up: nothing of this is on a paused clock, as there is a socket.
    assert!(tokio::time::timeout(Duration::from_millis(200), poll).await.is_err());
    queue.send("hello").await;
    assert_eq!(queue.receive_for(Duration::from_secs(5)).await.len(), 1);
}
