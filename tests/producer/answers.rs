//! Answers that the local queue does not give.

use std::future::ready;

use redrive::{Outgoing, Producer};
use serde_json::{Value, json};

use crate::fake_sqs;

/// A producer whose calls are answered by their entries.
fn producer(answer: fn(&[Value]) -> (u16, Value)) -> Producer {
    let client = fake_sqs::client(move |_, request| ready(answer(request["Entries"].as_array().expect("entries"))));
    Producer::new(client, "http://sqs.localhost/000000000000/orders")
}

fn sent(entries: &[Value]) -> Value {
    let successful = entries
        .iter()
        .map(|entry| json!({ "Id": entry["Id"], "MessageId": entry["MessageBody"], "MD5OfMessageBody": "" }));
    json!({ "Successful": successful.collect::<Vec<_>>(), "Failed": [] })
}

#[tokio::test(start_paused = true)]
async fn an_entry_in_neither_list_is_unknown() {
    let forgetful = producer(|entries| {
        let named: Vec<_> = entries.iter().filter(|entry| entry["MessageBody"] != "forgotten").cloned().collect();
        (200, sent(&named))
    });
    let results = forgetful.send_all(["a", "forgotten", "b"].map(Outgoing::text)).await;
    assert!(results[0].is_ok() && results[2].is_ok());
    assert!(results[1].as_ref().unwrap_err().is_unknown());
}

#[tokio::test(start_paused = true)]
async fn a_message_that_has_its_call_refused_costs_itself_only() {
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
