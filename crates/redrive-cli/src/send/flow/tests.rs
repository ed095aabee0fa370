use std::sync::atomic::AtomicU64;

use redrive::Outgoing;
use redrive_local::{Faults, Sqs};

use super::*;
use crate::send::message::{InputPosition, Message, Unsendable};
use crate::send::report::Progress;

async fn queue(sqs: &Sqs, name: &str) -> Arc<Destination> {
    let create = sqs.client().create_queue().queue_name(name);
    let fifo = [("FifoQueue", "true"), ("ContentBasedDeduplication", "true")];
    let create = fifo
        .iter()
        .filter(|_| name.ends_with(".fifo"))
        .fold(create, |create, (key, value)| create.attributes((*key).into(), *value));
    let url = create.send().await.unwrap().queue_url.unwrap();
    Arc::new(Destination::new(sqs.client(), url, name.to_owned(), "http://sqs.localhost".to_owned()))
}

fn message(line: u64) -> InputItem {
    InputItem::Message(Message {
        position: InputPosition::Line(line),
        outgoing: Outgoing::text(line.to_string()).group("g"),
    })
}

fn report() -> Report {
    Report::new("stdin".to_owned(), "orders".to_owned(), Progress::new(None, Arc::new(AtomicU64::new(0))))
}

/// Returns an input that has ended.
fn input(items: impl IntoIterator<Item = InputItem>) -> mpsc::Receiver<InputItem> {
    let (sender, receiver) = mpsc::channel(1_000);
    items.into_iter().for_each(|item| sender.try_send(item).unwrap());
    receiver
}

#[tokio::test(start_paused = true)]
async fn a_fifo_queue_keeps_the_input_order_though_calls_fail() {
    let sqs = Sqs::with_seed(3);
    let queue = queue(&sqs, "orders.fifo").await;
    sqs.set_faults(Faults::none().throttles(0.2).lost_requests(0.1).lost_answers(0.1));
    let mut report = report();
    assert_eq!(flow(queue, input((1..=300).map(message)), &mut report, std::future::pending()).await, End::Complete);
    let bodies: Vec<_> = sqs.messages("orders.fifo").iter().map(|message| message.body.to_string()).collect();
    assert_eq!(bodies, (1..=300).map(|line: u64| line.to_string()).collect::<Vec<_>>());
    assert_eq!(report.summary(), "orders: 300 sent, 0 failed");
}

#[tokio::test(start_paused = true)]
async fn a_standard_queue_gets_several_calls_at_a_time() {
    let sqs = Sqs::with_seed(3);
    let queue = queue(&sqs, "orders").await;
    let second = std::time::Duration::from_secs(1);
    sqs.set_faults(Faults::none().slow_calls(1.0, second));
    let began = tokio::time::Instant::now();
    let mut report = report();
    flow(queue, input((1..=100).map(message)), &mut report, std::future::pending()).await;
    assert!(began.elapsed() < 3 * second, "ten calls of half a second each, on average: {:?}", began.elapsed());
    assert_eq!(sqs.messages("orders").len(), 100);
}

#[tokio::test(start_paused = true)]
async fn a_stopped_command_reports_what_was_sent_and_where_to_continue() {
    let sqs = Sqs::with_seed(3);
    let queue = queue(&sqs, "orders").await;
    let (sender, receiver) = mpsc::channel(100);
    (1..=12).for_each(|line| sender.try_send(message(line)).unwrap());
    let mut report = report();
    // The input never ends.
    let stop = tokio::time::sleep(std::time::Duration::from_secs(1));
    assert_eq!(flow(queue, receiver, &mut report, stop).await, End::Interrupted);
    assert_eq!(report.summary_and_rest(), "orders: 12 sent, 0 failed; the input after line 12 was not sent");
    assert_eq!(sqs.messages("orders").len(), 12);
    drop(sender);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_fails_is_counted_and_the_rest_is_sent() {
    let sqs = Sqs::with_seed(3);
    let queue = queue(&sqs, "orders").await;
    let bad = InputItem::Unsendable(Unsendable { position: InputPosition::Line(2), cause: "bad".to_owned() });
    let mut report = report();
    flow(queue, input([message(1), bad, InputItem::EmptyLine, message(4)]), &mut report, std::future::pending()).await;
    assert_eq!(report.summary(), "orders: 2 sent, 1 failed, 1 empty lines skipped");
    assert!(!report.is_good());
}

#[tokio::test(start_paused = true)]
async fn sending_stops_if_the_queue_is_gone() {
    let sqs = Sqs::with_seed(3);
    let queue = queue(&sqs, "orders").await;
    sqs.client().delete_queue().queue_url("http://sqs.localhost/000000000000/orders").send().await.unwrap();
    let (sender, receiver) = mpsc::channel(100);
    (1..=30).for_each(|line| sender.try_send(message(line)).unwrap());
    let mut report = report();
    let end = flow(queue, receiver, &mut report, std::future::pending()).await;
    assert!(matches!(&end, End::Hopeless(problem) if problem.contains("no such queue")), "{end:?}");
    assert!(report.is_empty(), "the final error is the only report");
}

#[tokio::test(start_paused = true)]
async fn messages_before_a_read_error_are_sent() {
    let sqs = Sqs::with_seed(3);
    let queue = queue(&sqs, "orders").await;
    let broken = InputItem::Broken("cannot read".to_owned());
    let mut report = report();
    let end = flow(queue, input([message(1), broken]), &mut report, std::future::pending()).await;
    assert_eq!(end, End::Broken("cannot read".to_owned()));
    assert_eq!(sqs.messages("orders").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_abandoned_call_has_an_unknown_outcome() {
    let sqs = Sqs::with_seed(3);
    let queue = queue(&sqs, "orders").await;
    sqs.set_faults(Faults::none().slow_calls(1.0, std::time::Duration::from_secs(60)));
    let (_open, receiver) = {
        let (sender, receiver) = mpsc::channel(100);
        (1..=12).for_each(|line| sender.try_send(message(line)).unwrap());
        (sender, receiver)
    };
    let mut report = report();
    let soon = std::time::Duration::from_millis(50);
    assert!(tokio::time::timeout(soon, flow(queue, receiver, &mut report, std::future::pending())).await.is_err());
    report.abandon();
    assert_eq!(
        report.summary_and_rest(),
        "orders: 0 sent, 0 failed, 12 of unknown outcome; the input after line 12 was not sent"
    );
}
