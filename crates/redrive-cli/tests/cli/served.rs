//! An SQS that this test serves for a command.

use std::net::TcpListener;
use std::thread;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{Message, MessageAttributeValue, MessageSystemAttributeName};
use redrive_local::{Callers, Faults, Kit, Sqs};
use tokio::runtime::{Handle, Runtime};

/// It is served until the test ends.
pub(crate) struct Served {
    pub(crate) url: String,
    sqs: Sqs,
    client: Client,
    handle: Handle,
}

impl Served {
    /// Serves an SQS with these queues.
    pub(crate) fn with(queues: &[&str]) -> Self {
        let served = Self::after(async |_| {});
        queues.iter().for_each(|name| served.create(name));
        served
    }

    /// Serves an SQS after some work. Its consumers end with the work.
    pub(crate) fn after(done: impl AsyncFnOnce(&Kit)) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        listener.set_nonblocking(true).unwrap();
        // The work has its own runtime, which ends before any further send. A cancelled poll that still runs would take
        // a message along.
        let sqs = Runtime::new().unwrap().block_on(async {
            let kit = Kit::with_seed(1);
            done(&kit).await;
            kit.sqs().clone()
        });
        let runtime = Runtime::new().unwrap();
        let handle = runtime.handle().clone();
        let (client, served) = (sqs.client(), sqs.clone());
        thread::spawn(move || {
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                // A command takes this address for another machine's, but it leads here.
                let callers = Callers::new().allow_host("0.0.0.0").unwrap();
                served.serve_to(callers, listener, std::future::pending()).await.unwrap();
            });
        });
        Self { url, sqs, client, handle }
    }

    fn create(&self, name: &str) {
        let create = self.client.create_queue().queue_name(name);
        let create = if name.ends_with(".fifo") { create.attributes("FifoQueue".into(), "true") } else { create };
        self.handle.block_on(create.send()).unwrap();
    }

    /// Sets the faults from now on.
    pub(crate) fn set_faults(&self, faults: Faults) {
        self.sqs.set_faults(faults);
    }

    pub(crate) fn url_of(&self, queue: &str) -> String {
        format!("{}/000000000000/{queue}", self.url)
    }

    pub(crate) fn queues(&self) -> Vec<String> {
        let urls = self.handle.block_on(self.client.list_queues().send()).unwrap().queue_urls.unwrap_or_default();
        urls.iter().map(|url| url.rsplit('/').next().unwrap().to_owned()).collect()
    }

    pub(crate) fn send(&self, queue: &str, body: &str) {
        let send = self.client.send_message().queue_url(self.url_of(queue)).message_body(body);
        self.handle.block_on(send.send()).unwrap();
    }

    /// Sends a message of a group with an attribute.
    pub(crate) fn send_to(&self, queue: &str, group: &str, body: &str) {
        let channel = MessageAttributeValue::builder().data_type("String").string_value("web").build().unwrap();
        let send = self.client.send_message().queue_url(self.url_of(queue)).message_body(body);
        let send = send.message_group_id(group).message_attributes("channel", channel);
        let send = if queue.ends_with(".fifo") { send.message_deduplication_id(body) } else { send };
        self.handle.block_on(send.send()).unwrap();
    }

    /// Receives all messages of a queue this often, and makes them visible again at once.
    pub(crate) fn fail(&self, queue: &str, times: usize) {
        for _ in 0..times {
            let mut receipts = Vec::new();
            loop {
                let receive = self.client.receive_message().queue_url(self.url_of(queue)).max_number_of_messages(10);
                let received = self.handle.block_on(receive.visibility_timeout(600).wait_time_seconds(0).send());
                let received = received.unwrap().messages.unwrap_or_default();
                if received.is_empty() {
                    break;
                }
                receipts.extend(received.into_iter().map(|message| message.receipt_handle.unwrap()));
            }
            for receipt in receipts {
                let change = self.client.change_message_visibility().queue_url(self.url_of(queue));
                self.handle.block_on(change.receipt_handle(receipt).visibility_timeout(0).send()).unwrap();
            }
        }
    }

    /// Receives one message and keeps it.
    pub(crate) fn hide_one(&self, queue: &str) {
        let receive = self.client.receive_message().queue_url(self.url_of(queue)).visibility_timeout(600);
        assert_eq!(self.handle.block_on(receive.send()).unwrap().messages().len(), 1);
    }

    pub(crate) fn attribute(&self, queue: &str, name: &str) -> String {
        let get = self.client.get_queue_attributes().queue_url(self.url_of(queue));
        let got = self.handle.block_on(get.attribute_names("All".into()).send()).unwrap();
        got.attributes.unwrap_or_default()[&name.into()].clone()
    }

    pub(crate) fn set(&self, queue: &str, name: &str, value: &str) {
        let set = self.client.set_queue_attributes().queue_url(self.url_of(queue));
        self.handle.block_on(set.attributes(name.into(), value).send()).unwrap();
    }

    /// Removes all messages of a queue in their order.
    pub(crate) fn take(&self, queue: &str) -> Vec<Message> {
        let mut taken = Vec::new();
        loop {
            let received = self.receive(queue, 0);
            if received.is_empty() {
                return taken;
            }
            taken.extend(received);
        }
    }

    /// Waits for this many messages and removes them.
    pub(crate) fn wait_for(&self, queue: &str, count: usize) -> Vec<Message> {
        let mut taken = Vec::new();
        while taken.len() < count {
            taken.extend(self.receive(queue, 20));
        }
        taken
    }

    fn receive(&self, queue: &str, wait_seconds: i32) -> Vec<Message> {
        let receive = self.client.receive_message().queue_url(self.url_of(queue)).max_number_of_messages(10);
        let receive = receive.wait_time_seconds(wait_seconds).message_attribute_names("All");
        let receive = receive.message_system_attribute_names(MessageSystemAttributeName::All);
        let received = self.handle.block_on(receive.send()).unwrap().messages.unwrap_or_default();
        for message in &received {
            let delete = self.client.delete_message().queue_url(self.url_of(queue));
            self.handle.block_on(delete.receipt_handle(message.receipt_handle().unwrap()).send()).unwrap();
        }
        received
    }

    pub(crate) fn bodies(&self, queue: &str) -> Vec<String> {
        self.take(queue).into_iter().map(|message| message.body.unwrap()).collect()
    }
}
