use std::sync::{Arc, Mutex};

use aws_sdk_sqs::config::http::{HttpRequest, HttpResponse};
use aws_sdk_sqs::config::{Credentials, Region, RuntimeComponents};
use aws_sdk_sqs::error::ConnectorError;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_types::body::SdkBody;
use redrive_local::{Faults, Sqs};
use serde_json::{Value, json};

use super::*;

/// What a call is answered with, given how many there were before it and the bodies it has. `None`: the connection breaks.
type Script = fn(usize, &[String]) -> Option<(u16, Value)>;

/// An SQS by a script, which keeps the bodies of each call.
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

fn queue_of(client: Client, name: &str) -> Queue {
    let url = format!("http://sqs.localhost/000000000000/{name}");
    Queue::new(client, url, name.to_owned(), "http://sqs.localhost".to_owned())
}

fn scripted(name: &str, script: Script) -> (Queue, Arc<Mutex<Vec<Vec<String>>>>) {
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
    let message = |(line, body): (u64, &&str)| Message::new(Place::Line(line), (*body).to_owned());
    (1..).zip(bodies).map(message).collect()
}

fn of_group(bodies: &[&str]) -> Vec<Message> {
    let in_group = |message: Message| Message { group: Some("g".to_owned()), ..message };
    messages(bodies).into_iter().map(in_group).collect()
}

fn sent(id: usize) -> Value {
    json!({"Id": id.to_string(), "MessageId": "m", "MD5OfMessageBody": "0"})
}

fn failed(id: usize, senders: bool) -> Value {
    json!({"Id": id.to_string(), "Code": "Broken", "Message": "no", "SenderFault": senders})
}

/// In the order of the input.
fn fates(delivered: Delivered) -> Vec<Fate> {
    let mut fates = delivered.fates;
    fates.sort_by_key(|(place, _)| *place);
    fates.into_iter().map(|(_, fate)| fate).collect()
}

#[tokio::test(start_paused = true)]
async fn an_entry_that_failed_for_no_fault_of_its_own_is_sent_again_and_no_other() {
    let (queue, calls) = scripted("orders", |before, _| match before {
        0 => Some((200, json!({"Successful": [sent(0)], "Failed": [failed(1, false), failed(2, true)]}))),
        _ => Some((200, json!({"Successful": [sent(0)], "Failed": []}))),
    });
    let delivered = queue.deliver(messages(&["a", "b", "c"])).await;
    assert_eq!(fates(delivered), [Fate::Sent, Fate::Sent, Fate::Failed("Broken: no".to_owned())]);
    assert_eq!(*calls.lock().unwrap(), [vec!["a", "b", "c"], vec!["b"]]);
}

#[tokio::test(start_paused = true)]
async fn an_entry_that_keeps_failing_is_given_up_and_told() {
    let (queue, calls) =
        scripted("orders", |_, _| Some((200, json!({"Successful": [], "Failed": [failed(0, false)]}))));
    let delivered = queue.deliver(messages(&["a"])).await;
    assert_eq!(delivered.hopeless, None, "others may still arrive");
    assert_eq!(fates(delivered), [Fate::Failed("Broken: no".to_owned())]);
    assert_eq!(calls.lock().unwrap().len(), ATTEMPTS as usize);
}

#[tokio::test(start_paused = true)]
async fn an_entry_in_neither_list_is_of_unknown_outcome() {
    let (queue, calls) = scripted("orders", |_, _| Some((200, json!({"Successful": [sent(1)], "Failed": []}))));
    let fates = fates(queue.deliver(messages(&["a", "b"])).await);
    assert!(
        matches!(&fates[..], [Fate::Unknown(cause), Fate::Sent] if cause.contains("does not name it")),
        "{fates:?}"
    );
    assert_eq!(calls.lock().unwrap().len(), 1, "sent again it might be there twice");
}

#[tokio::test(start_paused = true)]
async fn a_message_is_not_sent_after_a_later_one_of_its_group() {
    let (queue, calls) = scripted("orders.fifo", |before, _| match before {
        0 => Some((200, json!({"Successful": [sent(1)], "Failed": [failed(0, false), failed(2, false)]}))),
        _ => Some((200, json!({"Successful": [sent(0)], "Failed": []}))),
    });
    let fates = fates(queue.deliver(of_group(&["a", "b", "c"])).await);
    assert!(matches!(&fates[0], Fate::Failed(cause) if cause.contains("later messages of its group")), "{fates:?}");
    assert_eq!(fates[1..], [Fate::Sent, Fate::Sent]);
    assert_eq!(*calls.lock().unwrap(), [vec!["a", "b", "c"], vec!["c"]]);
}

