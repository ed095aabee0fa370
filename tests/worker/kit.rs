//! Provides a queue, a worker on it, and short helpers for tests.

use std::future::Future;
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::retry::RetryConfig;
use aws_sdk_sqs::types::{Message, MessageSystemAttributeName, QueueAttributeName as Name};
use redrive::{Consumer, Error, HandlerKind, Worker};
use redrive_local::Sqs;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use crate::calls::Calls;

/// A queue in its own account.
pub(crate) struct Queue {
    pub(crate) sqs: Sqs,
    pub(crate) client: Client,
    pub(crate) url: String,
    pub(crate) calls: Calls,
}

impl Queue {
    /// Creates a queue with these attributes. A name that ends in `.fifo` creates a FIFO queue.
    pub(crate) async fn new(name: &str, attributes: &[(Name, &str)]) -> Self {
        fastrand::seed(1);
        let (sqs, calls) = (Sqs::with_seed(1), Calls::default());
        let client = calls.client_of(&sqs);
        let mut create = sqs.client().create_queue().queue_name(name);
        if name.ends_with(".fifo") {
            create = create.attributes(Name::FifoQueue, "true").attributes(Name::ContentBasedDeduplication, "true");
        }
        for (name, value) in attributes {
            create = create.attributes(name.clone(), *value);
        }
        let url = create.send().await.unwrap().queue_url.unwrap();
        Self { sqs, client, url, calls }
    }

    pub(crate) async fn standard() -> Self {
        Self::new("orders", &[]).await
    }

    /// Creates a standard queue with `count` messages whose bodies are their numbers.
    pub(crate) async fn with_messages(count: usize) -> Self {
        let queue = Self::standard().await;
        for number in 0..count {
            queue.send(number.to_string()).await;
        }
        queue
    }

    pub(crate) async fn fifo() -> Self {
        Self::new("orders.fifo", &[]).await
    }

    /// Creates a queue and its dead-letter queue. SQS moves a message after `max_receive_count` receives.
    pub(crate) async fn with_dead_letters(name: &str, max_receive_count: u32) -> (Self, Self) {
        let dead = Self::new(&name.replace("orders", "orders-dlq"), &[]).await;
        let arn = format!("arn:aws:sqs:us-east-1:000000000000:{}", name.replace("orders", "orders-dlq"));
        let policy = format!(r#"{{"deadLetterTargetArn":"{arn}","maxReceiveCount":{max_receive_count}}}"#);
        let mut create = dead.sqs.client().create_queue().queue_name(name).attributes(Name::RedrivePolicy, policy);
        if name.ends_with(".fifo") {
            create = create.attributes(Name::FifoQueue, "true").attributes(Name::ContentBasedDeduplication, "true");
        }
        let url = create.send().await.unwrap().queue_url.unwrap();
        (Self { sqs: dead.sqs.clone(), client: dead.client.clone(), url, calls: dead.calls.clone() }, dead)
    }

    pub(crate) async fn send(&self, body: impl Into<String>) -> String {
        let send = self.sqs.client().send_message().queue_url(&self.url).message_body(body);
        send.send().await.unwrap().message_id.unwrap()
    }

    /// Sends a message to a standard or a FIFO queue.
    pub(crate) async fn send_any(&self, body: &str) {
        match self.url.ends_with(".fifo") {
            true => self.send_to("g", body).await,
            false => drop(self.send(body).await),
        }
    }

    pub(crate) async fn send_to(&self, group: &str, body: impl Into<String>) {
        let send = self.sqs.client().send_message().queue_url(&self.url).message_body(body);
        send.message_group_id(group).send().await.unwrap();
    }

    /// Returns the numbers of visible messages and of messages in flight.
    pub(crate) async fn counts(&self) -> (usize, usize) {
        let names = [Name::ApproximateNumberOfMessages, Name::ApproximateNumberOfMessagesNotVisible];
        // Injected faults affect this call too: more attempts in a row fail than the SDK makes.
        let patient =
            aws_sdk_sqs::config::Config::builder().retry_config(RetryConfig::standard().with_max_attempts(20));
        let get = self.sqs.client().get_queue_attributes().queue_url(&self.url);
        let get = get.set_attribute_names(Some(names.to_vec())).customize().config_override(patient);
        let attributes = get.send().await.unwrap().attributes.unwrap();
        let count = |name| attributes[name].parse().unwrap();
        (count(&names[0]), count(&names[1]))
    }

    /// Waits until the queue is empty.
    pub(crate) async fn drained(&self) {
        let begin = Instant::now();
        while self.counts().await != (0, 0) {
            assert!(begin.elapsed() < secs(100_000), "the queue is never empty");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Receives the visible messages, and returns their bodies and receive counts.
    pub(crate) async fn receive(&self) -> Vec<(String, u32)> {
        let count = MessageSystemAttributeName::ApproximateReceiveCount;
        let receive = self.sqs.client().receive_message().queue_url(&self.url).max_number_of_messages(10);
        let answer = receive.message_system_attribute_names(count.clone()).send().await.unwrap();
        let told = |message: &Message| {
            (message.body().unwrap().to_owned(), message.attributes().unwrap()[&count].parse().unwrap())
        };
        answer.messages().iter().map(told).collect()
    }

    /// Returns the consumer as a worker on this queue, not yet running.
    pub(crate) fn worker<K: HandlerKind>(&self, consumer: Consumer<K>) -> Worker<K> {
        consumer.worker(self.client.clone(), &self.url)
    }

    /// Runs the consumer as a worker on this queue.
    pub(crate) fn run<K: HandlerKind>(&self, consumer: Consumer<K>) -> Running {
        Running::begin(self.worker(consumer))
    }
}

/// A running worker. If it is dropped, it ends as in a crash.
pub(crate) struct Running {
    shutdown: Option<oneshot::Sender<()>>,
    worker: JoinHandle<Result<(), Error>>,
}

impl Running {
    pub(crate) fn begin<K: HandlerKind>(worker: Worker<K>) -> Self {
        let (shutdown, asked) = oneshot::channel();
        let worker = tokio::spawn(worker.run_until(async { asked.await.unwrap_or(()) }));
        Self { shutdown: Some(shutdown), worker }
    }

    /// Starts the shutdown.
    pub(crate) fn ask(&mut self) {
        drop(self.shutdown.take());
    }

    /// Starts the shutdown and waits for the end.
    pub(crate) async fn end(mut self) -> Result<(), Error> {
        self.ask();
        (&mut self.worker).await.unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.worker.abort();
    }
}

/// Collects the notes of handlers, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Notes(watch::Sender<Vec<String>>);

impl Notes {
    pub(crate) fn add(&self, note: impl Into<String>) {
        self.0.send_modify(|notes| notes.push(note.into()));
    }

    pub(crate) fn all(&self) -> Vec<String> {
        self.0.borrow().clone()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.borrow().len()
    }

    pub(crate) fn clear(&self) {
        self.0.send_modify(Vec::clear);
    }

    /// Waits for `len` notes.
    pub(crate) async fn until(&self, len: usize) {
        let mut notes = self.0.subscribe();
        let enough = timeout(secs(100_000), notes.wait_for(|notes| notes.len() >= len)).await;
        assert!(enough.is_ok(), "there are never {len} notes: {:?}", self.all());
    }
}

/// Returns the result of `work` and how much time of the paused clock it took.
pub(crate) async fn timed<T>(work: impl Future<Output = T>) -> (T, Duration) {
    let begin = Instant::now();
    let result = work.await;
    (result, begin.elapsed())
}

pub(crate) const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
