//! Manages a queue of a test.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::QueueAttributeName as Name;
use redrive::BoxError;
use redrive::Consumer;
use redrive::internals::note;
use redrive::internals::safe_text::{hiding, text_of};
use redrive::internals::to_body;
use serde::Serialize;

use super::history::{DeadLetter, Delivery, History};
use super::mapping::Mapping;
use super::{Kit, lock};
use crate::error::Error;
use crate::queue::Message;

/// A builder for a queue. Its defaults are those of SQS.
#[derive(Debug)]
#[must_use = "the queue exists only after `create`"]
pub struct QueueBuilder {
    kit: Kit,
    name: String,
    max_receive_count: Option<u32>,
    attributes: Vec<(String, String)>,
}

/// A queue with its dead-letter queue and the history of its messages.
#[derive(Clone, Debug)]
pub struct TestQueue {
    pub(super) kit: Kit,
    pub(super) name: String,
    pub(super) url: String,
    pub(super) arn: String,
    pub(super) visibility_timeout: Duration,
    dead_letter_queue: Option<String>,
    pub(super) client: Client,
    pub(super) history: Arc<Mutex<History>>,
}

impl QueueBuilder {
    pub(super) fn new(kit: Kit, name: &str) -> Self {
        Self { kit, name: name.to_owned(), max_receive_count: None, attributes: Vec::new() }
    }

    /// Sets how often a message may be received, 1 to 1,000. The next receive moves it to the dead-letter queue
    /// `NAME-dlq`, which is also created.
    pub fn max_receive_count(self, count: u32) -> Self {
        Self { max_receive_count: Some(count), ..self }
    }

    /// Sets how long a received message is hidden, in whole seconds up to 12 hours. The default is 30 s.
    pub fn visibility_timeout(self, timeout: Duration) -> Self {
        self.attribute("VisibilityTimeout", timeout.as_secs().to_string())
    }

    /// Sets an attribute of
    /// [SetQueueAttributes](https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SetQueueAttributes.html).
    pub fn attribute(mut self, name: &str, value: impl Into<String>) -> Self {
        self.attributes.push((name.to_owned(), value.into()));
        self
    }

    /// Creates the queue.
    ///
    /// # Errors
    ///
    /// Returns an error when SQS would refuse the queue.
    pub async fn create(self) -> Result<TestQueue, Error> {
        let client = self.kit.sqs().client();
        let mut attributes = self.attributes;
        if let Some(count) = self.max_receive_count {
            let url = create(&client, &dead_letter_name(&self.name), &[]).await?;
            let arn = attributes_of(&client, &url).await?.remove(&Name::QueueArn).unwrap_or_default();
            let policy = serde_json::json!({"deadLetterTargetArn": arn, "maxReceiveCount": count});
            attributes.push(("RedrivePolicy".to_owned(), policy.to_string()));
        }
        let url = create(&client, &self.name, &attributes).await?;
        TestQueue::of(&self.kit, client, self.name, url).await
    }
}

fn dead_letter_name(name: &str) -> String {
    match name.strip_suffix(".fifo") {
        Some(stem) => format!("{stem}-dlq.fifo"),
        None => format!("{name}-dlq"),
    }
}

async fn create(client: &Client, name: &str, attributes: &[(String, String)]) -> Result<String, Error> {
    let mut create = client.create_queue().queue_name(name);
    if name.ends_with(".fifo") {
        create = create.attributes(Name::FifoQueue, "true");
    }
    for (name, value) in attributes {
        create = create.attributes(name.as_str().into(), value);
    }
    let created = create.send().await.map_err(|error| refused(&format!("queue {name}"), text_of(&error)))?;
    Ok(created.queue_url.unwrap_or_default())
}

async fn attributes_of(client: &Client, url: &str) -> Result<HashMap<Name, String>, Error> {
    let get = client.get_queue_attributes().queue_url(url).attribute_names(Name::All);
    let answer = get.send().await.map_err(|error| refused(url, text_of(&error)))?;
    Ok(answer.attributes.unwrap_or_default())
}

/// Returns the name of the queue in a RedrivePolicy.
fn dead_letter_queue_of(policy: &str) -> Option<String> {
    let policy: serde_json::Value = serde_json::from_str(policy).ok()?;
    let (_, name) = policy.get("deadLetterTargetArn")?.as_str()?.rsplit_once(':')?;
    Some(name.to_owned())
}

pub(super) fn refused(what: &str, error: impl std::fmt::Display) -> Error {
    Error::new(format!("{what}: {error}"))
}

