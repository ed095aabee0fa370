//! Provides a queue that hands out each record of a batch once and records the deletes.
//!
//! Test records choose their own ids, and several may share one. The embedded queue supports neither.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_sdk_sqs::Client;
use serde_json::{Map, Value, json};
use tokio::sync::watch;

use crate::fake_sqs;
use crate::records::STANDARD;

/// How long a message is hidden. Heartbeats extend it while its handler runs.
pub(crate) const LEASE: Duration = Duration::from_secs(30);

#[derive(Clone)]
pub(crate) struct Messages(Arc<Queue>);

struct Queue {
    arn: String,
    ids: Vec<String>,
    /// The receipt handles. They are unique.
    handles: Vec<String>,
    state: Mutex<State>,
    /// The number of calls that have changed a message.
    calls: watch::Sender<usize>,
}

struct State {
    /// The messages to hand out, with their positions in the batch.
    waiting: VecDeque<(usize, Value)>,
    deleted: Vec<bool>,
    /// The group of each message that has one, on a FIFO queue.
    groups: Vec<Option<String>>,
    in_flight: Vec<usize>,
}

impl Messages {
    pub(crate) fn new(records: Vec<Value>) -> Self {
        let text = |record: &Value, pointer| record.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        let arn = records.first().and_then(|first| text(first, "/eventSourceARN")).unwrap_or(STANDARD.to_owned());
        let group = |record: &Value| text(record, "/attributes/MessageGroupId").filter(|_| arn.ends_with(".fifo"));
        let state = State {
            deleted: vec![false; records.len()],
            groups: records.iter().map(group).collect(),
            in_flight: Vec::new(),
            waiting: records.iter().cloned().enumerate().collect(),
        };
        let mut handles: Vec<String> = Vec::new();
        for (position, record) in records.iter().enumerate() {
            let own = text(record, "/receiptHandle").expect("a message has a receipt handle");
            handles.push(if handles.contains(&own) { format!("{own}-{position}") } else { own });
        }
        let ids = records.iter().map(|record| text(record, "/messageId").expect("a message has an id")).collect();
        Self(Arc::new(Queue { arn, ids, handles, state: Mutex::new(state), calls: watch::Sender::default() }))
    }

    pub(crate) fn client(&self) -> Client {
        let messages = self.clone();
        fake_sqs::client(move |operation, request| {
            let messages = messages.clone();
            async move { (200, messages.answer(&operation, &request).await) }
        })
    }

    /// Waits until no message was handed out, extended or deleted for longer than a lease. Then no message runs.
    pub(crate) async fn settled(self) {
        let mut calls = self.0.calls.subscribe();
        while tokio::time::timeout(2 * LEASE, calls.changed()).await.is_ok() {}
    }

    /// Returns the ids of the messages that are not deleted, each once, in the order of the batch.
    pub(crate) fn not_deleted(&self) -> Vec<String> {
        let state = self.state();
        let mut ids = Vec::new();
        for (id, _) in self.0.ids.iter().zip(&state.deleted).filter(|(_, is_deleted)| !**is_deleted) {
            if !ids.contains(id) {
                ids.push(id.clone());
            }
        }
        ids
    }

    async fn answer(&self, operation: &str, request: &Value) -> Value {
        match operation {
            "GetQueueAttributes" => {
                json!({ "Attributes": { "QueueArn": self.0.arn, "VisibilityTimeout": LEASE.as_secs().to_string() } })
            }
            "ReceiveMessage" => self.receive(request).await,
            "DeleteMessageBatch" => self.each(request, |state, position| {
                state.deleted[position] = true;
                state.in_flight.retain(|&in_flight| in_flight != position);
            }),
            // A released message is not handed out again: a batch on Lambda runs only once, too.
            "ChangeMessageVisibilityBatch" => self.each(request, |_, _| {}),
            other => panic!("a worker does not need {other}"),
        }
    }

    async fn receive(&self, request: &Value) -> Value {
        let number = |name: &str| request[name].as_u64().expect("a number");
        let most = usize::try_from(number("MaxNumberOfMessages")).unwrap();
        let mut calls = self.0.calls.subscribe();
        let waited = tokio::time::timeout(Duration::from_secs(number("WaitTimeSeconds")), async {
            loop {
                calls.borrow_and_update();
                let taken = self.state().take(most);
                if !taken.is_empty() {
                    return taken;
                }
                calls.changed().await.expect("the queue is there");
            }
        });
        match waited.await {
            Ok(taken) => {
                let message = |(position, record): &(usize, Value)| message(record, &self.0.handles[*position]);
                let messages: Vec<_> = taken.iter().map(message).collect();
                self.0.calls.send_modify(|calls| *calls += 1);
                json!({ "Messages": messages })
            }
            Err(_) => json!({}),
        }
    }

    /// Applies `act` to each message of a batch call.
    fn each(&self, request: &Value, act: impl Fn(&mut State, usize)) -> Value {
        let mut successful = Vec::new();
        let mut failed = Vec::new();
        for entry in request["Entries"].as_array().expect("a batch call has entries") {
            let handle = entry["ReceiptHandle"].as_str().expect("an entry has a receipt handle");
            match self.0.handles.iter().position(|of_message| of_message == handle) {
                Some(position) => {
                    act(&mut self.state(), position);
                    self.0.calls.send_modify(|calls| *calls += 1);
                    successful.push(json!({ "Id": entry["Id"] }));
                }
                None => {
                    failed.push(json!({ "Id": entry["Id"], "Code": "ReceiptHandleIsInvalid", "SenderFault": true }));
                }
            }
        }
        json!({ "Successful": successful, "Failed": failed })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Returns the next messages. A group with a message in flight has none until that message is deleted.
    fn take(&mut self, most: usize) -> Vec<(usize, Value)> {
        let locked: Vec<_> = self.in_flight.iter().filter_map(|&position| self.groups[position].clone()).collect();
        let mut taken = Vec::new();
        let mut left = VecDeque::new();
        for (position, record) in self.waiting.drain(..) {
            let is_locked = self.groups[position].as_ref().is_some_and(|group| locked.contains(group));
            if is_locked || taken.len() == most {
                left.push_back((position, record));
            } else {
                self.in_flight.push(position);
                taken.push((position, record));
            }
        }
        self.waiting = left;
        taken
    }
}

/// Returns a record in the form of an SQS message.
fn message(record: &Value, receipt_handle: &str) -> Value {
    let attributes = record["messageAttributes"].as_object().into_iter().flatten();
    let attributes: Map<_, _> = attributes.map(|(name, value)| (name.clone(), message_attribute(value))).collect();
    json!({
        "MessageId": record["messageId"],
        "ReceiptHandle": receipt_handle,
        "Body": record["body"],
        "MD5OfBody": record["md5OfBody"],
        "Attributes": record["attributes"],
        "MessageAttributes": attributes,
    })
}

fn message_attribute(value: &Value) -> Value {
    let mut attribute = Map::new();
    for (of_event, of_sqs) in [("dataType", "DataType"), ("stringValue", "StringValue"), ("binaryValue", "BinaryValue")]
    {
        if let Some(part) = value.get(of_event).filter(|part| !part.is_null()) {
            attribute.insert(of_sqs.to_owned(), part.clone());
        }
    }
    attribute.into()
}
