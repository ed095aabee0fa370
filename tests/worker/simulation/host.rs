//! Models a host of the fleet and its connection to the queue, which is recorded and can be cut.

use std::borrow::Cow;
use std::fmt;
use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::retry::RetryPartition;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use super::book::{Ask, Shared, What};
use crate::wire::{Answered, Call, broken, through};

#[derive(Clone)]
pub(super) struct Host {
    pub(super) number: usize,
    pub(super) book: Shared,
    /// After a crash, nothing is sent and nothing arrives. Code of the dead host that the runtime still runs has no
    /// effect.
    crashed: watch::Sender<bool>,
    /// Until this time, calls break before they arrive.
    apart_until: Arc<Mutex<Instant>>,
    /// Until this time, the host stands still while time and the queue continue. Its handlers rest, its calls leave
    /// later, and answers reach it later.
    suspended_until: Arc<Mutex<Instant>>,
    /// Until this time, each answer reaches the host late by this duration. Its clock then dates a receive too late.
    late_until: Arc<Mutex<(Instant, Duration)>>,
}

/// An answer that travels for this long is late. A worker expects all others.
const LATE: Duration = Duration::from_secs(1);

/// The duration of a call that does not arrive.
const UNTIL_IT_BREAKS: Duration = Duration::from_secs(1);

impl Host {
    pub(super) fn new(number: usize, book: Shared) -> Self {
        let now = Instant::now();
        let [apart_until, suspended_until] = [(), ()].map(|()| Arc::new(Mutex::new(now)));
        let late_until = Arc::new(Mutex::new((now, Duration::ZERO)));
        Self { number, book, crashed: watch::Sender::new(false), apart_until, suspended_until, late_until }
    }

    /// Returns a client whose calls use this host's connection.
    pub(super) fn client(&self, client: &Client) -> Client {
        // Hosts are separate processes, so failed calls of one must not use up the retries of another.
        static PARTITION: AtomicUsize = AtomicUsize::new(0);
        let partition = RetryPartition::new(format!("host-{}", PARTITION.fetch_add(1, Ordering::Relaxed)));
        let client = Client::from_conf(client.config().to_builder().retry_partition(partition).build());
        let host = self.clone();
        through(&client, move |call| {
            let host = host.clone();
            async move { host.carry(call).await }
        })
    }

    pub(super) fn crash(&self) {
        self.book.open().hosts.crashed.insert(self.number);
        self.crashed.send_replace(true);
    }

    pub(super) fn be_apart(&self, time: Duration) {
        *self.apart_until.lock().unwrap() = Instant::now() + time;
    }

    pub(super) fn be_suspended(&self, time: Duration) {
        *self.suspended_until.lock().unwrap() = Instant::now() + time;
    }

    /// Waits until the host runs.
    pub(super) async fn runs(&self) {
        loop {
            let until = *self.suspended_until.lock().unwrap();
            if Instant::now() >= until {
                return;
            }
            sleep_until(until).await;
        }
    }

    /// Delays each answer by `delay` for that time.
    pub(super) fn be_late(&self, time: Duration, delay: Duration) {
        *self.late_until.lock().unwrap() = (Instant::now() + time, delay);
    }

    /// Waits until an answer of the queue reaches the host.
    async fn arrives(&self) {
        let (until, delay) = *self.late_until.lock().unwrap();
        if Instant::now() < until {
            sleep(delay).await;
        }
        self.runs().await;
    }

    async fn carry(&self, call: Call) -> Answered {
        let asked = Asked::of(&call);
        if *self.crashed.borrow() {
            return pending().await;
        }
        self.note(&asked, What::Tried, |_| true);
        let mut crashed = self.crashed.subscribe();
        let answered = tokio::select! {
            biased;
            () = async { drop(crashed.wait_for(|crashed| *crashed).await) } => None,
            answered = self.exchange(call, &asked) => Some(answered),
        };
        match answered {
            Some(answered) => answered,
            None => pending().await,
        }
    }

    async fn exchange(&self, call: Call, asked: &Asked) -> Answered {
        let answered = self.reach(call).await;
        // The queue has carried out the call by now, whenever the host learns of it. A lease, however, is only as long
        // as the host has learned, and a URL is known only then.
        let is_learned = matches!(asked, Asked::Entries(Ask::Visibility, _) | Asked::DeadLetterQueue);
        if !is_learned {
            self.hear_of(asked, &answered);
        }
        let answered_at = Instant::now();
        self.arrives().await;
        if is_learned {
            self.hear_of(asked, &answered);
        }
        if matches!(asked, Asked::Messages) && answered_at.elapsed() >= LATE {
            self.note_arrival(&answered);
        }
        answered
    }