impl TestQueue {
    /// Wraps an existing queue.
    pub(super) async fn of(kit: &Kit, client: Client, name: String, url: String) -> Result<Self, Error> {
        let mut attributes = attributes_of(&client, &url).await?;
        let visibility_timeout = attributes.remove(&Name::VisibilityTimeout).unwrap_or_default();
        Ok(Self {
            kit: kit.clone(),
            name,
            arn: attributes.remove(&Name::QueueArn).unwrap_or_default(),
            visibility_timeout: Duration::from_secs(visibility_timeout.parse().unwrap_or_default()),
            dead_letter_queue: attributes.get(&Name::RedrivePolicy).and_then(|policy| dead_letter_queue_of(policy)),
            url,
            client,
            history: Arc::default(),
        })
    }

    /// Returns the queue's URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns a client of the AWS SDK, for operations that the kit does not wrap.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Sends a message and returns its id. On a FIFO queue the message group is `default`.
    ///
    /// # Errors
    ///
    /// Returns an error when SQS would refuse the message.
    pub async fn send(&self, body: impl Into<String>) -> Result<String, Error> {
        match self.name.ends_with(".fifo") {
            true => self.send_to("default", body).await,
            false => self.send_message(None, body.into()).await,
        }
    }

    /// Sends a value as JSON, see [`send`](Self::send).
    ///
    /// # Errors
    ///
    /// Returns an error when the value cannot be serialized as JSON, or when SQS would refuse the message.
    pub async fn send_json(&self, body: &(impl Serialize + Sync)) -> Result<String, Error> {
        let json = to_body(body).map_err(|error| refused("a message", error))?;
        self.send(json).await
    }

    /// Sends a message with a message group. On a FIFO queue it has a unique deduplication id.
    ///
    /// # Errors
    ///
    /// Returns an error when SQS would refuse the message.
    pub async fn send_to(&self, group: &str, body: impl Into<String>) -> Result<String, Error> {
        self.send_message(Some(group), body.into()).await
    }

    async fn send_message(&self, group: Option<&str>, body: String) -> Result<String, Error> {
        let mut send = self.client.send_message().queue_url(&self.url).message_body(&body);
        send = send.set_message_group_id(group.map(str::to_owned));
        if self.name.ends_with(".fifo") {
            send = send.message_deduplication_id(self.kit.sqs().unique_id());
        }
        let sent = send.send().await.map_err(|error| refused("a message", hiding(&text_of(&error), [&*body])))?;
        Ok(sent.message_id.unwrap_or_default())
    }

    /// Returns a builder for a mapping of this queue to a consumer. It polls after [`start`](Mapping::start).
    pub fn mapping<K: redrive::HandlerKind + Sync>(&self, consumer: Consumer<K>) -> Mapping {
        Mapping::to_consumer(self.clone(), consumer)
    }

    /// Returns a builder for a mapping of this queue to any function, which takes the event and returns the answer as
    /// JSON.
    pub fn mapping_to<F, Fut>(&self, function: F) -> Mapping
    where
        F: Fn(String) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<String, BoxError>> + Send + 'static,
    {
        Mapping::to_function(self.clone(), function)
    }

    /// Returns all deliveries in the order of the function's answers. Deliveries of one batch have the order of the
    /// batch.
    pub fn deliveries(&self) -> Vec<Delivery> {
        lock(&self.history).deliveries().to_vec()
    }

    /// Returns the deliveries of one message, in order.
    pub fn deliveries_of(&self, message_id: &str) -> Vec<Delivery> {
        let history = lock(&self.history);
        history.deliveries().iter().filter(|delivery| delivery.message_id == message_id).cloned().collect()
    }

    /// Returns the problems of whole batches, for example answers that retry all messages or lose some.
    pub fn problems(&self) -> Vec<String> {
        lock(&self.history).problems().to_vec()
    }

    /// Returns the messages of the dead-letter queue, oldest first. They stay in the queue.
    pub fn dead_letters(&self) -> Vec<DeadLetter> {
        let Some(name) = &self.dead_letter_queue else { return Vec::new() };
        let history = lock(&self.history);
        let whys = history.last_whys();
        self.kit.sqs().messages(name).into_iter().map(|message| dead_letter(message, &whys)).collect()
    }
}

/// Describes a dead letter. A RedrivePolicy moves the message itself. A handler sends a new message with a note about
/// the original.
fn dead_letter(message: Message, whys: &HashMap<&str, Option<&str>>) -> DeadLetter {
    let noted = |name| message.text_attribute(name).map(str::to_owned);
    let message_id = noted(note::MESSAGE_ID).unwrap_or_else(|| message.id.to_string());
    let last_why = || whys.get(message_id.as_str()).copied().flatten().map(str::to_owned);
    DeadLetter {
        why: noted(note::REASON).or_else(last_why),
        receive_count: noted(note::RECEIVE_COUNT).and_then(|count| count.parse().ok()).unwrap_or(message.receive_count),
        body: message.body.clone().into(),
        group: message.group.as_deref().map(str::to_owned),
        message_id,
    }
}
