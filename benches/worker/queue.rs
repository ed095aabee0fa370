//! Serves the queue and measures it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{QueueAttributeName as Name, SendMessageBatchRequestEntry};
use redrive_local::Sqs;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

const BATCH: usize = 10;
/// The number of concurrent sends.
const SENDERS: usize = 2;

/// The server that all consumers use.
pub(crate) struct Server {
    client: Client,
    url: String,
    queues: AtomicUsize,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let sqs = Sqs::new();
        let client = sqs.client();
        tokio::spawn(sqs.serve(listener, std::future::pending()));
        Self { client, url, queues: AtomicUsize::new(0) }
    }

    /// Creates a new queue, without messages of another run.
    pub(crate) async fn queue(&self) -> Queue {
        let name = format!("orders-{}", self.queues.fetch_add(1, Ordering::Relaxed));
        self.client.create_queue().queue_name(&name).send().await.expect("a queue");
        let url = format!("{}/000000000000/{name}", self.url);
        Queue { client: self.client.clone(), server: self.url.clone(), url }
    }
}

#[derive(Clone)]
pub(crate) struct Queue {
    /// The client is in this process, because a socket would load the machine more.
    client: Client,
    pub(crate) server: String,
    pub(crate) url: String,
}

impl Queue {
    pub(crate) async fn send(&self, messages: usize) {
        let batches = Arc::new(AtomicUsize::new(messages / BATCH));
        let mut senders = JoinSet::new();
        for _ in 0..SENDERS {
            let (queue, batches) = (self.clone(), batches.clone());
            senders.spawn(async move {
                while batches.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
                    queue.send_batch().await;
                }
            });
        }
        while let Some(sender) = senders.join_next().await {
            sender.expect("no send fails");
        }
    }

    async fn send_batch(&self) {
        let entry = |id: usize| {
            let body =
                format!(r#"{{"order_id":"{:032x}","customer_id":"c-7","amount_cents":1999}}"#, fastrand::u128(..));
            SendMessageBatchRequestEntry::builder().id(id.to_string()).message_body(body).build()
        };
        let entries = (0..BATCH).map(|id| entry(id).expect("an entry with all it needs")).collect();
        let send = self.client.send_message_batch().queue_url(&self.url).set_entries(Some(entries));
        assert_eq!(send.send().await.expect("a send").successful().len(), BATCH);
    }

    /// Returns how many messages are not deleted yet.
    pub(crate) async fn len(&self) -> usize {
        let names = [Name::ApproximateNumberOfMessages, Name::ApproximateNumberOfMessagesNotVisible];
        let get = self.client.get_queue_attributes().queue_url(&self.url).set_attribute_names(Some(names.to_vec()));
        let attributes = get.send().await.expect("attributes").attributes.unwrap_or_default();
        names.iter().map(|name| attributes[name].parse::<usize>().expect("a number")).sum()
    }
}
