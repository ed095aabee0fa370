//! An SQS that this test serves, for a command to reach.

use std::net::TcpListener;
use std::thread;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{Message, MessageSystemAttributeName};
use redrive::local::{Faults, Sqs};
use tokio::runtime::{Handle, Runtime};

/// It is served for as long as the test runs.
pub(crate) struct Served {
    pub(crate) url: String,
    sqs: Sqs,
    client: Client,
    handle: Handle,
}

impl Served {
    /// With these queues.
    pub(crate) fn with(queues: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        listener.set_nonblocking(true).unwrap();
        let runtime = Runtime::new().unwrap();
        let handle = runtime.handle().clone();
        let sqs = runtime.block_on(async { Sqs::with_seed(1) });
        let (client, served) = (sqs.client(), sqs.clone());
        thread::spawn(move || {
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                served.serve(listener, std::future::pending()).await.unwrap();
            });
        });
        let served = Self { url, sqs, client, handle };
        queues.iter().for_each(|name| served.create(name));
        served
    }

    fn create(&self, name: &str) {
        let create = self.client.create_queue().queue_name(name);
        let create = if name.ends_with(".fifo") { create.attributes("FifoQueue".into(), "true") } else { create };
        self.handle.block_on(create.send()).unwrap();
    }

    /// What goes wrong from now on.
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

    pub(crate) fn attribute(&self, queue: &str, name: &str) -> String {
        let get = self.client.get_queue_attributes().queue_url(self.url_of(queue));
        let got = self.handle.block_on(get.attribute_names("All".into()).send()).unwrap();
        got.attributes.unwrap_or_default()[&name.into()].clone()
    }

    pub(crate) fn set(&self, queue: &str, name: &str, value: &str) {
        let set = self.client.set_queue_attributes().queue_url(self.url_of(queue));
        self.handle.block_on(set.attributes(name.into(), value).send()).unwrap();
    }

    /// All that a queue has, in its order, and takes it out.
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

    /// Takes so many out, and waits for them.
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
