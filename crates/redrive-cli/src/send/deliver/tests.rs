use std::sync::{Arc, Mutex};

use aws_sdk_sqs::config::http::{HttpRequest, HttpResponse};
use aws_sdk_sqs::config::{Credentials, Region, RuntimeComponents};
use aws_sdk_sqs::error::ConnectorError;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_types::body::SdkBody;
use redrive::internals::limits::MAX_MESSAGE_BYTES;
use redrive::{AttributeValue, Outgoing};
use redrive_local::{Faults, Sqs};
use serde_json::{Value, json};
use tokio::time::{Duration, Instant};

use super::*;

/// Returns the answer to a call, given the number of earlier calls and the bodies in it. `None` breaks the connection.
type Script = fn(usize, &[String]) -> Option<(u16, Value)>;

/// An SQS that answers by a script and records the bodies of each call.
#[derive(Clone, Debug)]
struct Scripted {
    script: Script,
    calls: Arc<Mutex<Vec<Vec<String>>>>,
}

impl HttpClient for Scripted {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Scripted {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let request: Value = serde_json::from_slice(request.body().bytes().unwrap()).unwrap();
        let entries = request["Entries"].as_array().unwrap();
        let bodies: Vec<_> = entries.iter().map(|entry| entry["MessageBody"].as_str().unwrap().to_owned()).collect();
        let mut calls = self.calls.lock().unwrap();
        let answer = (self.script)(calls.len(), &bodies);
        calls.push(bodies);
        HttpConnectorFuture::ready(match answer {
            Some((status, body)) => Ok(HttpResponse::new(status.try_into().unwrap(), SdkBody::from(body.to_string()))),
            None => Err(ConnectorError::io(std::io::Error::from(std::io::ErrorKind::ConnectionReset).into())),
        })
    }
}

fn queue_of(client: Client, name: &str) -> Destination {
    let url = format!("http://sqs.localhost/000000000000/{name}");
    Destination::new(client, url, name.to_owned(), "http://sqs.localhost".to_owned())
}

fn scripted(name: &str, script: Script) -> (Destination, Arc<Mutex<Vec<Vec<String>>>>) {
    let scripted = Scripted { script, calls: Arc::default() };
    let calls = scripted.calls.clone();
    let config = aws_sdk_sqs::Config::builder()
        .behavior_version_latest()
        .region(Region::from_static("us-east-1"))
        .credentials_provider(Credentials::new("a", "b", None, None, "test"))
        .endpoint_url("http://sqs.localhost")
        .http_client(scripted);
    (queue_of(Client::from_conf(config.build()), name), calls)
}

fn messages(bodies: &[&str]) -> Vec<Message> {
    (1..).zip(bodies).map(|(line, body)| Message::new(InputPosition::Line(line), *body)).collect()
}

fn of_group(bodies: &[&str]) -> Vec<Message> {
    of_groups(&bodies.iter().map(|body| (*body, "g")).collect::<Vec<_>>())
}

fn of_groups(bodies: &[(&str, &str)]) -> Vec<Message> {
    let message = |(line, (body, group)): (u64, &(&str, &str))| Message {
        position: InputPosition::Line(line),
        outgoing: Outgoing::text(*body).group(*group),
    };
    (1..).zip(bodies).map(message).collect()
}

/// A little longer than a message is retried.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(61);

fn sent(id: usize) -> Value {
    json!({"Id": id.to_string(), "MessageId": "m", "MD5OfMessageBody": "0"})
}

fn failed(id: usize, senders: bool) -> Value {
    json!({"Id": id.to_string(), "Code": "Broken", "Message": "no", "SenderFault": senders})
}

/// Returns the outcomes in the order of the input.
fn outcomes(delivered: Delivered) -> Vec<SendOutcome> {
    let mut outcomes = delivered.outcomes;
    outcomes.sort_by_key(|(position, _)| *position);
    outcomes.into_iter().map(|(_, outcome)| outcome).collect()
}

