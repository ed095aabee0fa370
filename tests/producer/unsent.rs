//! Calls that fail before their request leaves the process.

use std::time::Duration;

use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::future;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::timeout::TimeoutConfig;
use aws_sdk_sqs::config::{Credentials, ProvideCredentials};
use redrive::{Outgoing, Producer};
use tokio::time::{Instant, sleep};

use crate::kit::{Queue, secs, timed};

/// A credentials provider that is ready at some time, and until then fails or hangs.
#[derive(Debug)]
struct Late {
    ready: Instant,
    until_then: UntilThen,
}

#[derive(Clone, Copy, Debug)]
enum UntilThen {
    Fails,
    Hangs,
    HasNone,
}

impl ProvideCredentials for Late {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async {
            if Instant::now() < self.ready {
                match self.until_then {
                    UntilThen::Fails => return Err(CredentialsError::provider_error("503 from STS")),
                    UntilThen::HasNone => return Err(CredentialsError::not_loaded_no_source()),
                    UntilThen::Hangs => sleep(secs(10_000)).await,
                }
            }
            Ok(Credentials::new("a", "b", None, None, "tests"))
        })
    }
}

const ALL: [UntilThen; 3] = [UntilThen::Fails, UntilThen::Hangs, UntilThen::HasNone];

fn client(queue: &Queue, until_then: UntilThen, ready_after: Duration, attempt_timeout: Duration) -> Client {
    let timeouts = TimeoutConfig::builder().operation_attempt_timeout(attempt_timeout).build();
    let late = Late { ready: Instant::now() + ready_after, until_then };
    let config = queue.client().config().to_builder().credentials_provider(late).timeout_config(timeouts);
    Client::from_conf(config.build())
}

#[tokio::test(start_paused = true)]
async fn message_without_credentials_is_known_to_be_unsent() {
    for until_then in ALL {
        // One timeout is shorter than the SDK's wait for credentials, the other is longer.
        for attempt_timeout in [secs(2), secs(10)] {
            let queue = Queue::new("orders", 1).await;
            let producer = Producer::new(client(&queue, until_then, secs(10_000), attempt_timeout), &queue.url);
            let (result, took) = timed(producer.send(Outgoing::text("x"))).await;
            let error = result.unwrap_err();
            assert!(!error.is_unknown() && error.is_retryable(), "{until_then:?}: {error}");
            assert!(took <= secs(70), "{took:?}");
            assert_eq!(queue.calls.total(), 0);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn error_names_the_credentials_problem() {
    let queue = Queue::new("orders", 1).await;
    let producer = Producer::new(client(&queue, UntilThen::Fails, secs(10_000), secs(10)), &queue.url);
    let error = producer.send(Outgoing::text("x")).await.unwrap_err();
    assert!(error.to_string().contains("503 from STS"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn late_credentials_are_awaited() {
    for until_then in ALL {
        let queue = Queue::new("orders.fifo", 1).await;
        let producer = Producer::new(client(&queue, until_then, secs(20), secs(10)), &queue.url);
        producer.send(Outgoing::text("x").group("g")).await.unwrap();
        assert_eq!(queue.bodies().await, ["x"]);
    }
}

#[tokio::test]
async fn message_without_a_connection_is_known_to_be_unsent() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    // This server accepts a connection and closes it before TLS is agreed.
    let ends = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = ends.local_addr().unwrap();
    std::thread::spawn(move || ends.incoming().for_each(drop));
    for endpoint in [format!("http://{free}"), format!("https://{address}"), "http://queue.invalid".to_owned()] {
        let config = aws_sdk_sqs::Config::builder()
            .behavior_version_latest()
            .region(aws_sdk_sqs::config::Region::from_static("eu-west-1"))
            .credentials_provider(Credentials::new("a", "b", None, None, "tests"))
            .endpoint_url(&endpoint);
        let producer = Producer::builder(Client::from_conf(config.build()), format!("{endpoint}/1/orders"));
        let error = producer.retry_for(Duration::ZERO).build().send(Outgoing::text("x")).await.unwrap_err();
        assert!(!error.is_unknown() && error.is_retryable(), "{endpoint}: {error}");
    }
}
