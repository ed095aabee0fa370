//! Answers that the local queue does not give.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use redrive::{Outgoing, Producer, ProducerBuilder, SendError, Sent};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::fake_sqs;
use crate::kit::{secs, timed};

/// The bodies and the time of each call.
type Wire = Arc<Mutex<Vec<(Instant, Vec<String>)>>>;

/// Creates a producer whose calls take this long. The answer depends on the call's number, from 0, and its entries.
fn scripted(
    queue: &str,
    takes: Duration,
    answer: impl Fn(usize, &[Value]) -> (u16, Value) + Send + Sync + 'static,
) -> (ProducerBuilder, Wire) {
    let wire = Wire::default();
    let calls = wire.clone();
    let client = fake_sqs::client(move |_, request| {
        let entries = request["Entries"].as_array().expect("entries");
        let bodies = entries.iter().map(|entry| entry["MessageBody"].as_str().unwrap().to_owned()).collect();
        let mut calls = calls.lock().unwrap();
        let answer = answer(calls.len(), entries);
        calls.push((Instant::now(), bodies));
        async move {
            sleep(takes).await;
            answer
        }
    });
    (Producer::builder(client, format!("http://sqs.localhost/000000000000/{queue}")), wire)
}

/// Creates a producer whose answers depend on the call's entries.
fn producer(answer: fn(&[Value]) -> (u16, Value)) -> Producer {
    scripted("orders", Duration::ZERO, move |_, entries| answer(entries)).0.build()
}

fn sent(entries: &[Value]) -> Value {
    sent_but(entries, |_| None)
}

