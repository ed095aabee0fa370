//! Tests that no body and no receipt handle appears in a log or an error, whatever SQS or a server in its place
//! answers.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::http::HttpResponse;
use redrive::{Effects, Error, Outcome, ReceiptHandle, ReceiveCount};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::kit::{Queue, secs};
use crate::log;
use crate::wire::{Call, through};

const BODY: &str = "an order of Jane Doe, card 4111 1111 1111 1111";

/// An answer to a call in place of SQS's.
#[derive(Clone, Copy, Debug)]
enum Answer {
    /// An answer to a receive that is cut off, for every operation.
    BreaksOff,
    /// A proxy's page that quotes the request.
    Page(u16),
    /// An SQS error that quotes the refused value.
    Refusal(&'static str),
    /// The same error for each entry of a call.
    RefusedEntries(&'static str),
}

const ANSWERS: [Answer; 8] = [
    Answer::BreaksOff,
    Answer::Page(200),
    Answer::Page(413),
    Answer::Page(500),
    Answer::Refusal("ReceiptHandleIsInvalid"),
    Answer::Refusal("InvalidParameterValue"),
    Answer::Refusal("AccessDeniedException"),
    Answer::RefusedEntries("ReceiptHandleIsInvalid"),
];

const OPERATIONS: [&str; 7] = [
    "GetQueueAttributes",
    "ReceiveMessage",
    "DeleteMessageBatch",
    "ChangeMessageVisibilityBatch",
    "GetQueueUrl",
    "SendMessage",
    "SendMessageBatch",
];

impl Answer {
    fn to(self, call: &Call, handle: &str) -> HttpResponse {
        let request: Value = serde_json::from_slice(call.request.body().bytes().unwrap_or_default()).unwrap();
        let handle = request["Entries"][0]["ReceiptHandle"].as_str().unwrap_or(handle);
        // A refusal quotes the values of the call.
        let quote = match call.operation.as_str() {
            "SendMessage" | "SendMessageBatch" => format!("the message \"{BODY}\" is not valid"),
            "DeleteMessageBatch" | "ChangeMessageVisibilityBatch" => {
                format!("the receipt handle {handle} is not valid")
            }
            _ => "this is not valid".to_owned(),
        };
        let (status, content_type, body) = match self {
            Self::BreaksOff => {
                let whole =
                    json!({ "Messages": [{ "Body": BODY, "ReceiptHandle": handle, "MessageId": "m" }] }).to_string();
                (200, "application/x-amz-json-1.0", whole[..whole.len() - 5].to_owned())
            }
            Self::Page(status) => (status, "text/html", format!("<html>{request}: {BODY}, {handle}</html>")),
            Self::Refusal(code) => {
                let error = json!({ "__type": format!("com.amazonaws.sqs#{code}"), "message": quote });
                (400, "application/x-amz-json-1.0", error.to_string())
            }
            Self::RefusedEntries(code) => {
                let entries = request["Entries"].as_array().cloned().unwrap_or_default();
                let failed = entries
                    .iter()
                    .map(|entry| json!({ "Id": entry["Id"], "Code": code, "SenderFault": true, "Message": quote }));
                let answer = json!({ "Successful": [], "Failed": failed.collect::<Vec<_>>() });
                (200, "application/x-amz-json-1.0", answer.to_string())
            }
        };
        let mut response = HttpResponse::new(status.try_into().unwrap(), body.into());
        response.headers_mut().insert("content-type", content_type);
        response
    }
}

/// The log lines and handles of a worker or a producer.
#[derive(Default)]
struct Seen {
    lines: Vec<String>,
    handles: Vec<String>,
}

/// Returns a client whose calls of that operation get this answer: from the first call on, or once a handler has begun.
fn client_of(queue: &Queue, operation: &'static str, answer: Answer, seen: &Arc<Mutex<Seen>>) -> Client {
    let seen = seen.clone();
    let at_once = ["GetQueueAttributes", "ReceiveMessage", "SendMessageBatch"].contains(&operation);
    through(&queue.client, move |call| {
        let handle = seen.lock().unwrap().handles.last().cloned();
        async move {
            if call.operation == operation && (at_once || handle.is_some()) {
                return Ok(answer.to(&call, handle.as_deref().unwrap_or("AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a")));
            }
            call.pass().await
        }
    })
}

/// Runs a worker on a queue whose calls of that operation get this answer. Its handler causes calls of all kinds.
async fn worker(operation: &'static str, answer: Answer, seen: &Arc<Mutex<Seen>>) -> Option<Error> {
    let (queue, _dead) = Queue::with_dead_letters("orders", 100).await;
    for _ in 0..3 {
        queue.send(BODY).await;
    }
    let client = client_of(&queue, operation, answer, seen);
    let noted = seen.clone();
    let place = move |ReceiptHandle(handle): ReceiptHandle, ReceiveCount(count): ReceiveCount| {
        let number = {
            let mut seen = noted.lock().unwrap();
            seen.handles.push(handle);
            seen.handles.len()
        };
        async move {
            // Longer than a third of a lease, so that a heartbeat follows.
            sleep(secs(12)).await;
            match number % 3 {
                0 if count < 3 => Outcome::RetryAfter(secs(1)),
                1 => Outcome::DeadLetter("no order".into()),
                _ => Outcome::Done,
            }
        }
    };
    let effects = Effects::with_client(client.clone());
    let worker = redrive::handler(place).effects(effects).worker(client, &queue.url).drain_timeout(Duration::ZERO);
    let ended = timeout(secs(300), worker.run_until(sleep(secs(100)))).await;
    ended.expect("it ends").err()
}

#[cfg(feature = "producer")]
async fn producer(answer: Answer, seen: &Arc<Mutex<Seen>>) -> Option<String> {
    let queue = Queue::standard().await;
    let client = client_of(&queue, "SendMessageBatch", answer, seen);
    let producer = redrive::Producer::builder(client, &queue.url).retry_for(secs(1)).build();
    let sent = producer.send(redrive::Outgoing::text(BODY)).await;
    producer.close().await;
    sent.err().map(|error| format!("{error} {error:?}"))
}

#[tokio::test(start_paused = true)]
async fn no_payload_of_a_call_is_logged_for_any_answer() {
    for operation in OPERATIONS {
        // Another test's thread may have cached that no subscriber is interested in a callsite.
        tracing::callsite::rebuild_interest_cache();
        let mut said = 0;
        for answer in ANSWERS {
            let seen = Arc::<Mutex<Seen>>::default();
            let heard = seen.clone();
            let _guard = log::to(move |line| heard.lock().unwrap().lines.push(line.text));
            let error = worker(operation, answer, &seen).await.map(|error| format!("{error} {error:?}"));
            #[cfg(feature = "producer")]
            let error = if operation == "SendMessageBatch" { producer(answer, &seen).await } else { error };
            let Seen { lines, handles } = &*seen.lock().unwrap();
            for text in lines.iter().chain(&error) {
                said += usize::from(text.contains("sqs:") || text.contains("cannot be read"));
                let is_shown = |payload: &str| text.contains(payload);
                let shows = is_shown("Jane")
                    || is_shown("4111")
                    || is_shown("AQEB")
                    || handles.iter().any(|handle| is_shown(handle));
                assert!(!shows, "{operation}, {answer:?}: {text}");
            }
        }
        assert!(said > 0 || cfg!(not(feature = "producer")), "{operation}: no log line or error names the failure");
    }
}
