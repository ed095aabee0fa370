//! Tests mappings of functions with few slots, on a paused clock.

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use redrive::BoxError;
use redrive::internals::set_wall_clock_ahead;
use tokio::task::JoinSet;

use super::*;
use crate::Sqs;
use crate::function::test_function::Scripted;
use crate::function::{InProcess, InvokeError, Slots};
use crate::mapping::config::{BatchSize, Window};

const SECOND: Duration = Duration::from_secs(1);

/// The queues of a test, their dead-letter queues, and their mappings.
struct Bench {
    sqs: Sqs,
    client: Client,
    news: Arc<Mutex<Vec<News>>>,
    running: JoinSet<()>,
    began: Instant,
}

/// The settings of a mapping in which the tests differ.
struct Shape {
    batch_size: i64,
    window: i64,
}

const ONE_BY_ONE: Shape = Shape { batch_size: 1, window: 0 };

/// AWS's advice: six times the function's timeout.
const VISIBILITY_TIMEOUT: Duration = Duration::from_secs(12);
const FUNCTION_TIMEOUT: Duration = Duration::from_secs(2);

impl Bench {
    async fn with(queues: &[&str]) -> Self {
        let sqs = Sqs::with_seed(1);
        let client = sqs.client();
        for name in queues {
            let is_fifo = name.ends_with(".fifo");
            let dead = if is_fifo { format!("dead-{name}") } else { format!("{name}-dead") };
            let policy = format!(
                r#"{{"deadLetterTargetArn": "arn:aws:sqs:us-east-1:000000000000:{dead}", "maxReceiveCount": 5}}"#
            );
            for (name, policy) in [(dead.as_str(), None), (*name, Some(policy))] {
                let mut create = client.create_queue().queue_name(name);
                create = create.attributes("VisibilityTimeout".into(), VISIBILITY_TIMEOUT.as_secs().to_string());
                if is_fifo {
                    create = create.attributes("FifoQueue".into(), "true");
                }
                if let Some(policy) = policy {
                    create = create.attributes("RedrivePolicy".into(), policy);
                }
                create.send().await.unwrap();
            }
        }
        Self { sqs, client, news: Arc::default(), running: JoinSet::new(), began: Instant::now() }
    }

    fn url(&self, queue: &str) -> String {
        format!("{}/000000000000/{queue}", crate::connector::BASE_URL)
    }

    async fn send(&self, queue: &str, count: usize) {
        for number in 0..count {
            let send = self.client.send_message().queue_url(self.url(queue)).message_body(number.to_string());
            send.send().await.unwrap();
        }
    }

    async fn send_to(&self, queue: &str, group: &str, body: &str) {
        let send = self.client.send_message().queue_url(self.url(queue)).message_body(body);
        send.message_group_id(group).message_deduplication_id(body).send().await.unwrap();
    }

    fn map(&mut self, queue: &str, function: &Arc<dyn Function>, shape: &Shape) {
        let mapping = self.mapping(queue, function, shape);
        self.running.spawn(mapping.run(std::future::pending()));
    }

    fn mapping(&self, queue: &str, function: &Arc<dyn Function>, shape: &Shape) -> EventSourceMapping {
        let source = Source::from_arn(&format!("arn:aws:sqs:us-east-1:000000000000:{queue}")).unwrap();
        let (size, window) = (BatchSize::new(shape.batch_size).unwrap(), Window::new(shape.window).unwrap());
        let news = self.news.clone();
        EventSourceMapping {
            client: self.client.clone(),
            queue_url: self.url(queue),
            batching: Batching::new(source.is_fifo(), size, window).unwrap(),
            source,
            maximum_concurrency: None,
            filter: FilterCriteria::parse::<String>(&[]).unwrap(),
            reports_item_failures: true,
            function: function.clone(),
            function_arn: String::new(),
            timeout: FunctionTimeout::new(FUNCTION_TIMEOUT, VISIBILITY_TIMEOUT).unwrap(),
            visibility_timeout: VISIBILITY_TIMEOUT,
            news: Arc::new(move |each| news.lock().unwrap().push(each)),
            settled: Arc::default(),
        }
    }

