//! Tests that calls go to the region that a queue's URL names.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region};
use redrive::{Body, Effects, Outcome};

use crate::kit::{Queue, Running};
use crate::wire::through;

/// The host of each call and its signing region.
type Seen = Arc<Mutex<BTreeSet<(String, String)>>>;

/// Returns a client of the in-process queue, configured for us-east-1 without an endpoint, like a client from the
/// environment.
fn client_of(queue: &Queue, endpoint: Option<&str>) -> (Client, Seen) {
    let mut config = aws_sdk_sqs::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static("us-east-1"))
        .credentials_provider(Credentials::for_tests())
        .http_client(queue.client.config().http_client().unwrap());
    config.set_endpoint_url(endpoint.map(str::to_owned));
    let seen = Seen::default();
    let noted = seen.clone();
    let client = through(&Client::from_conf(config.build()), move |call| {
        let authorization = call.request.headers().get("authorization").unwrap().to_owned();
        let host = call.request.uri().split("://").nth(1).unwrap().split('/').next().unwrap().to_owned();
        noted.lock().unwrap().insert((host, authorization.split('/').nth(2).unwrap().to_owned()));
        call.pass()
    });
    (client, seen)
}

/// Returns the URL of the in-process queue with a host of AWS.
fn url_at(host: &str, queue: &Queue) -> String {
    format!("https://{host}/{}", queue.url.split_once("://").unwrap().1.split_once('/').unwrap().1)
}

fn all_at(host: &str, region: &str) -> BTreeSet<(String, String)> {
    BTreeSet::from([(host.to_owned(), region.to_owned())])
}

#[tokio::test(start_paused = true)]
async fn a_worker_calls_the_region_of_its_queues_url() {
    for host in [
        "sqs.eu-west-1.amazonaws.com",
        "eu-west-1.queue.amazonaws.com",
        "sqs-fips.eu-west-1.amazonaws.com",
        "sqs.eu-west-1.api.aws",
        "vpce-0a1-b2.sqs.eu-west-1.vpce.amazonaws.com",
    ] {
        let queue = Queue::with_messages(1).await;
        let (client, seen) = client_of(&queue, None);
        let worker = redrive::handler(|_: Body| async {}).worker(client, url_at(host, &queue));
        let worker = Running::begin(worker);
        queue.drained().await;
        worker.end().await.unwrap();
        assert_eq!(*seen.lock().unwrap(), all_at("sqs.eu-west-1.amazonaws.com", "eu-west-1"), "{host}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_is_set_on_the_client_stays() {
    let queue = Queue::with_messages(1).await;
    let (client, seen) = client_of(&queue, Some("http://localhost:4566"));
    let worker = Running::begin(redrive::handler(|_: Body| async {}).worker(client, &queue.url));
    queue.drained().await;
    worker.end().await.unwrap();
    assert_eq!(*seen.lock().unwrap(), all_at("localhost:4566", "us-east-1"));
}

#[tokio::test(start_paused = true)]
async fn effects_call_the_regions_of_the_arn_and_of_the_dead_letter_queues_url() {
    let (queue, dead) = Queue::with_dead_letters("orders", 5).await;
    queue.send("an order").await;
    let (client, seen) = client_of(&queue, None);
    let effects = Effects::with_client(client).dead_letter_queue(url_at("sqs.eu-west-1.amazonaws.com", &dead));
    let place = |_: Body| async { Outcome::DeadLetter("no order".into()) };
    let worker = queue.run(redrive::handler(place).effects(effects));
    queue.drained().await;
    worker.end().await.unwrap();
    assert_eq!(dead.counts().await, (1, 0));
    assert!(seen.lock().unwrap().is_superset(&all_at("sqs.eu-west-1.amazonaws.com", "eu-west-1")));
}

#[cfg(feature = "producer")]
#[tokio::test(start_paused = true)]
async fn a_producer_calls_the_region_of_its_queues_url() {
    let queue = Queue::standard().await;
    let (client, seen) = client_of(&queue, None);
    let producer = redrive::Producer::new(client, url_at("sqs.eu-west-1.amazonaws.com", &queue));
    producer.send(redrive::Outgoing::text("an order")).await.unwrap();
    producer.close().await;
    assert_eq!(queue.counts().await, (1, 0));
    assert_eq!(*seen.lock().unwrap(), all_at("sqs.eu-west-1.amazonaws.com", "eu-west-1"));
}
