//! Provides an SQS that answers by a test's script and records every call.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_sqs::Client;
use redrive::{Consumer, HandlerKind, Worker};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::fake_sqs;

/// One received call.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) operation: String,
    /// The number of earlier calls of this operation.
    pub(crate) number: usize,
    pub(crate) request: Value,
    /// The time since the start.
    pub(crate) at: Duration,
}

impl Call {
    /// Returns the receipt handles of a batch call, each with its new visibility timeout.
    pub(crate) fn entries(&self) -> Vec<(String, Option<u64>)> {
        let entries = self.request["Entries"].as_array().cloned().unwrap_or_default();
        let entry = |entry: &Value| {
            let receipt_handle = entry["ReceiptHandle"].as_str().unwrap().to_owned();
            (receipt_handle, entry["VisibilityTimeout"].as_u64())
        };
        entries.iter().map(entry).collect()
    }
}

/// An answer and its delay.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    after: Duration,
    status: u16,
    /// `None` is the answer of an SQS without faults and without messages.
    answer: Option<Value>,
}

impl Reply {
    /// Answers as an SQS without faults: a receive waits and returns no message.
    pub(crate) fn usual() -> Self {
        Self { after: Duration::ZERO, status: 200, answer: None }
    }

    pub(crate) fn messages(messages: impl IntoIterator<Item = Value>) -> Self {
        let messages: Vec<_> = messages.into_iter().collect();
        Self { answer: Some(json!({ "Messages": messages })), ..Self::usual() }
    }

    pub(crate) fn failure() -> Self {
        let answer = Some(json!({ "__type": "com.amazonaws.sqs#ServiceUnavailable", "message": "down" }));
        Self { after: Duration::ZERO, status: 503, answer }
    }

    pub(crate) fn never() -> Self {
        Self::usual().after(Duration::from_secs(1_000_000))
    }

    pub(crate) fn after(self, after: Duration) -> Self {
        Self { after, ..self }
    }
}

/// A receipt handle that SQS always refuses.
pub(crate) const DEAD: &str = "dead";

/// Returns a message of that group with that receipt handle. Its body is its id.
pub(crate) fn message(id: &str, receipt_handle: &str, group: Option<&str>) -> Value {
    let mut attributes = json!({ "ApproximateReceiveCount": "1", "SentTimestamp": "0" });
    if let Some(group) = group {
        attributes["MessageGroupId"] = group.into();
    }
    json!({ "MessageId": id, "ReceiptHandle": receipt_handle, "Body": id, "Attributes": attributes })
}

#[derive(Clone)]
pub(crate) struct Script {
    pub(crate) client: Client,
    url: &'static str,
    calls: Arc<Mutex<Vec<Call>>>,
}

impl Script {
    pub(crate) fn standard(reply: impl Fn(&Call) -> Reply + Send + Sync + 'static) -> Self {
        Self::new("orders", "https://sqs.eu-west-1.amazonaws.com/123456789012/orders", reply)
    }

    pub(crate) fn fifo(reply: impl Fn(&Call) -> Reply + Send + Sync + 'static) -> Self {
        Self::new("orders.fifo", "https://sqs.eu-west-1.amazonaws.com/123456789012/orders.fifo", reply)
    }

    fn new(name: &'static str, url: &'static str, reply: impl Fn(&Call) -> Reply + Send + Sync + 'static) -> Self {
        fastrand::seed(1);
        let (calls, began) = (Arc::<Mutex<Vec<Call>>>::default(), Instant::now());
        let (numbers, noted) = (Mutex::new(HashMap::<String, usize>::new()), calls.clone());
        let client = fake_sqs::client(move |operation, request| {
            let next = *numbers.lock().unwrap().entry(operation.clone()).and_modify(|number| *number += 1).or_default();
            let call = Call { operation, number: next, request, at: began.elapsed() };
            let reply = reply(&call);
            noted.lock().unwrap().push(call.clone());
            async move {
                sleep(reply.after).await;
                (reply.status, answer(name, url, &call, reply.answer).await)
            }
        });
        Self { client, url, calls }
    }

    pub(crate) fn worker<K: HandlerKind>(&self, consumer: Consumer<K>) -> Worker<K> {
        consumer.worker(self.client.clone(), self.url)
    }

    /// Returns the calls of an operation, in order, without the calls with which a worker checks its permissions at
    /// startup.
    pub(crate) fn calls(&self, operation: &str) -> Vec<Call> {
        let mut calls = self.calls.lock().unwrap().clone();
        calls.retain(|call| call.operation == operation && call.entries().iter().all(|(handle, _)| handle != "none"));
        calls
    }

    /// Returns the times at which that receipt's message was given this visibility timeout, in seconds.
    pub(crate) fn hidden(&self, receipt_handle: &str, seconds: u64) -> Vec<Duration> {
        let entry = (receipt_handle.to_owned(), Some(seconds));
        let calls = self.calls("ChangeMessageVisibilityBatch").into_iter();
        calls.filter(|call| call.entries().contains(&entry)).map(|call| call.at).collect()
    }

    /// Returns the times at which that receipt's message was deleted.
    pub(crate) fn deleted(&self, receipt_handle: &str) -> Vec<Duration> {
        let entry = (receipt_handle.to_owned(), None);
        let calls = self.calls("DeleteMessageBatch").into_iter();
        calls.filter(|call| call.entries().contains(&entry)).map(|call| call.at).collect()
    }
}

async fn answer(name: &str, url: &str, call: &Call, answer: Option<Value>) -> Value {
    if let Some(answer) = answer {
        return answer;
    }
    match &*call.operation {
        "GetQueueAttributes" => json!({ "Attributes": {
            "QueueArn": format!("arn:aws:sqs:eu-west-1:123456789012:{name}"), "VisibilityTimeout": "30",
        } }),
        "SendMessage" => json!({ "MessageId": "sent" }),
        "GetQueueUrl" => json!({ "QueueUrl": url }),
        "ReceiveMessage" => {
            sleep(Duration::from_secs(call.request["WaitTimeSeconds"].as_u64().unwrap())).await;
            json!({})
        }
        _ => {
            let (mut successful, mut failed) = (Vec::new(), Vec::new());
            for entry in call.request["Entries"].as_array().unwrap() {
                let id = &entry["Id"];
                match entry["ReceiptHandle"] == DEAD {
                    true => failed.push(json!({ "Id": id, "SenderFault": true, "Code": "ReceiptHandleIsInvalid" })),
                    false => successful.push(json!({ "Id": id })),
                }
            }
            json!({ "Successful": successful, "Failed": failed })
        }
    }
}
