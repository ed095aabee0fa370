//! Sends in a separate process, which runs this program again.

use std::env;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::interceptors::BeforeTransmitInterceptorContextRef;
use aws_sdk_sqs::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_sqs::error::BoxError;
use aws_sdk_sqs::types::{MessageAttributeValue, SendMessageBatchRequestEntry as Entry};
use redrive::{Outgoing, Producer};
use tokio::task::JoinSet;

/// The variable that gives a process its role.
pub(crate) const ROLE: &str = "BENCH_ROLE";

const BATCH: usize = 10;
const AT_A_TIME: usize = 10;

/// The way of sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Producer,
    /// `send_message_batch` with ten messages, one call after the other.
    Sequential,
    /// The same with ten calls at a time.
    TenAtATime,
    /// The same with an id in each message, like the producer's.
    WithIds,
}

impl Role {
    pub(crate) const ALL: [Self; 4] = [Self::Producer, Self::Sequential, Self::TenAtATime, Self::WithIds];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Producer => "producer",
            Self::Sequential => "sequential",
            Self::TenAtATime => "ten-at-a-time",
            Self::WithIds => "with-ids",
        }
    }

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Producer => "redrive",
            Self::Sequential => "by hand, one call at a time",
            Self::TenAtATime => "by hand, ten at a time",
            Self::WithIds => "by hand, ten at a time, with ids",
        }
    }

    pub(crate) fn from_env() -> Option<Self> {
        let name = env::var(ROLE).ok()?;
        Self::ALL.into_iter().find(|role| role.name() == name)
    }
}

/// Sends the messages that the environment asks for. Prints the seconds, the CPU seconds and the number of calls.
pub(crate) async fn run(role: Role) {
    let calls = Calls::default();
    let config = aws_sdk_sqs::config::Builder::from(&aws_config::load_from_env().await).interceptor(calls.clone());
    let client = Client::from_conf(config.build());
    let url = env::var("BENCH_QUEUE_URL").expect("the URL of a queue");
    let messages: usize =
        env::var("BENCH_MESSAGES").ok().and_then(|count| count.parse().ok()).expect("BENCH_MESSAGES is a number");
    let (begin, cpu) = (Instant::now(), cpu_seconds());
    match role {
        // The producer runs in a task, like the others and like a service.
        Role::Producer => tokio::spawn(through_a_producer(client, url, messages)).await.expect("all is sent"),
        Role::Sequential => by_hand(client, url, messages, 1, false).await,
        Role::TenAtATime => by_hand(client, url, messages, AT_A_TIME, false).await,
        Role::WithIds => by_hand(client, url, messages, AT_A_TIME, true).await,
    }
    println!("{} {} {}", begin.elapsed().as_secs_f64(), cpu_seconds() - cpu, calls.0.load(Ordering::Relaxed));
}

fn body(number: usize) -> String {
    format!(r#"{{"order_id":"{number:032x}","customer_id":"c-7","amount_cents":1999}}"#)
}

async fn through_a_producer(client: Client, url: String, messages: usize) {
    let producer = Producer::new(client, url);
    let results = producer.send_all((0..messages).map(|number| Outgoing::text(body(number)))).await;
    assert!(results.iter().all(Result::is_ok));
}

async fn by_hand(client: Client, url: String, messages: usize, at_a_time: usize, has_ids: bool) {
    let batches = Arc::new(AtomicUsize::new(messages / BATCH));
    let mut senders = JoinSet::new();
    for _ in 0..at_a_time {
        let (client, url, batches) = (client.clone(), url.clone(), batches.clone());
        senders.spawn(async move {
            while let Ok(batch) = batches.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
            {
                let entry = |id: usize| {
                    let entry = Entry::builder().id(id.to_string()).message_body(body(batch * BATCH + id));
                    let entry = if has_ids { entry.message_attributes("id", random_id()) } else { entry };
                    entry.build().expect("an entry")
                };
                let entries = (0..BATCH).map(entry).collect();
                client.send_message_batch().queue_url(&url).set_entries(Some(entries)).send().await.expect("a send");
            }
        });
    }
    senders.join_all().await;
}

fn random_id() -> MessageAttributeValue {
    let id = format!("{:032x}", fastrand::u128(..));
    MessageAttributeValue::builder().data_type("String").string_value(id).build().expect("an attribute")
}

/// Returns the CPU time of all threads of this process from `/proc`, in ticks of 10 ms.
fn cpu_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").expect("this benchmark needs Linux's /proc");
    // The process name before the figures is in parentheses and may contain spaces.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let ticks = |field| fields.split_whitespace().nth(field)?.parse::<f64>().ok();
    [11, 12].into_iter().filter_map(ticks).sum::<f64>() / 100.0
}

/// Counts each attempt of a call.
#[derive(Clone, Debug, Default)]
struct Calls(Arc<AtomicUsize>);

impl Intercept for Calls {
    fn name(&self) -> &'static str {
        "Calls"
    }

    fn read_before_transmit(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}
