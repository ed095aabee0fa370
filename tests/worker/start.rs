//! Tests which failures stop a worker at startup and which it waits for.

use std::sync::{Arc, Mutex};

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region};
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use redrive::{Body, Error};
use redrive_local::Faults;
use serde_json::json;
use tokio::time::sleep;

use crate::kit::{Queue, Running, secs};

async fn nothing(_: Body) {}

#[tokio::test(start_paused = true)]
async fn a_missing_queue_is_an_error_at_startup() {
    let queue = Queue::standard().await;
    let worker = redrive::handler(nothing).worker(queue.client.clone(), queue.url.replace("orders", "oders"));
    let error = worker.run_until(std::future::pending()).await.unwrap_err();
    assert!(error.is_queue_unavailable());
    let error = error.to_string();
    assert!(
        error.contains("there is no queue at") && error.contains("oders") && error.contains("check the URL"),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn the_worker_waits_for_a_network_that_is_not_ready() {
    let queue = Queue::standard().await;
    queue.sqs.set_faults(Faults::none().lost_requests(1.0));
    let worker = queue.run(redrive::handler(nothing));
    sleep(secs(300)).await;
    queue.sqs.set_faults(Faults::none());
    queue.send("an order").await;
    queue.drained().await;
    worker.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_worker_waits_for_a_queue_that_is_deleted_later() {
    let queue = Queue::standard().await;
    let worker = queue.run(redrive::handler(nothing));
    // The worker has polled once.
    sleep(secs(25)).await;
    queue.sqs.client().delete_queue().queue_url(&queue.url).send().await.unwrap();
    sleep(secs(100)).await;
    queue.sqs.client().create_queue().queue_name("orders").send().await.unwrap();
    queue.send("an order").await;
    queue.drained().await;
    worker.end().await.unwrap();
}

/// A service that refuses one operation, and answers the others like SQS for an empty queue.
struct Refusing {
    operation: &'static str,
    code: &'static str,
    asked: Mutex<Vec<String>>,
}

async fn answer(State(refusing): State<Arc<Refusing>>, headers: HeaderMap) -> (StatusCode, HeaderMap, String) {
    let operation = headers["x-amz-target"].to_str().unwrap().trim_start_matches("AmazonSQS.").to_owned();
    refusing.asked.lock().unwrap().push(operation.clone());
    if operation == refusing.operation {
        let mut headers = HeaderMap::new();
        headers.insert("x-amzn-query-error", format!("{};Sender", refusing.code).parse().unwrap());
        let error = json!({"__type": format!("com.amazonaws.sqs#{}", refusing.code), "message": "you may not do this"});
        return (StatusCode::FORBIDDEN, headers, error.to_string());
    }
    let failed = json!({"Failed": [{"Id": "0", "Code": "ReceiptHandleIsInvalid", "SenderFault": true}]});
    let answer = match operation.as_str() {
        "GetQueueAttributes" => {
            json!({"Attributes": {"QueueArn": "arn:aws:sqs:eu-west-1:123456789012:orders", "VisibilityTimeout": "30"}})
        }
        "ReceiveMessage" => json!({}),
        _ => failed,
    };
    (StatusCode::OK, HeaderMap::new(), answer.to_string())
}

/// Returns the error of a worker that is refused this operation.
async fn refused(operation: &'static str, code: &'static str) -> Error {
    let refusing = Arc::new(Refusing { operation, code, asked: Mutex::default() });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let service = Router::new().fallback(answer).with_state(refusing.clone());
    let service = tokio::spawn(async { axum::serve(listener, service).await });
    let config = aws_sdk_sqs::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-west-1"))
        .credentials_provider(Credentials::for_tests())
        .endpoint_url(&endpoint);
    let client = Client::from_conf(config.build());
    let worker = redrive::handler(nothing).worker(client, format!("{endpoint}/123456789012/orders"));
    let error = worker.run_until(std::future::pending()).await.unwrap_err();
    service.abort();
    assert!(refusing.asked.lock().unwrap().contains(&operation.to_owned()));
    error
}

#[tokio::test]
async fn a_missing_permission_is_an_error_that_names_the_action() {
    for (operation, action) in [
        ("GetQueueAttributes", "sqs:GetQueueAttributes"),
        ("ReceiveMessage", "sqs:ReceiveMessage"),
        ("DeleteMessageBatch", "sqs:DeleteMessage"),
        ("ChangeMessageVisibilityBatch", "sqs:ChangeMessageVisibility"),
    ] {
        let error = refused(operation, "AccessDeniedException").await;
        assert!(error.is_queue_unavailable());
        let error = error.to_string();
        assert!(error.contains(&format!("{action} on ")) && error.contains("not allowed"), "{error}");
        assert!(!error.contains("Batch on"), "there are no batch actions in IAM: {error}");
    }
}

#[tokio::test]
async fn rejected_credentials_are_an_error_at_startup() {
    let error = refused("GetQueueAttributes", "UnrecognizedClientException").await.to_string();
    assert!(error.contains("the credentials are not accepted (UnrecognizedClientException)"), "{error}");
}

#[tokio::test]
async fn missing_credentials_or_a_missing_region_are_an_error_at_startup() {
    let bare = aws_sdk_sqs::Config::builder().behavior_version(BehaviorVersion::latest());
    for config in [bare.clone().region(Region::new("eu-west-1")), bare.credentials_provider(Credentials::for_tests())] {
        let client = Client::from_conf(config.build());
        // A queue URL of AWS would name the region.
        let worker = redrive::handler(nothing).worker(client, "https://sqs.example.com/123456789012/orders");
        let error = worker.run_until(std::future::pending()).await.unwrap_err().to_string();
        assert!(error.contains("cannot be called") && error.contains("AWS_REGION"), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_visibility_timeout_out_of_range_is_clamped() {
    let queue = Queue::standard().await;
    let worker = queue.worker(redrive::handler(|_: Body| sleep(secs(60)))).visibility_timeout(secs(0));
    let worker = Running::begin(worker);
    queue.send("an order").await;
    queue.drained().await;
    worker.end().await.unwrap();
}