#[tokio::test(start_paused = true)]
async fn only_an_entry_without_sender_fault_is_sent_again() {
    let (queue, calls) = scripted("orders", |before, _| match before {
        0 => Some((200, json!({"Successful": [sent(0)], "Failed": [failed(1, false), failed(2, true)]}))),
        _ => Some((200, json!({"Successful": [sent(0)], "Failed": []}))),
    });
    let delivered = queue.deliver(messages(&["a", "b", "c"])).await;
    assert_eq!(
        outcomes(delivered),
        [SendOutcome::Sent, SendOutcome::Sent, SendOutcome::Failed("Broken: no".to_owned())]
    );
    assert_eq!(*calls.lock().unwrap(), [vec!["a", "b", "c"], vec!["b"]]);
}

#[tokio::test(start_paused = true)]
async fn an_entry_that_keeps_failing_is_given_up_and_reported() {
    let (queue, calls) =
        scripted("orders", |_, _| Some((200, json!({"Successful": [], "Failed": [failed(0, false)]}))));
    let began = Instant::now();
    let delivered = queue.deliver(messages(&["a"])).await;
    assert_eq!(delivered.hopeless, None, "other messages may still arrive");
    let attempts = calls.lock().unwrap().len();
    assert_eq!(outcomes(delivered), [SendOutcome::Failed(format!("Broken: no (after {attempts} attempts)"))]);
    assert!(attempts >= 4 && began.elapsed() < GIVEN_UP_AFTER, "{attempts} in {:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_entry_in_neither_list_has_an_unknown_outcome() {
    let (queue, calls) = scripted("orders", |_, _| Some((200, json!({"Successful": [sent(1)], "Failed": []}))));
    let outcomes = outcomes(queue.deliver(messages(&["a", "b"])).await);
    assert!(
        matches!(&outcomes[..], [SendOutcome::Unknown(cause), SendOutcome::Sent] if cause.contains("the answer of SQS does not name it")),
        "{outcomes:?}"
    );
    assert_eq!(calls.lock().unwrap().len(), 1, "a second send could store the message twice");
}

#[tokio::test(start_paused = true)]
async fn a_message_of_a_group_is_sent_only_after_the_one_before_it() {
    let (queue, calls) = scripted("orders.fifo", |before, _| match before {
        0 => Some((200, json!({"Successful": [], "Failed": [failed(0, false)]}))),
        _ => Some((200, json!({"Successful": [sent(0)], "Failed": []}))),
    });
    let outcomes = outcomes(queue.deliver(of_group(&["a", "b", "c"])).await);
    assert_eq!(outcomes, [SendOutcome::Sent, SendOutcome::Sent, SendOutcome::Sent]);
    assert_eq!(*calls.lock().unwrap(), [["a"], ["a"], ["b"], ["c"]]);
}

#[tokio::test(start_paused = true)]
async fn the_later_messages_of_a_group_are_sent_after_an_earlier_one_is_given_up() {
    let (queue, calls) = scripted("orders.fifo", |_, bodies| match bodies[0].as_str() {
        "a" => Some((200, json!({"Successful": [sent(0)], "Failed": []}))),
        "b" => Some((200, json!({"Successful": [], "Failed": [failed(0, false)]}))),
        _ => Some((200, json!({"Successful": [sent(0)], "Failed": []}))),
    });
    let outcomes = outcomes(queue.deliver(of_group(&["a", "b", "c", "d"])).await);
    assert!(
        matches!(&outcomes[..], [SendOutcome::Sent, SendOutcome::Failed(_), SendOutcome::Sent, SendOutcome::Sent]),
        "{outcomes:?}"
    );
    assert!(calls.lock().unwrap().ends_with(&[vec!["b".to_owned()], vec!["c".to_owned()], vec!["d".to_owned()]]));
}

#[tokio::test(start_paused = true)]
async fn messages_of_one_group_on_a_fair_queue_are_sent_in_any_order() {
    let (queue, _) = scripted("orders", |before, _| match before {
        0 => Some((200, json!({"Successful": [sent(1)], "Failed": [failed(0, false)]}))),
        _ => Some((200, json!({"Successful": [sent(0)], "Failed": []}))),
    });
    assert_eq!(outcomes(queue.deliver(of_group(&["a", "b"])).await), [SendOutcome::Sent, SendOutcome::Sent]);
}

#[tokio::test(start_paused = true)]
async fn a_call_without_an_answer_has_an_unknown_outcome() {
    let (queue, calls) = scripted("orders", |_, _| None);
    let began = Instant::now();
    let delivered = queue.deliver(messages(&["a"])).await;
    assert!(delivered.hopeless.is_some());
    assert!(matches!(outcomes(delivered)[..], [SendOutcome::Unknown(_)]));
    let attempts = calls.lock().unwrap().len();
    assert!(attempts >= 4 && began.elapsed() < GIVEN_UP_AFTER, "{attempts} in {:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_settles_an_earlier_unknown_outcome() {
    let (queue, _) =
        scripted("orders", |before, _| (before > 0).then(|| (200, json!({"Successful": [sent(0)], "Failed": []}))));
    assert_eq!(outcomes(queue.deliver(messages(&["a"])).await), [SendOutcome::Sent]);
}

#[tokio::test(start_paused = true)]
async fn the_others_are_sent_if_one_message_is_refused() {
    let (queue, calls) = scripted("orders", |_, bodies| {
        if bodies.iter().any(|body| body == "bad") {
            Some((400, json!({"__type": "com.amazonaws.sqs#InvalidMessageContents", "message": "no"})))
        } else {
            Some((200, json!({"Successful": [sent(0)], "Failed": []})))
        }
    });
    let delivered = queue.deliver(messages(&["a", "bad", "c"])).await;
    assert_eq!(delivered.hopeless, None);
    let outcomes = outcomes(delivered);
    assert!(
        matches!(&outcomes[..], [SendOutcome::Sent, SendOutcome::Failed(cause), SendOutcome::Sent] if cause.contains("no")),
        "{outcomes:?}"
    );
    assert_eq!(calls.lock().unwrap().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn sending_continues_if_a_message_is_refused_after_a_throttle() {
    let (queue, _) = scripted("orders", |before, _| {
        let code = if before == 0 { "RequestThrottled" } else { "InvalidMessageContents" };
        Some((400, json!({"__type": format!("com.amazonaws.sqs#{code}"), "message": "no"})))
    });
    let delivered = queue.deliver(messages(&["a"])).await;
    assert_eq!(delivered.hopeless, None);
    assert_eq!(outcomes(delivered), [SendOutcome::Failed("sqs:SendMessage: InvalidMessageContents: no".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn a_throttle_at_the_last_attempt_is_hopeless_only_without_another_answer() {
    let (queue, _) = scripted("orders", |before, _| match before {
        0 => Some((200, json!({"Successful": [], "Failed": [failed(0, false)]}))),
        _ => Some((400, json!({"__type": "com.amazonaws.sqs#RequestThrottled", "message": "no"}))),
    });
    assert_eq!(queue.deliver(messages(&["a"])).await.hopeless, None);
    let (queue, _) = scripted("orders", |_, _| {
        Some((400, json!({"__type": "com.amazonaws.sqs#RequestThrottled", "message": "no"})))
    });
    let delivered = queue.deliver(messages(&["a"])).await;
    assert!(delivered.hopeless.is_some() && delivered.outcomes[0].1 == SendOutcome::Hopeless, "{delivered:?}");
}

#[tokio::test(start_paused = true)]
async fn missing_deduplication_ids_are_one_error_in_either_form_of_the_answer() {
    let (queue, calls) = scripted("orders.fifo", |_, _| {
        let failed = |id: usize| {
            json!({"Id": id.to_string(), "Code": "InvalidParameterValue", "SenderFault": true,
            "Message": "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided"})
        };
        Some((200, json!({"Successful": [], "Failed": [failed(0), failed(1)]})))
    });
    let two_groups = || of_groups(&[("a", "g"), ("b", "h")]);
    let delivered = queue.deliver(two_groups()).await;
    assert!(delivered.hopeless.as_ref().unwrap().contains("pass --deduplication-id"), "{delivered:?}");
    assert_eq!(
        (outcomes(delivered), calls.lock().unwrap().len()),
        (vec![SendOutcome::Hopeless, SendOutcome::Hopeless], 1)
    );

    let (queue, calls) = scripted("orders.fifo", |_, _| {
        Some((
            400,
            json!({"__type": "com.amazonaws.sqs#InvalidParameterValue", "message": "ContentBasedDeduplication"}),
        ))
    });
    let delivered = queue.deliver(two_groups()).await;
    assert!(delivered.hopeless.as_ref().unwrap().contains("pass --deduplication-id"), "{delivered:?}");
    // A call that is refused as a whole is usually refused for one of its messages, so each is tried alone.
    assert_eq!(
        (outcomes(delivered), calls.lock().unwrap().len()),
        (vec![SendOutcome::Hopeless, SendOutcome::Hopeless], 3)
    );
}

#[tokio::test(start_paused = true)]
async fn a_missing_queue_is_hopeless() {
    let delivered = queue_of(Sqs::with_seed(1).client(), "orders").deliver(messages(&["a", "b"])).await;
    assert!(delivered.hopeless.as_ref().unwrap().contains("no such queue"), "{delivered:?}");
    assert_eq!(outcomes(delivered), [SendOutcome::Hopeless, SendOutcome::Hopeless]);
}

#[tokio::test(start_paused = true)]
async fn each_message_of_a_long_run_of_faults_is_in_the_queue_or_reported() {
    let sqs = Sqs::with_seed(7);
    sqs.client().create_queue().queue_name("orders").send().await.unwrap();
    sqs.set_faults(Faults::none().throttles(0.2).lost_answers(0.2).failed_entries(0.3).refused_entries(0.1));
    let queue = queue_of(sqs.client(), "orders");
    let (mut expected, mut told) = (0, 0);
    for _ in 0..50 {
        for outcome in outcomes(queue.deliver(messages(&["a", "b", "c"])).await) {
            match outcome {
                SendOutcome::Sent => expected += 1,
                // An outcome is unknown if one attempt was not answered and the next one was refused.
                SendOutcome::Failed(_) | SendOutcome::Unknown(_) => told += 1,
                SendOutcome::Hopeless => panic!("other messages can be sent"),
            }
        }
    }
    assert!(expected > 100 && told > 5, "{expected} {told}");
    assert!(sqs.messages("orders").len() >= expected);
}

#[tokio::test(start_paused = true)]
async fn the_others_are_sent_if_a_proxy_refuses_one_message() {
    fn taken(bodies: &[String]) -> Option<(u16, Value)> {
        Some((200, json!({"Successful": (0..bodies.len()).map(sent).collect::<Vec<_>>(), "Failed": []})))
    }
    fn has_b(bodies: &[String]) -> bool {
        bodies.iter().any(|body| body == "b")
    }
    let scripts: [Script; 3] = [
        |_, bodies| if has_b(bodies) { Some((413, json!("<html>"))) } else { taken(bodies) },
        |_, bodies| if has_b(bodies) { Some((403, json!("<html>"))) } else { taken(bodies) },
        |_, bodies| if has_b(bodies) { Some((400, json!({"__type": "BlockedByFirewall"}))) } else { taken(bodies) },
    ];
    for script in scripts {
        for (name, most_calls) in [("orders", 5), ("orders.fifo", 4)] {
            let (queue, calls) = scripted(name, script);
            let delivered = queue.deliver(of_group(&["a", "b", "c"])).await;
            assert_eq!(delivered.hopeless, None);
            let outcomes = outcomes(delivered);
            assert!(
                matches!(&outcomes[..], [SendOutcome::Sent, SendOutcome::Failed(_), SendOutcome::Sent]),
                "{outcomes:?}"
            );
            assert!(calls.lock().unwrap().len() <= most_calls, "{calls:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn sending_stops_if_a_proxy_refuses_everything() {
    let (queue, calls) = scripted("orders", |_, _| Some((403, json!("<html>"))));
    let delivered = queue.deliver(messages(&["a", "b"])).await;
    assert!(delivered.hopeless.as_ref().unwrap().contains("does not allow it"), "{delivered:?}");
    assert_eq!(outcomes(delivered), [SendOutcome::Hopeless, SendOutcome::Hopeless]);
    // Each is tried twice, because a proxy's refusal may be temporary.
    assert!(calls.lock().unwrap().len() <= 6, "{calls:?}");
}

/// Returns an account with a queue that accepts 2,048 bytes.
async fn small_queue() -> (Sqs, Destination) {
    let sqs = Sqs::with_seed(1);
    let limit = aws_sdk_sqs::types::QueueAttributeName::MaximumMessageSize;
    sqs.client().create_queue().queue_name("orders").attributes(limit, "2048").send().await.unwrap();
    let queue = queue_of(sqs.client(), "orders");
    (sqs, queue)
}

#[tokio::test(start_paused = true)]
async fn a_moved_message_is_sent_without_its_added_attributes_if_it_is_too_large_with_them() {
    let (sqs, queue) = small_queue().await;
    let moved = |line| Message {
        position: InputPosition::Line(line),
        outgoing: Outgoing::text("x".repeat(2_020))
            .attribute("traceparent", AttributeValue::string("00-1-2-01"))
            .attribute("redrive.id", AttributeValue::string("7")),
    };
    assert_eq!(outcomes(queue.deliver(vec![moved(1)]).await), [SendOutcome::Sent]);
    assert_eq!(outcomes(queue.deliver(vec![moved(2)]).await), [SendOutcome::Sent]);
    assert_eq!(sqs.messages("orders").len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_too_large_fails_alone_and_names_the_limit() {
    let (_, queue) = small_queue().await;
    let large = "x".repeat(2_049);
    let outcomes = outcomes(queue.deliver(messages(&["a", &large, "c"])).await);
    let [SendOutcome::Sent, SendOutcome::Failed(cause), SendOutcome::Sent] = &outcomes[..] else {
        panic!("{outcomes:?}")
    };
    assert!(cause.contains("2049 bytes") && cause.contains("its queue accepts 2048 bytes"), "{cause}");
}

#[tokio::test(start_paused = true)]
async fn a_call_contains_at_most_1_mib() {
    let (queue, calls) = scripted("orders", |_, bodies| {
        Some((200, json!({"Successful": (0..bodies.len()).map(sent).collect::<Vec<_>>(), "Failed": []})))
    });
    let half = "x".repeat(MAX_MESSAGE_BYTES / 2);
    let outcomes = outcomes(queue.deliver(messages(&[&half, &half, &half, &format!("{half}x")])).await);
    assert!(outcomes.iter().all(|outcome| *outcome == SendOutcome::Sent), "{outcomes:?}");
    let mut sizes: Vec<_> = calls.lock().unwrap().iter().map(Vec::len).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [1, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_sqs_always_refuses_is_not_sent() {
    let (queue, calls) = scripted("orders", |_, _| panic!("the message was sent"));
    let with_attributes = |count| {
        (0..count)
            .fold(Outgoing::text("a"), |outgoing, n| outgoing.attribute(n.to_string(), AttributeValue::string("b")))
    };
    let large = Outgoing::text("x".repeat(MAX_MESSAGE_BYTES)).attribute("a", AttributeValue::string("b"));
    for (outgoing, expected) in [
        (Outgoing::text("a\0"), "U+0000"),
        (with_attributes(11), "11 attributes"),
        (large, "it has 1048584 bytes with its attributes, and SQS accepts 1048576"),
    ] {
        let delivered = queue.deliver(vec![Message { position: InputPosition::Whole, outgoing }]).await;
        assert_eq!(delivered.hopeless, None);
        let outcomes = outcomes(delivered);
        assert!(matches!(&outcomes[..], [SendOutcome::Failed(cause)] if cause.contains(expected)), "{outcomes:?}");
    }
    assert!(calls.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_message_arrives_exactly_as_in_the_input() {
    let sqs = Sqs::with_seed(1);
    sqs.client().create_queue().queue_name("orders").send().await.unwrap();
    let queue = queue_of(sqs.client(), "orders");
    let outgoing = Outgoing::text("a").group("g").deduplication_id("that of a FIFO queue");
    assert!(matches!(
        outcomes(queue.deliver(vec![Message { position: InputPosition::Whole, outgoing }]).await)[..],
        [SendOutcome::Failed(_)]
    ));
    let outgoing = Outgoing::text("a").group("g").deduplication_id("d");
    assert_eq!(
        outcomes(queue.deliver(vec![Message { position: InputPosition::Whole, outgoing }]).await),
        [SendOutcome::Sent]
    );
    let received = sqs.client().receive_message().queue_url("http://sqs.localhost/000000000000/orders");
    let received = received.message_attribute_names("All").message_system_attribute_names("All".into());
    let message = received.send().await.unwrap().messages.unwrap().remove(0);
    assert_eq!(message.message_attributes, None, "a producer would add an attribute");
    let system = message.attributes.unwrap();
    assert_eq!(system[&"MessageGroupId".into()], "g");
    // A standard queue refuses the deduplication id that an event of a FIFO queue contains.
    assert!(!system.contains_key(&"MessageDeduplicationId".into()));
}