#[tokio::test(start_paused = true)]
async fn the_group_of_a_fair_queue_orders_nothing() {
    let (queue, _) = scripted("orders", |before, _| match before {
        0 => Some((200, json!({"Successful": [sent(1)], "Failed": [failed(0, false)]}))),
        _ => Some((200, json!({"Successful": [sent(0)], "Failed": []}))),
    });
    assert_eq!(fates(queue.deliver(of_group(&["a", "b"])).await), [Fate::Sent, Fate::Sent]);
}

#[tokio::test(start_paused = true)]
async fn a_call_without_an_answer_leaves_the_outcome_open() {
    let (queue, calls) = scripted("orders", |_, _| None);
    let delivered = queue.deliver(messages(&["a"])).await;
    assert!(delivered.hopeless.is_some());
    assert!(matches!(fates(delivered)[..], [Fate::Unknown(_)]));
    assert_eq!(calls.lock().unwrap().len(), ATTEMPTS as usize);
}

#[tokio::test(start_paused = true)]
async fn what_an_answer_follows_in_the_end_is_known() {
    let (queue, _) =
        scripted("orders", |before, _| (before > 0).then(|| (200, json!({"Successful": [sent(0)], "Failed": []}))));
    assert_eq!(fates(queue.deliver(messages(&["a"])).await), [Fate::Sent]);
}

