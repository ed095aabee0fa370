//! Proxies in front of a queue that refuse calls.

use std::sync::{Arc, Mutex};

use redrive::{Outgoing, Producer};
use serde_json::{Value, json};

use crate::fake_sqs;

/// The bodies of each call.
type Wire = Arc<Mutex<Vec<Vec<String>>>>;

/// Creates a producer behind a proxy that answers some calls. The queue accepts the others.
fn behind(queue: &str, proxy: impl Fn(&[String]) -> Option<(u16, Value)> + Send + Sync + 'static) -> (Producer, Wire) {
    let wire = Wire::default();
    let calls = wire.clone();
    let client = fake_sqs::client(move |_, request| {
        let entries = request["Entries"].as_array().expect("entries");
        let body = |entry: &Value| entry["MessageBody"].as_str().unwrap().to_owned();
        let bodies: Vec<_> = entries.iter().map(body).collect();
        calls.lock().unwrap().push(bodies.clone());
        let answer = proxy(&bodies).unwrap_or_else(|| {
            let sent = |entry: &Value| json!({ "Id": entry["Id"], "MessageId": body(entry), "MD5OfMessageBody": "" });
            (200, json!({ "Successful": entries.iter().map(sent).collect::<Vec<_>>(), "Failed": [] }))
        });
        async move { answer }
    });
    (Producer::new(client, format!("http://sqs.localhost/000000000000/{queue}")), wire)
}

fn html() -> Value {
    json!("<html>refused</html>")
}

fn ten() -> Vec<Outgoing> {
    (0..10).map(|n| Outgoing::text(n.to_string()).group(n.to_string())).collect()
}

#[tokio::test(start_paused = true)]
async fn message_that_a_proxy_refuses_costs_no_other() {
    let answers: [(u16, fn() -> Value); 7] = [
        (413, html),
        (400, html),
        (403, html),
        (404, html),
        (422, || json!({})),
        (431, html),
        (400, || json!({ "__type": "BlockedByFirewall" })),
    ];
    for queue in ["orders", "orders.fifo"] {
        for (status, answer) in answers {
            let (producer, wire) =
                behind(queue, move |bodies| bodies.iter().any(|body| body == "7").then(|| (status, answer())));
            let results = producer.send_all(ten()).await;
            let refused: Vec<_> = (0..10).filter(|&n| results[n].is_err()).collect();
            assert_eq!(refused, [7], "{status}: {results:?}");
            let error = results[7].as_ref().unwrap_err();
            assert!(error.is_refused() && !error.is_retryable(), "{status}: {error}");
            assert!(!error.is_permission_denied() && !error.is_queue_unavailable(), "{status}: {error}");
            assert!(wire.lock().unwrap().len() <= 19, "{status}: {wire:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn call_that_is_too_large_for_a_proxy_is_sent_in_halves() {
    let (producer, wire) = behind("orders", |bodies| (bodies.len() > 5).then(|| (413, html())));
    assert!(producer.send_all(ten()).await.iter().all(Result::is_ok));
    assert_eq!(wire.lock().unwrap().iter().map(Vec::len).collect::<Vec<_>>(), [10, 5, 5]);
}

#[tokio::test(start_paused = true)]
async fn no_message_is_blamed_when_a_proxy_refuses_all() {
    for status in [400, 403, 404] {
        let (producer, wire) = behind("orders", move |_| Some((status, html())));
        let results = producer.send_all(ten()).await;
        for result in &results {
            let error = result.as_ref().unwrap_err();
            let (is_denied, is_unavailable) = (error.is_permission_denied(), error.is_queue_unavailable());
            assert_eq!((is_denied, is_unavailable), (status == 403, status != 403), "{status}: {error}");
        }
        assert!(wire.lock().unwrap().len() <= 22, "{status}: two attempts with at most 11 calls each");
    }
}

#[tokio::test(start_paused = true)]
async fn denial_by_sqs_is_not_repeated_for_each_message() {
    let (producer, wire) =
        behind("orders", |_| Some((403, json!({ "__type": "AccessDeniedException", "message": "no" }))));
    assert!(producer.send_all(ten()).await.iter().all(Result::is_err));
    let wire = wire.lock().unwrap();
    assert_eq!(
        (wire[0].len(), wire.concat().len()),
        (10, 20),
        "each message is retried once, at its own time: {wire:?}"
    );
}
