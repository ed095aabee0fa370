//! Tests credentials that are not ready yet or no longer available.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::future;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::{Credentials, IdentityCache, ProvideCredentials};
use redrive::Body;
use tokio::net::TcpListener;
use tokio::time::sleep;

use crate::health::Port;
use crate::kit::{Queue, Running, secs, timed};
use crate::log;

async fn nothing(_: Body) {}

/// The answer of a provider.
#[derive(Clone, Copy, Debug)]
enum Answer {
    Credentials,
    /// Credentials, after this many seconds.
    Slow(u64),
    Hang,
    Fail(fn() -> CredentialsError),
}

/// A provider with an answer that a test can change.
#[derive(Clone, Debug)]
struct Provider {
    answer: Arc<Mutex<Answer>>,
    asked: Arc<AtomicUsize>,
}

impl Provider {
    fn new(answer: Answer) -> Self {
        Self { answer: Arc::new(Mutex::new(answer)), asked: Arc::default() }
    }

    fn answers(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// Returns a client of that queue that asks this provider before each call.
    fn client_of(&self, queue: &Queue) -> Client {
        let config = queue.client.config().to_builder().credentials_provider(self.clone());
        Client::from_conf(config.identity_cache(IdentityCache::no_cache()).build())
    }
}

impl ProvideCredentials for Provider {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let answer = *self.answer.lock().unwrap();
        future::ProvideCredentials::new(async move {
            match answer {
                Answer::Credentials => {}
                Answer::Slow(seconds) => sleep(secs(seconds)).await,
                Answer::Hang => std::future::pending().await,
                Answer::Fail(error) => return Err(error()),
            }
            Ok(Credentials::for_tests())
        })
    }
}

const NOT_READY: [Answer; 4] = [
    Answer::Fail(|| CredentialsError::provider_timed_out(Duration::from_secs(5))),
    Answer::Fail(|| CredentialsError::provider_error("STS: Throttling: Rate exceeded")),
    Answer::Fail(|| CredentialsError::unhandled("not what a provider says")),
    Answer::Hang,
];

#[tokio::test(start_paused = true)]
async fn the_worker_waits_for_credentials_that_are_not_ready() {
    for not_ready in NOT_READY {
        let (queue, provider) = (Queue::standard().await, Provider::new(not_ready));
        let worker = redrive::handler(nothing).worker(provider.client_of(&queue), &queue.url);
        let worker = Running::begin(worker);
        sleep(secs(3_600)).await;
        assert!((60..20_000).contains(&provider.asked()), "{not_ready:?}: asked {} times", provider.asked());
        provider.answers(Answer::Credentials);
        queue.send("an order").await;
        let ((), took) = timed(queue.drained()).await;
        assert!(took < secs(60), "{not_ready:?}: {took:?}");
        worker.end().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn unconfigured_credentials_end_the_worker_at_once() {
    let none = Answer::Fail(CredentialsError::not_loaded_no_source);
    let wrong = Answer::Fail(|| CredentialsError::invalid_configuration("a profile that names itself"));
    for answer in [none, wrong] {
        let (queue, provider) = (Queue::standard().await, Provider::new(answer));
        let worker = redrive::handler(nothing).worker(provider.client_of(&queue), &queue.url);
        let (result, took) = timed(worker.run_until(std::future::pending())).await;
        let error = result.unwrap_err().to_string();
        assert!(error.contains("cannot be called") && error.contains("that there are credentials"), "{error}");
        assert_eq!((provider.asked(), took), (1, Duration::ZERO));
    }
}

#[tokio::test(start_paused = true)]
async fn the_worker_waits_for_credentials_that_fail_later() {
    for answer in NOT_READY.into_iter().chain([Answer::Fail(CredentialsError::not_loaded_no_source)]) {
        let (queue, provider) = (Queue::standard().await, Provider::new(Answer::Credentials));
        let worker = Running::begin(redrive::handler(nothing).worker(provider.client_of(&queue), &queue.url));
        // The worker has polled once.
        sleep(secs(25)).await;
        provider.answers(answer);
        sleep(secs(600)).await;
        provider.answers(Answer::Credentials);
        queue.send("an order").await;
        queue.drained().await;
        worker.end().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn the_worker_waits_for_a_provider_that_is_slower_than_a_call_timeout() {
    let (queue, provider) = (Queue::standard().await, Provider::new(Answer::Slow(8)));
    // The client has its own cache, as by default.
    let config = queue.client.config().to_builder().credentials_provider(provider.clone());
    let worker = redrive::handler(nothing).worker(Client::from_conf(config.build()), &queue.url);
    let worker = Running::begin(worker);
    queue.send("an order").await;
    let ((), took) = timed(queue.drained()).await;
    assert!(took < secs(12), "{took:?}");
    assert_eq!(provider.asked(), 1, "the provider is asked once for all calls");
    worker.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_ends_a_worker_that_waits_for_credentials_at_once() {
    for not_ready in NOT_READY {
        let (queue, provider) = (Queue::standard().await, Provider::new(not_ready));
        let worker = Running::begin(redrive::handler(nothing).worker(provider.client_of(&queue), &queue.url));
        sleep(secs(100)).await;
        let (result, took) = timed(worker.end()).await;
        assert!(result.is_ok() && took == Duration::ZERO, "{not_ready:?}: {took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_warning_names_the_cause_and_the_time_of_the_next_attempt() {
    let lines = Arc::<Mutex<Vec<String>>>::default();
    let heard = lines.clone();
    let _guard = log::to(move |line| heard.lock().unwrap().push(line.text));
    let (queue, provider) = (Queue::standard().await, Provider::new(NOT_READY[1]));
    let worker = Running::begin(redrive::handler(nothing).worker(provider.client_of(&queue), &queue.url));
    sleep(secs(10)).await;
    // Another test's thread may have cached that no subscriber is interested in this callsite.
    tracing::callsite::rebuild_interest_cache();
    sleep(secs(100)).await;
    worker.end().await.unwrap();
    let lines = lines.lock().unwrap();
    let is_warning = |line: &String| {
        ["WARN", "credentials are not ready", "Rate exceeded", "next_attempt_in_ms="]
            .iter()
            .all(|part| line.contains(part))
    };
    assert!(lines.iter().any(is_warning), "{lines:?}");
}

#[tokio::test]
async fn readyz_is_503_while_the_worker_waits_for_credentials() {
    let (queue, provider) = (Queue::standard().await, Provider::new(NOT_READY[0]));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = Port::of(&listener);
    let worker = redrive::handler(nothing).worker(provider.client_of(&queue), &queue.url);
    let worker = Running::begin(worker.wait_time(Duration::ZERO).health(listener));
    port.until("/readyz", (503, "failing: the last call to the queue failed")).await;
    port.until("/livez", (200, "alive")).await;
    provider.answers(Answer::Credentials);
    port.until("/readyz", (200, "polling")).await;
    worker.end().await.unwrap();
}