#[tokio::test(start_paused = true)]
async fn one_message_that_is_refused_does_not_cost_the_others() {
    let (queue, calls) = scripted("orders", |_, bodies| {
        if bodies.iter().any(|body| body == "bad") {
            Some((400, json!({"__type": "com.amazonaws.sqs#InvalidMessageContents", "message": "no"})))
        } else {
            Some((200, json!({"Successful": [sent(0)], "Failed": []})))
        }
    });
    let delivered = queue.deliver(messages(&["a", "bad", "c"])).await;
    assert_eq!(delivered.hopeless, None);
    let fates = fates(delivered);
    assert!(matches!(&fates[..], [Fate::Sent, Fate::Failed(cause), Fate::Sent] if cause.contains("no")), "{fates:?}");
    assert_eq!(calls.lock().unwrap().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn one_message_that_is_refused_after_a_throttle_is_no_reason_to_send_no_more() {
    let (queue, _) = scripted("orders", |before, _| {
        let code = if before == 0 { "RequestThrottled" } else { "InvalidMessageContents" };
        Some((400, json!({"__type": format!("com.amazonaws.sqs#{code}"), "message": "no"})))
    });
    let delivered = queue.deliver(messages(&["a"])).await;
    assert_eq!(delivered.hopeless, None);
    assert_eq!(fates(delivered), [Fate::Failed("InvalidMessageContents: no".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn a_throttle_at_the_last_attempt_is_hopeless_only_where_no_other_was_answered() {
    let (queue, _) = scripted("orders", |before, _| match before + 1 {
        8 => Some((400, json!({"__type": "com.amazonaws.sqs#RequestThrottled", "message": "no"}))),
        _ => Some((200, json!({"Successful": [], "Failed": [failed(0, false)]}))),
    });
    assert_eq!(queue.deliver(messages(&["a"])).await.hopeless, None);
    let (queue, _) = scripted("orders", |_, _| {
        Some((400, json!({"__type": "com.amazonaws.sqs#RequestThrottled", "message": "no"})))
    });
    let delivered = queue.deliver(messages(&["a"])).await;
    assert!(delivered.hopeless.is_some() && delivered.fates[0].1 == Fate::Hopeless, "{delivered:?}");
}

#[tokio::test(start_paused = true)]
async fn a_fifo_queue_that_wants_ids_is_one_error_however_it_says_so() {
    let (queue, calls) = scripted("orders.fifo", |_, _| {
        let failed = |id: usize| {
            json!({"Id": id.to_string(), "Code": "InvalidParameterValue", "SenderFault": true,
            "Message": "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided"})
        };
        Some((200, json!({"Successful": [], "Failed": [failed(0), failed(1)]})))
    });
    let delivered = queue.deliver(of_group(&["a", "b"])).await;
    assert!(delivered.hopeless.as_ref().unwrap().contains("pass --deduplication-id"), "{delivered:?}");
    assert_eq!((fates(delivered), calls.lock().unwrap().len()), (vec![Fate::Hopeless, Fate::Hopeless], 1));

    let (queue, calls) = scripted("orders.fifo", |_, _| {
        Some((
            400,
            json!({"__type": "com.amazonaws.sqs#InvalidParameterValue", "message": "ContentBasedDeduplication"}),
        ))
    });
    assert!(queue.deliver(of_group(&["a", "b"])).await.hopeless.is_some());
    assert_eq!(calls.lock().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_is_not_there_is_asked_once() {
    let delivered = queue_of(Sqs::with_seed(1).client(), "orders").deliver(messages(&["a", "b"])).await;
    assert!(delivered.hopeless.as_ref().unwrap().contains("no such queue"), "{delivered:?}");
    assert_eq!(fates(delivered), [Fate::Hopeless, Fate::Hopeless]);
}

#[tokio::test(start_paused = true)]
async fn every_message_of_a_long_run_of_faults_is_in_the_queue_or_told() {
    let sqs = Sqs::with_seed(7);
    sqs.client().create_queue().queue_name("orders").send().await.unwrap();
    sqs.set_faults(Faults::none().throttles(0.2).lost_answers(0.2).failed_entries(0.3).refused_entries(0.1));
    let queue = queue_of(sqs.client(), "orders");
    let (mut expected, mut refused) = (0, 0);
    for _ in 0..50 {
        for fate in fates(queue.deliver(messages(&["a", "b", "c"])).await) {
            match fate {
                Fate::Sent => expected += 1,
                Fate::Failed(_) => refused += 1,
                other => panic!("{other:?}"),
            }
        }
    }
    assert!(expected > 100 && refused > 5, "{expected} {refused}");
    assert!(sqs.messages("orders").len() >= expected);
}

#[tokio::test(start_paused = true)]
async fn one_message_that_a_proxy_refuses_does_not_cost_the_others() {
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
        let (queue, calls) = scripted("orders.fifo", script);
        let delivered = queue.deliver(of_group(&["a", "b", "c"])).await;
        assert_eq!(delivered.hopeless, None);
        let fates = fates(delivered);
        assert!(matches!(&fates[..], [Fate::Sent, Fate::Failed(_), Fate::Sent]), "{fates:?}");
        assert_eq!(calls.lock().unwrap().len(), 4);
    }
}

#[tokio::test(start_paused = true)]
async fn where_a_proxy_refuses_everything_nothing_more_is_sent() {
    let (queue, calls) = scripted("orders", |_, _| Some((403, json!("<html>"))));
    let delivered = queue.deliver(messages(&["a", "b"])).await;
    assert!(delivered.hopeless.as_ref().unwrap().contains("does not allow it"), "{delivered:?}");
    assert_eq!(fates(delivered), [Fate::Hopeless, Fate::Hopeless]);
    assert_eq!(calls.lock().unwrap().len(), 3);
}

/// An account with a queue that takes 2,048 bytes.
async fn small_queue() -> (Sqs, Queue) {
    let sqs = Sqs::with_seed(1);
    let limit = aws_sdk_sqs::types::QueueAttributeName::MaximumMessageSize;
    sqs.client().create_queue().queue_name("orders").attributes(limit, "2048").send().await.unwrap();
    let queue = queue_of(sqs.client(), "orders");
    (sqs, queue)
}

#[tokio::test(start_paused = true)]
async fn a_moved_message_that_is_too_large_with_what_a_producer_added_is_sent_without_it() {
    let (sqs, queue) = small_queue().await;
    let attribute = |text: &str| {
        aws_sdk_sqs::types::MessageAttributeValue::builder().data_type("String").string_value(text).build().unwrap()
    };
    let moved = |line| {
        let mut message = Message::new(Place::Line(line), "x".repeat(2_020));
        message.may_shrink = true;
        message.attributes.insert("traceparent".to_owned(), attribute("00-1-2-01"));
        message.attributes.insert("redrive.id".to_owned(), attribute("7"));
        message
    };
    assert_eq!(fates(queue.deliver(vec![moved(1)]).await), [Fate::Sent]);
    assert_eq!(fates(queue.deliver(vec![moved(2)]).await), [Fate::Sent]);
    assert_eq!(sqs.messages("orders").len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_too_large_for_its_queue_is_told_with_the_limit_and_costs_no_other() {
    let (_, queue) = small_queue().await;
    let large = "x".repeat(2_049);
    let fates = fates(queue.deliver(messages(&["a", &large, "c"])).await);
    let [Fate::Sent, Fate::Failed(cause), Fate::Sent] = &fates[..] else { panic!("{fates:?}") };
    assert!(cause.contains("2049 bytes") && cause.contains("takes at most 2048 bytes"), "{cause}");
}

#[tokio::test(start_paused = true)]
async fn on_a_fifo_queue_a_lost_message_is_not_sent_again_after_its_deduplication_id_is_forgotten() {
    let (queue, calls) = scripted("orders.fifo", |_, _| panic!("it is not sent"));
    let mut pending = Pending::new(of_group(&["a"]).remove(0));
    pending.first_lost = Some(Instant::now());
    pending.cause = "no answer".to_owned();
    tokio::time::sleep(LAST_ATTEMPT_AFTER).await;
    let delivered = queue.deliver_pending(vec![pending]).await;
    assert_eq!(fates(delivered), [Fate::Unknown("no answer".to_owned())]);
    assert!(calls.lock().unwrap().is_empty());
}
