//! A queue, with helpers to read its messages.

#![allow(dead_code, reason = "each of the tests asks for a part of it")]

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{
    DeleteMessageBatchRequestEntry, Message, MessageSystemAttributeName, QueueAttributeName as Name,
};
use redrive::{Producer, ProducerBuilder};
use redrive_local::Sqs;
use tokio::time::Instant;

use crate::calls::Calls;

/// A queue in its own account. A seed determines all random choices.
pub(crate) struct Queue {
    pub(crate) sqs: Sqs,
    pub(crate) url: String,
    pub(crate) calls: Calls,
}

impl Queue {
    /// Creates a queue. A name that ends in `.fifo` creates a FIFO queue.
    pub(crate) async fn new(name: &str, seed: u64) -> Self {
        Self::with(name, seed, &[]).await
    }

    pub(crate) async fn with(name: &str, seed: u64, attributes: &[(Name, &str)]) -> Self {
        fastrand::seed(seed);
        let sqs = Sqs::with_seed(seed);
        let mut create = sqs.client().create_queue().queue_name(name);
        if name.ends_with(".fifo") {
            create = create.attributes(Name::FifoQueue, "true");
        }
        for (name, value) in attributes {
            create = create.attributes(name.clone(), *value);
        }
        let url = create.send().await.unwrap().queue_url.unwrap();
        Self { sqs, url, calls: Calls::default() }
    }

    /// Returns a client whose calls are counted, each attempt separately.
    pub(crate) fn client(&self) -> Client {
        self.calls.client_of(&self.sqs)
    }

    pub(crate) fn builder(&self) -> ProducerBuilder {
        Producer::builder(self.client(), &self.url)
    }

    pub(crate) fn producer(&self) -> Producer {
        self.builder().build()
    }

    /// Removes and returns all messages in the order in which SQS hands them out.
    pub(crate) async fn take_all(&self) -> Vec<Message> {
        let client = self.sqs.client();
        let mut all = Vec::new();
        loop {
            let receive = client.receive_message().queue_url(&self.url).max_number_of_messages(10);
            let receive = receive.message_system_attribute_names(MessageSystemAttributeName::All);
            let messages = receive.message_attribute_names("All").send().await.unwrap().messages.unwrap_or_default();
            if messages.is_empty() {
                return all;
            }
            let entry = |(position, message): (usize, &Message)| {
                let entry = DeleteMessageBatchRequestEntry::builder().id(position.to_string());
                entry.receipt_handle(message.receipt_handle().unwrap()).build().unwrap()
            };
            let entries = messages.iter().enumerate().map(entry).collect();
            client.delete_message_batch().queue_url(&self.url).set_entries(Some(entries)).send().await.unwrap();
            all.extend(messages);
        }
    }

    /// Removes all messages and returns their bodies.
    pub(crate) async fn bodies(&self) -> Vec<String> {
        self.take_all().await.into_iter().map(|message| message.body.unwrap()).collect()
    }
}

/// Returns the text of a message attribute.
pub(crate) fn text(message: &Message, name: &str) -> Option<String> {
    message.message_attributes()?.get(name)?.string_value().map(str::to_owned)
}

pub(crate) fn system(message: &Message, name: MessageSystemAttributeName) -> Option<String> {
    message.attributes()?.get(&name).cloned()
}

/// Runs the work and returns how much of the paused clock's time it took.
pub(crate) async fn timed<T>(work: impl Future<Output = T>) -> (T, Duration) {
    let begin = Instant::now();
    let result = work.await;
    (result, begin.elapsed())
}

/// Counts equal items.
pub(crate) fn counted<T: Ord>(items: impl IntoIterator<Item = T>) -> BTreeMap<T, usize> {
    let mut counts = BTreeMap::new();
    for item in items {
        *counts.entry(item).or_default() += 1;
    }
    counts
}

pub(crate) const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