/// Accepts all entries, except those with an error: a code, and whether it is the sender's fault.
fn sent_but(entries: &[Value], error: impl Fn(&Value) -> Option<(&'static str, bool)>) -> Value {
    let (mut successful, mut failed) = (Vec::new(), Vec::new());
    for entry in entries {
        match error(entry) {
            None => {
                successful.push(json!({ "Id": entry["Id"], "MessageId": entry["MessageBody"], "MD5OfMessageBody": "" }))
            }
            Some((code, is_senders)) => {
                failed.push(json!({ "Id": entry["Id"], "Code": code, "SenderFault": is_senders }));
            }
        }
    }
    json!({ "Successful": successful, "Failed": failed })
}

fn error(status: u16, code: &str) -> (u16, Value) {
    (status, json!({ "__type": code, "message": "no" }))
}

fn bodies(wire: &Wire) -> Vec<Vec<String>> {
    wire.lock().unwrap().iter().map(|(_, bodies)| bodies.clone()).collect()
}

fn of_group(group: &str, bodies: &[&str]) -> Vec<Outgoing> {
    bodies.iter().map(|&body| Outgoing::text(body).group(group)).collect()
}

fn error_of(result: &Result<Sent, SendError>) -> &SendError {
    result.as_ref().unwrap_err()
}

#[tokio::test(start_paused = true)]
async fn unnamed_entry_is_unknown() {
    let forgetful = producer(|entries| {
        let named: Vec<_> = entries.iter().filter(|entry| entry["MessageBody"] != "forgotten").cloned().collect();
        (200, sent(&named))
    });
    let results = forgetful.send_all(["a", "forgotten", "b"].map(Outgoing::text)).await;
    assert!(results[0].is_ok() && results[2].is_ok());
    assert!(results[1].as_ref().unwrap_err().is_unknown());
}

#[tokio::test(start_paused = true)]
async fn message_that_fails_its_call_costs_no_other_message() {
    let strict = producer(|entries| {
        if entries.iter().any(|entry| entry["MessageBody"] == "bad") {
            let message = "The request include parameter that is not valid for this queue type";
            return (400, json!({ "__type": "com.amazonaws.sqs#InvalidParameterValueException", "message": message }));
        }
        (200, sent(entries))
    });
    let results = strict.send_all(["a", "bad", "b"].map(Outgoing::text)).await;
    assert_eq!(results[0].as_ref().unwrap().message_id(), "a");
    assert_eq!(results[2].as_ref().unwrap().message_id(), "b");
    let error = results[1].as_ref().unwrap_err();
    assert!(error.is_refused() && error.to_string().contains("InvalidParameterValue"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn unknown_code_is_not_the_messages_fault() {
    for (status, code) in [(400, "NotAuthorized"), (400, "RequestExpired"), (400, "SomethingNew"), (403, "Blocked")] {
        let (builder, _) = scripted("orders", Duration::ZERO, move |_, _| error(status, code));
        let error = builder.build().send(Outgoing::text("x")).await.unwrap_err();
        assert!(error.is_permission_denied() && error.to_string().contains(code), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn message_that_is_denied_once_is_retried_once() {
    for code in ["SignatureDoesNotMatch", "ExpiredToken", "RequestExpired"] {
        let (builder, wire) = scripted("orders", Duration::ZERO, move |call, entries| match call {
            0 => error(403, code),
            _ => (200, sent(entries)),
        });
        builder.build().send(Outgoing::text("x")).await.unwrap();
        assert_eq!(bodies(&wire).len(), 2, "{code}");
    }
    let (builder, wire) = scripted("orders", Duration::ZERO, |_, _| error(403, "AccessDeniedException"));
    assert!(builder.build().send(Outgoing::text("x")).await.unwrap_err().is_permission_denied());
    assert_eq!(bodies(&wire).len(), 2, "no further retry");
}

#[tokio::test(start_paused = true)]
async fn throttled_entry_is_retried_even_if_the_sender_is_blamed() {
    for code in ["KMS.ThrottlingException", "RequestThrottled"] {
        let (builder, _) = scripted("orders", Duration::ZERO, move |call, entries| {
            (200, sent_but(entries, |_| (call < 3).then_some((code, true))))
        });
        builder.build().send(Outgoing::text("x")).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn messages_of_a_group_do_not_pass_a_denied_one() {
    let (builder, wire) = scripted("orders.fifo", Duration::ZERO, |_, entries| {
        (200, sent_but(entries, |entry| (entry["MessageBody"] == "1").then_some(("KMS.AccessDeniedException", true))))
    });
    let results = builder.build().send_all(of_group("g", &["1", "2"])).await;
    assert!(error_of(&results[0]).is_permission_denied());
    assert!(error_of(&results[1]).is_retryable(), "{:?}", results[1]);
    assert!(bodies(&wire).concat().iter().all(|body| body == "1"), "{wire:?}");
}

#[tokio::test(start_paused = true)]
async fn messages_of_a_group_do_not_pass_one_that_was_lost_and_then_refused() {
    let (builder, wire) = scripted("orders.fifo", Duration::ZERO, |call, entries| match call {
        0 => error(500, "InternalFailure"),
        _ => (200, sent_but(entries, |entry| (entry["MessageBody"] == "1").then_some(("InvalidParameterValue", true)))),
    });
    let results = builder.build().send_all(of_group("g", &["1", "2"])).await;
    assert!(error_of(&results[0]).is_unknown());
    assert!(error_of(&results[1]).is_retryable(), "{:?}", results[1]);
    assert!(bodies(&wire).concat().iter().all(|body| body == "1"), "{wire:?}");
}

/// The buffer does not have room for all messages of the group.
#[tokio::test(start_paused = true)]
async fn broken_group_fails_all_messages_of_its_send() {
    let (builder, wire) = scripted("orders.fifo", Duration::ZERO, |_, entries| match &entries[0]["MessageBody"] {
        Value::String(body) if body.starts_with('1') => error(400, "RequestThrottled"),
        _ => (200, sent(entries)),
    });
    let producer = builder.buffer(0).retry_for(secs(5)).build();
    let large = |number: u32, group: &str| Outgoing::text(format!("{number}{}", "x".repeat(900_000))).group(group);
    let messages = [(1, "g"), (2, "g"), (3, "g"), (4, "another"), (5, "g")];
    let results = producer.send_all(messages.map(|(number, group)| large(number, group))).await;
    for number in [1, 2, 3, 5] {
        let error = error_of(&results[number - 1]);
        assert!(error.is_retryable() && !error.is_unknown(), "{number}: {error}");
    }
    assert!(results[3].is_ok(), "another group continues");
    let sent = || bodies(&wire).concat().iter().map(|body| body[..1].to_owned()).collect::<String>();
    assert_eq!(sent().replace('1', ""), "4");
    producer.send_all([large(6, "g")]).await.remove(0).expect("a new send starts again");
    assert!(sent().ends_with('6'));
}

#[tokio::test(start_paused = true)]
async fn group_broken_by_another_sender_sends_no_more_messages() {
    let (builder, wire) = scripted("orders.fifo", Duration::ZERO, |_, entries| match &entries[0]["MessageBody"] {
        Value::String(body) if body.starts_with('1') => error(400, "RequestThrottled"),
        _ => (200, sent(entries)),
    });
    let producer = builder.buffer(0).retry_for(secs(5)).build();
    let large = |number: u32| Outgoing::text(format!("{number}{}", "x".repeat(900_000))).group("g");
    let first = tokio::spawn({
        let producer = producer.clone();
        async move { producer.send(large(1)).await }
    });
    sleep(Duration::from_millis(1)).await;
    let results = producer.send_all([2, 3].map(large)).await;
    assert!(results.iter().all(|result| error_of(result).is_retryable()), "{results:?}");
    assert!(first.await.unwrap().is_err());
    assert!(bodies(&wire).concat().iter().all(|body| body.starts_with('1')));
}

#[tokio::test(start_paused = true)]
async fn message_that_waits_too_long_for_a_free_call_is_not_retried() {
    let takes = secs(4);
    let (builder, wire) = scripted("orders.fifo", takes, |call, entries| match call {
        0 => error(500, "InternalFailure"),
        _ => (200, sent(entries)),
    });
    let producer = builder.concurrency(1).retry_for(secs(5)).linger(Duration::ZERO).build();
    let send = |body: &'static str| {
        let producer = producer.clone();
        tokio::spawn(async move { producer.send(Outgoing::text(body).group(body)).await })
    };
    let first = send("1");
    sleep(secs(1)).await;
    let second = send("2");
    let error = first.await.unwrap().unwrap_err();
    assert!(error.is_unknown() && error.to_string().contains("InternalFailure"), "{error}");
    second.await.unwrap().unwrap();
    assert_eq!(bodies(&wire).concat(), ["1", "2"]);
}

#[tokio::test(start_paused = true)]
async fn messages_of_a_refused_call_are_sent_alone_until_the_deadline() {
    let (builder, wire) = scripted("orders", secs(4), |_, entries| match entries.len() {
        1 => (200, sent(entries)),
        _ => error(400, "InvalidParameterValue"),
    });
    let messages = (0..10).map(|n| Outgoing::text(n.to_string()));
    let (results, took) = timed(builder.retry_for(secs(10)).build().send_all(messages)).await;
    let wire = wire.lock().unwrap();
    let begin = wire[0].0;
    assert!(wire.iter().all(|(at, _)| *at < begin + secs(10)), "{wire:?}");
    assert!(took <= secs(14), "{took:?}");
    let accepted = results.iter().filter(|result| result.is_ok()).count();
    assert_eq!(accepted, wire.len() - 1);
    assert!(results.iter().filter_map(|result| result.as_ref().err()).all(|error| error.is_retryable()));
}

#[tokio::test(start_paused = true)]
async fn retry_does_not_wait_for_another_stalled_call() {
    let (wire, begun) = (Wire::default(), Instant::now());
    let calls = wire.clone();
    let client = fake_sqs::client(move |_, request| {
        let entries = request["Entries"].as_array().expect("entries");
        let has = |body: &str| entries.iter().any(|entry| entry["MessageBody"] == body);
        let mut calls = calls.lock().unwrap();
        let fails = |entry: &Value| (calls.is_empty() && entry["MessageBody"] == "b1").then_some(("Busy", false));
        let (answer, stalls) = ((200, sent_but(entries, fails)), has("a2"));
        let bodies = ["a1", "a2", "b1"].into_iter().filter(|body| has(body)).map(str::to_owned).collect();
        calls.push((Instant::now(), bodies));
        async move {
            sleep(if stalls { secs(8) } else { Duration::ZERO }).await;
            answer
        }
    });
    let producer = Producer::new(client, "http://sqs.localhost/000000000000/orders.fifo");
    let message = |body: &str| Outgoing::text(body).group(&body[..1]);
    let results = producer.send_all(["a1", "b1", "a2"].map(message)).await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    let wire = wire.lock().unwrap();
    let (again, _) = wire[1..].iter().find(|(_, bodies)| bodies == &["b1"]).expect("it is retried");
    assert!(again.duration_since(begun) < secs(1), "{wire:?}");
}
