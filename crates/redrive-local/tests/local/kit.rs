//! Wraps a queue in short operations.

use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sqs::types::{Message, MessageSystemAttributeName as Name, QueueAttributeName};
use redrive_local::Sqs;
use tokio::time::Instant;

/// A queue in its own account.
#[derive(Clone)]
pub(crate) struct Queue {
    pub(crate) client: Client,
    pub(crate) url: String,
}

/// Returns the client of a new account.
pub(crate) fn client() -> Client {
    Sqs::with_seed(1).client()
}

impl Queue {
    pub(crate) async fn standard() -> Self {
        Self::new(&client(), "orders", &[]).await
    }

    pub(crate) async fn fifo() -> Self {
        Self::new(&client(), "orders.fifo", &[("ContentBasedDeduplication", "true")]).await
    }

    pub(crate) async fn new(client: &Client, name: &str, attributes: &[(&str, &str)]) -> Self {
        let mut create = client.create_queue().queue_name(name);
        if name.ends_with(".fifo") {
            create = create.attributes(QueueAttributeName::FifoQueue, "true");
        }
        for &(name, value) in attributes {
            create = create.attributes(name.into(), value);
        }
        let url = create.send().await.unwrap().queue_url.unwrap();
        Self { client: client.clone(), url }
    }

    pub(crate) async fn attribute(&self, name: &str) -> String {
        let get = self.client.get_queue_attributes().queue_url(&self.url).attribute_names(name.into());
        let attributes = get.send().await.unwrap().attributes.unwrap_or_default();
        attributes.get(&name.into()).cloned().unwrap_or_default()
    }

    pub(crate) async fn set(&self, name: &str, value: &str) {
        self.client.set_queue_attributes().queue_url(&self.url).attributes(name.into(), value).send().await.unwrap();
    }

    /// Returns the numbers of visible, in-flight and delayed messages.
    pub(crate) async fn counts(&self) -> [String; 3] {
        let names = ["", "NotVisible", "Delayed"].map(|what| format!("ApproximateNumberOfMessages{what}"));
        [self.attribute(&names[0]).await, self.attribute(&names[1]).await, self.attribute(&names[2]).await]
    }

    pub(crate) async fn send(&self, body: &str) -> String {
        self.client.send_message().queue_url(&self.url).message_body(body).send().await.unwrap().message_id.unwrap()
    }

    pub(crate) async fn send_to(&self, group: &str, body: &str) -> String {
        let send = self.client.send_message().queue_url(&self.url).message_group_id(group).message_body(body);
        send.send().await.unwrap().message_id.unwrap()
    }

    /// Receives up to ten messages with all attributes, without waiting.
    pub(crate) async fn receive(&self) -> Vec<Message> {
        self.receive_for(Duration::ZERO).await
    }

    pub(crate) async fn receive_for(&self, wait: Duration) -> Vec<Message> {
        let receive = self.client.receive_message().queue_url(&self.url).max_number_of_messages(10);
        let receive = receive.wait_time_seconds(wait.as_secs().try_into().unwrap());
        let receive = receive.message_system_attribute_names(Name::All).message_attribute_names("All");
        receive.send().await.unwrap().messages.unwrap_or_default()
    }

    pub(crate) async fn bodies(&self) -> Vec<String> {
        bodies(&self.receive().await)
    }

    pub(crate) async fn delete(&self, message: &Message) {
        let handle = message.receipt_handle().unwrap();
        self.client.delete_message().queue_url(&self.url).receipt_handle(handle).send().await.unwrap();
    }

    pub(crate) async fn hide_for(&self, message: &Message, seconds: i32) -> Result<(), String> {
        let change = self.client.change_message_visibility().queue_url(&self.url).visibility_timeout(seconds);
        change.receipt_handle(message.receipt_handle().unwrap()).send().await.map(drop).map_err(|error| code(&error))
    }
}

pub(crate) fn bodies(messages: &[Message]) -> Vec<String> {
    messages.iter().map(|message| message.body().unwrap().to_owned()).collect()
}

pub(crate) fn attribute<'a>(message: &'a Message, name: &str) -> Option<&'a str> {
    message.attributes().and_then(|attributes| attributes.get(&Name::from(name))).map(String::as_str)
}

pub(crate) fn receive_count(message: &Message) -> u32 {
    attribute(message, "ApproximateReceiveCount").unwrap().parse().unwrap()
}

/// Returns the name of an error as SDKs show it.
pub(crate) fn code<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>) -> String {
    error.code().unwrap_or("no code").to_owned()
}

pub(crate) async fn pass(time: Duration) {
    tokio::time::advance(time).await;
}

/// Runs a future and returns how long it took on the paused clock, in whole milliseconds.
pub(crate) async fn timed<T>(work: impl Future<Output = T>) -> (T, Duration) {
    let begin = Instant::now();
    let result = work.await;
    (result, Duration::from_millis(begin.elapsed().as_millis().try_into().unwrap()))
}

pub(crate) const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