    /// Records that these messages reached the host late.
    fn note_arrival(&self, answered: &Answered) {
        let body = answered.as_ref().ok().and_then(|response| response.body().bytes()).unwrap_or_default();
        let received = serde_json::from_slice::<Received<'_>>(body).unwrap_or_default();
        for message in received.messages {
            self.book.open().called(self.number, &message.receipt_handle, What::Arrived);
        }
    }

    fn hear_of(&self, asked: &Asked, answered: &Answered) {
        if let Ok(response) = answered
            && response.status().is_success()
        {
            self.hear(asked, response.body().bytes().unwrap_or_default());
        }
    }

    async fn reach(&self, call: Call) -> Answered {
        self.runs().await;
        if Instant::now() < *self.apart_until.lock().unwrap() {
            sleep(UNTIL_IT_BREAKS).await;
            return broken();
        }
        call.pass().await
    }

    /// Records what the answer says about each entry of the request.
    fn hear(&self, asked: &Asked, answer: &[u8]) {
        match asked {
            Asked::Messages => {
                let received: Received<'_> = serde_json::from_slice(answer).expect("an answer to ReceiveMessage");
                let mut book = self.book.open();
                for message in received.messages {
                    book.received(self.number, &message.message_id, &message.receipt_handle);
                }
            }
            Asked::Entries(..) => {
                let answer: Entries<'_> = serde_json::from_slice(answer).expect("an answer to a batch call");
                let successful: Vec<_> = answer.successful.into_iter().map(|entry| entry.id).collect();
                self.note(asked, What::Confirmed, |id| successful.iter().any(|successful| successful == id));
            }
            Asked::DeadLetterQueue => self.book.open().found_dead_letter_queue(self.number),
            _ => self.note(asked, What::Confirmed, |_| true),
        }
    }

    /// Records the event for the entries with these ids.
    fn note(&self, asked: &Asked, what: impl Fn(Ask) -> What, of: impl Fn(&str) -> bool) {
        let mut book = self.book.open();
        match asked {
            Asked::Entries(ask, entries) => {
                for (_, receipt) in entries.iter().filter(|(id, _)| of(id)) {
                    book.called(self.number, receipt, what(*ask));
                }
            }
            Asked::Letter { id, body } => book.letter(self.number, id, body, what(Ask::Letter)),
            Asked::Messages | Asked::DeadLetterQueue | Asked::Else => {}
        }
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").field("number", &self.number).finish_non_exhaustive()
    }
}

/// The request of a call.
enum Asked {
    Messages,
    /// By entry id and receipt handle.
    Entries(Ask, Vec<(String, String)>),
    /// For the message with that id.
    Letter {
        id: String,
        body: String,
    },
    /// The lookup of the dead-letter queue's URL.
    DeadLetterQueue,
    Else,
}

impl Asked {
    fn of(call: &Call) -> Self {
        let request = call.request.body().bytes().unwrap_or_default();
        let entries = |ask| {
            let request: Entries<'_> = serde_json::from_slice(request).expect("a batch call");
            let entry = |entry: Entry<'_>| (entry.id.into_owned(), entry.receipt_handle.into_owned());
            Self::Entries(ask, request.entries.into_iter().map(entry).collect())
        };
        match call.operation.as_str() {
            "ReceiveMessage" => Self::Messages,
            "DeleteMessageBatch" => entries(Ask::Delete),
            "ChangeMessageVisibilityBatch" => entries(Ask::Visibility),
            "SendMessage" => {
                let letter: Value = serde_json::from_slice(request).expect("a message");
                let text = |value: &Value| value.as_str().expect("a text").to_owned();
                let id = text(&letter["MessageAttributes"]["redrive.message_id"]["StringValue"]);
                Self::Letter { id, body: text(&letter["MessageBody"]) }
            }
            "GetQueueUrl" if String::from_utf8_lossy(request).contains("-dlq") => Self::DeadLetterQueue,
            _ => Self::Else,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[derive(Default)]
struct Received<'a> {
    #[serde(borrow)]
    messages: Vec<Message<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Message<'a> {
    #[serde(borrow)]
    message_id: Cow<'a, str>,
    #[serde(borrow)]
    receipt_handle: Cow<'a, str>,
}

/// A batch call, or the answer to one.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Entries<'a> {
    #[serde(borrow)]
    entries: Vec<Entry<'a>>,
    #[serde(borrow)]
    successful: Vec<Entry<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Entry<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    receipt_handle: Cow<'a, str>,
}