    async fn until_empty(&self, queue: &str) {
        loop {
            let changed = self.sqs.next_change();
            if self.sqs.is_empty(queue) {
                return;
            }
            changed.await;
        }
    }

    fn dead(&self, queue: &str) -> usize {
        self.sqs.messages(&format!("{queue}-dead")).len()
    }

    /// Returns the elapsed seconds.
    fn seconds(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }
}

/// Records the bodies of invocations in their order.
#[derive(Clone, Default)]
struct Runs(Arc<Mutex<Vec<String>>>);

impl Runs {
    fn add(&self, event: &[u8]) {
        let event: serde_json::Value = serde_json::from_slice(event).unwrap();
        let bodies =
            event["Records"].as_array().unwrap().iter().map(|record| record["body"].as_str().unwrap().to_owned());
        self.0.lock().unwrap().extend(bodies);
    }

    fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

/// Returns a function with this many slots whose invocations take this long.
fn function(slots: usize, takes: Duration, runs: &Runs) -> Arc<dyn Function> {
    let runs = runs.clone();
    let function = move |event: Bytes| {
        runs.add(&event);
        async move {
            tokio::time::sleep(takes).await;
            Ok::<_, BoxError>(String::new())
        }
    };
    Arc::new(InProcess::closure(function).with_slots(Slots::new(slots)))
}

#[tokio::test(start_paused = true)]
async fn each_of_a_thousand_messages_runs_once_with_few_slots() {
    for (slots, batch_size) in [(1, 1), (4, 1), (4, 10)] {
        let (mut bench, runs) = (Bench::with(&["orders"]).await, Runs::default());
        bench.send("orders", 1_000).await;
        let function = function(slots, SECOND / 10, &runs);
        bench.map("orders", &function, &Shape { batch_size, ..ONE_BY_ONE });
        bench.until_empty("orders").await;
        assert_eq!((runs.count(), bench.dead("orders")), (1_000, 0), "{slots} slots");
        let least = 1_000.0 / (slots as f64 * batch_size as f64) / 10.0;
        assert!(bench.seconds() < least + 1.0, "took {} s, and {least} s is enough", bench.seconds());
    }
}

#[tokio::test(start_paused = true)]
async fn backlog_of_one_mapping_does_not_delay_another_mapping() {
    let (mut bench, runs) = (Bench::with(&["busy", "quiet"]).await, Runs::default());
    let function = function(1, SECOND, &runs);
    bench.map("busy", &function, &ONE_BY_ONE);
    bench.map("quiet", &function, &ONE_BY_ONE);
    bench.send("busy", 100).await;
    tokio::time::sleep(10 * SECOND).await;
    let sent = bench.seconds();
    bench.send("quiet", 1).await;
    bench.until_empty("quiet").await;
    assert!(bench.seconds() - sent < 4.0, "more than a pause and two invocations: {}", bench.seconds() - sent);
    bench.until_empty("busy").await;
    assert_eq!((runs.count(), bench.dead("busy")), (101, 0));
    assert!(bench.seconds() < 103.0, "the empty queue delays the backlog: {}", bench.seconds());
}

#[tokio::test(start_paused = true)]
async fn empty_queue_is_polled_with_pauses_while_its_mapping_waits_for_slots() {
    let (mut bench, runs) = (Bench::with(&["one", "two"]).await, Runs::default());
    let function = function(1, SECOND, &runs);
    bench.map("one", &function, &ONE_BY_ONE);
    bench.map("two", &function, &ONE_BY_ONE);
    let polls = Arc::new(AtomicUsize::new(0));
    let count = async {
        loop {
            bench.sqs.next_change().await;
            polls.fetch_add(1, Ordering::Relaxed);
        }
    };
    let _ = tokio::time::timeout(60 * SECOND, count).await;
    let polls = polls.load(Ordering::Relaxed);
    assert!((60..300).contains(&polls), "{polls} polls of two queues in a minute");
}

#[tokio::test(start_paused = true)]
async fn window_of_one_mapping_does_not_delay_another_mapping() {
    let (mut bench, runs) = (Bench::with(&["slow", "prompt"]).await, Runs::default());
    let function = function(1, SECOND / 10, &runs);
    bench.map("slow", &function, &Shape { batch_size: 100, window: 300 });
    bench.map("prompt", &function, &ONE_BY_ONE);
    bench.send("slow", 30).await;
    bench.send("prompt", 1).await;
    bench.until_empty("prompt").await;
    bench.until_empty("slow").await;
    assert!(bench.seconds() < 5.0, "{}", bench.seconds());
    let batches = bench.news.lock().unwrap().iter().filter(|news| matches!(news, News::Batch(_))).count();
    assert!(batches <= 3, "messages that are available together are in separate batches: {batches}");
}

#[tokio::test(start_paused = true)]
async fn window_lasts_its_full_time_when_slots_are_plenty() {
    let (mut bench, runs) = (Bench::with(&["slow", "prompt"]).await, Runs::default());
    let function = function(2, SECOND / 10, &runs);
    bench.map("slow", &function, &Shape { batch_size: 100, window: 9 });
    bench.map("prompt", &function, &ONE_BY_ONE);
    bench.send("slow", 5).await;
    tokio::time::sleep(4 * SECOND).await;
    bench.send("slow", 5).await;
    bench.until_empty("slow").await;
    assert!((9.0..10.5).contains(&bench.seconds()), "{}", bench.seconds());
    let news = bench.news.lock().unwrap();
    let [News::Batch(batch)] = &news[..] else { panic!("expected one batch: {news:?}") };
    assert_eq!(batch.messages.len(), 10);
}

/// In a batch of two groups, one group makes its message visible again, like RetryAfter, while the other runs.
#[tokio::test(start_paused = true)]
async fn retry_of_a_group_runs_when_its_batch_has_ended() {
    let mut bench = Bench::with(&["orders.fifo"]).await;
    let (client, url, runs) = (bench.client.clone(), bench.url("orders.fifo"), Runs::default());
    let of_function = runs.clone();
    let function = move |event: Bytes| {
        of_function.add(&event);
        let (client, url) = (client.clone(), url.clone());
        async move {
            let event: serde_json::Value = serde_json::from_slice(&event)?;
            let record = event["Records"].as_array().unwrap().iter().find(|record| record["body"] == "a");
            let failed = record.filter(|record| record["attributes"]["ApproximateReceiveCount"] == "1");
            let Some(failed) = failed else { return Ok::<_, BoxError>(String::new()) };
            let change = client.change_message_visibility().queue_url(url).visibility_timeout(1);
            change.receipt_handle(failed["receiptHandle"].as_str().unwrap()).send().await?;
            tokio::time::sleep(FUNCTION_TIMEOUT - SECOND / 10).await;
            Ok(format!(r#"{{"batchItemFailures": [{{"itemIdentifier": {}}}]}}"#, failed["messageId"]))
        }
    };
    bench.send_to("orders.fifo", "a", "a").await;
    bench.send_to("orders.fifo", "b", "b").await;
    let function: Arc<dyn Function> = Arc::new(InProcess::closure(function));
    bench.map("orders.fifo", &function, &Shape { batch_size: 10, ..ONE_BY_ONE });
    bench.until_empty("orders.fifo").await;
    assert!(bench.seconds() < 3.0, "the retry waited for the visibility timeout: {}", bench.seconds());
    assert_eq!(*runs.0.lock().unwrap(), ["a", "b", "a"]);
}

#[tokio::test(start_paused = true)]
async fn no_message_is_received_while_the_function_does_not_start() {
    let mut bench = Bench::with(&["orders"]).await;
    bench.send("orders", 3).await;
    bench.map("orders", &Scripted::never_ready(4), &ONE_BY_ONE);
    tokio::time::sleep(600 * SECOND).await;
    let messages = bench.sqs.messages("orders");
    assert_eq!(messages.iter().map(|message| message.receive_count).collect::<Vec<_>>(), [0, 0, 0]);
    let news = bench.news.lock().unwrap();
    assert!(news.len() < 200, "attempts follow without a pause: {}", news.len());
    assert!(matches!(&news[0], News::NotReady { error, .. } if error.contains("/no/such/function")), "{news:?}");
}

/// A visibility change with a stale receipt handle affects the flight of the next consumer.
#[tokio::test(start_paused = true)]
async fn message_that_another_consumer_may_have_is_not_released() {
    let bench = Bench::with(&["orders"]).await;
    bench.send("orders", 1).await;
    let source = Source::from_arn("arn:aws:sqs:us-east-1:000000000000:orders").unwrap();
    let receive = || bench.client.receive_message().queue_url(bench.url("orders")).send();
    let message = receive().await.unwrap().messages.unwrap().pop().unwrap();
    let (record, lease) =
        (crate::event::Record::new(message, &source).unwrap(), hide::Lease::new(Instant::now(), VISIBILITY_TIMEOUT));
    tokio::time::sleep(VISIBILITY_TIMEOUT + SECOND).await;
    assert_eq!(receive().await.unwrap().messages().len(), 1, "the other consumer receives nothing");
    let mapping = bench.mapping("orders", &function(1, SECOND, &Runs::default()), &ONE_BY_ONE);
    mapping.give_back(&[record], &lease).await;
    assert_eq!(receive().await.unwrap().messages().len(), 0, "the other consumer lost its message");
}

#[tokio::test(start_paused = true)]
async fn messages_of_a_suspended_mapping_are_not_released() {
    let bench = Bench::with(&["orders"]).await;
    bench.send("orders", 1).await;
    let source = Source::from_arn("arn:aws:sqs:us-east-1:000000000000:orders").unwrap();
    let receive = || bench.client.receive_message().queue_url(bench.url("orders")).send();
    let message = receive().await.unwrap().messages.unwrap().pop().unwrap();
    let record = crate::event::Record::new(message, &source).unwrap();
    let lease = hide::Lease::new(Instant::now(), VISIBILITY_TIMEOUT);
    set_wall_clock_ahead(VISIBILITY_TIMEOUT + SECOND);
    let mapping = bench.mapping("orders", &function(1, SECOND, &Runs::default()), &ONE_BY_ONE);
    mapping.give_back(&[record], &lease).await;
    assert_eq!(receive().await.unwrap().messages().len(), 0, "the other consumer lost its message");
}

#[tokio::test(start_paused = true)]
async fn messages_stay_hidden_while_their_function_is_built() {
    let (mut bench, runs) = (Bench::with(&["orders"]).await, Runs::default());
    let counter = runs.clone();
    let function = Scripted::answering(2, move |event| {
        counter.add(&event);
        async {
            tokio::time::sleep(10 * VISIBILITY_TIMEOUT).await;
            Ok(Bytes::new())
        }
    });
    bench.send("orders", 1).await;
    // The second slot is free. The mapping would receive the message with it if the message were visible.
    bench.map("orders", &function, &ONE_BY_ONE);
    bench.until_empty("orders").await;
    assert_eq!((runs.count(), bench.dead("orders")), (1, 0));
    assert!(bench.seconds() >= 120.0, "{}", bench.seconds());
}

#[tokio::test(start_paused = true)]
async fn throttled_function_is_retried_without_a_failed_batch() {
    let (mut bench, asked) = (Bench::with(&["orders"]).await, Arc::new(AtomicUsize::new(0)));
    let counter = asked.clone();
    let function = Scripted::answering(1, move |_| {
        let number = counter.fetch_add(1, Ordering::Relaxed);
        async move { if number < 20 { Err(InvokeError::NotRun("throttled".to_owned())) } else { Ok(Bytes::new()) } }
    });
    bench.send("orders", 1).await;
    bench.map("orders", &function, &ONE_BY_ONE);
    bench.until_empty("orders").await;
    assert_eq!((asked.load(Ordering::Relaxed), bench.dead("orders")), (21, 0));
    let news = bench.news.lock().unwrap();
    let batches: Vec<_> =
        news.iter().filter_map(|news| if let News::Batch(batch) = news { Some(batch) } else { None }).collect();
    assert_eq!(batches.len(), 1, "expected one receive: {news:?}");
    assert_eq!(batches[0].messages[0].receive_count, 1);
}
