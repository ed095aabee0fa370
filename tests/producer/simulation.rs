//! Many tasks send through one producer under every fault, and then the account must balance.
//!
//! `REDRIVE_SIMULATION_MESSAGES` and `REDRIVE_SIMULATION_SEED` change a run, as in the other simulations.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::future;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::http::HttpResponse;
use aws_sdk_sqs::config::interceptors::{BeforeTransmitInterceptorContextRef, FinalizerInterceptorContextRef};
use aws_sdk_sqs::config::{ConfigBag, Credentials, Intercept, ProvideCredentials, RuntimeComponents};
use aws_sdk_sqs::error::BoxError;
use aws_sdk_sqs::types::QueueAttributeName as Name;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::config_bag::{Storable, StoreReplace};
use redrive::{Outgoing, Producer, SendError, Sent, TraceContext};
use redrive_local::Faults;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::kit::{Queue, secs, text};
use crate::setting::messages_and_seed;
use crate::wire;

const MESSAGES: usize = 100_000;
const TASKS: usize = 50;
const GROUPS: usize = 500;

fn faults() -> Faults {
    let faults = Faults::none().throttles(0.02).lost_requests(0.01).slow_calls(0.02, secs(12));
    faults.failed_entries(0.02).refused_entries(0.005)
}

type Result = std::result::Result<Sent, SendError>;

/// Each task sends its part, and the numbers of its own groups in order. The results are by number.
async fn send_all(producer: &Producer, messages: usize, body: fn(usize) -> String) -> Vec<Result> {
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let producer = producer.clone();
        tasks.spawn(async move {
            let numbers: Vec<_> = (0..messages).filter(|number| number % GROUPS % TASKS == task).collect();
            let message = |number: &usize| Outgoing::text(body(*number)).group((number % GROUPS).to_string());
            let results = producer.send_all(numbers.iter().map(message)).await;
            numbers.into_iter().zip(results).collect::<Vec<_>>()
        });
    }
    let mut results: Vec<_> = tasks.join_all().await.into_iter().flatten().collect();
    results.sort_by_key(|(number, _)| *number);
    results.into_iter().map(|(_, result)| result).collect()
}

fn plain(number: usize) -> String {
    number.to_string()
}

/// The number that a body begins with.
fn number_of(body: &str) -> usize {
    body.split(' ').next().unwrap().parse().unwrap()
}

/// How often each number was in a call that was not answered: its connection broke, or it took too long.
#[derive(Clone, Debug, Default)]
struct Unanswered(Arc<Mutex<HashMap<usize, usize>>>);

/// The numbers that are in an attempt.
#[derive(Debug)]
struct Numbers(Vec<usize>);

impl Storable for Numbers {
    type Storer = StoreReplace<Self>;
}

impl Unanswered {
    fn client_of(&self, queue: &Queue) -> Client {
        Client::from_conf(queue.client().config().to_builder().interceptor(self.clone()).build())
    }

    fn producer_of(&self, queue: &Queue) -> Producer {
        Producer::new(self.client_of(queue), &queue.url)
    }

    fn count(&self, number: usize) -> usize {
        self.0.lock().unwrap().get(&number).copied().unwrap_or_default()
    }
}

impl Intercept for Unanswered {
    fn name(&self) -> &'static str {
        "Unanswered"
    }

    fn read_before_transmit(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        bag: &mut ConfigBag,
    ) -> std::result::Result<(), BoxError> {
        let body = context.request().body().bytes().ok_or("a call of SQS is in memory")?;
        let request: serde_json::Value = serde_json::from_slice(body)?;
        let entries = request["Entries"].as_array().ok_or("a batch")?;
        let number = |entry: &serde_json::Value| Some(number_of(entry["MessageBody"].as_str()?));
        bag.interceptor_state().store_put(Numbers(entries.iter().filter_map(number).collect()));
        Ok(())
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        bag: &mut ConfigBag,
    ) -> std::result::Result<(), BoxError> {
        if context.response().is_none() {
            // Without credentials it has not begun.
            let Some(Numbers(numbers)) = bag.load::<Numbers>() else { return Ok(()) };
            let mut counts = self.0.lock().unwrap();
            numbers.iter().for_each(|&number| *counts.entry(number).or_default() += 1);
        }
        Ok(())
    }
}

/// How many are there more often than once. What is said of each number is found to be so.
async fn account(queue: &Queue, results: &[Result], unanswered: &Unanswered) -> usize {
    queue.sqs.set_faults(Faults::none());
    let mut there: HashMap<usize, Vec<(String, String)>> = HashMap::new();
    let mut last: HashMap<usize, usize> = HashMap::new();
    let is_fifo = queue.url.ends_with(".fifo");
    for message in queue.take_all().await {
        let number = number_of(message.body().unwrap());
        let before = last.insert(number % GROUPS, number);
        assert!(!is_fifo || before.is_none_or(|before| before < number), "{number} comes behind {before:?}");
        let id = text(&message, "redrive.id").unwrap_or_default();
        there.entry(number).or_default().push((message.message_id.unwrap(), id));
    }
    for (number, result) in results.iter().enumerate() {
        let copies = there.get(&number).map(Vec::as_slice).unwrap_or_default();
        match result {
            Ok(sent) => {
                assert!(copies.iter().any(|(id, _)| id == sent.message_id()), "{number} was accepted and is not there")
            }
            Err(error) if error.is_unknown() => {}
            Err(error) => assert!(copies.is_empty(), "{number} is there, and was reported: {error}"),
        }
        assert!(copies.windows(2).all(|two| two[0].1 == two[1].1), "copies of {number} have different ids");
        let may_be_there = if is_fifo { 1 } else { 1 + unanswered.count(number) };
        assert!(copies.len() <= may_be_there, "{number} is there {} times of {may_be_there}", copies.len());
    }
    there.values().filter(|copies| copies.len() > 1).count()
}

fn reported(results: &[Result]) -> usize {
    results.iter().filter(|result| result.is_err()).count()
}

#[test]
fn each_message_is_accepted_or_reported() {
    let (messages, seed) = messages_and_seed(MESSAGES, 1);
    on_paused_clock(async {
        for (seed, lost_answers) in [(seed, 0.0), (seed + 1, 0.02)] {
            let (queue, unanswered) = (Queue::new("orders", seed).await, Unanswered::default());
            queue.sqs.set_faults(faults().lost_answers(lost_answers));
            let results = send_all(&unanswered.producer_of(&queue), messages / 2, plain).await;
            let twice = account(&queue, &results, &unanswered).await;
            println!(
                "{seed}: {twice} of {} are there more than once; {} were reported",
                results.len(),
                reported(&results)
            );
            // A call that takes longer than an attempt may never arrives here.
            assert_eq!(twice > 0, lost_answers > 0.0);
            assert!(reported(&results) < messages / 50);
        }
    });
}

#[test]
fn each_group_is_in_order_and_nothing_is_there_twice() {
    let (messages, seed) = messages_and_seed(MESSAGES, 1);
    on_paused_clock(async {
        for seed in [seed, seed + 1] {
            let (queue, unanswered) = (Queue::new("orders.fifo", seed).await, Unanswered::default());
            queue.sqs.set_faults(faults().lost_answers(0.02));
            let results = send_all(&unanswered.producer_of(&queue), messages / 2, plain).await;
            assert_eq!(account(&queue, &results, &unanswered).await, 0);
            let unknown = results.iter().filter(|result| result.as_ref().is_err_and(SendError::is_unknown)).count();
            println!("{seed}: {} of {} were reported, {unknown} as unknown", reported(&results), results.len());
            assert!(reported(&results) < messages / 20);
        }
    });
}

/// What a queue takes that takes little, and a message that is as large, or a little less.
const SMALL_BYTES: usize = 1_536;

fn nearly_too_large(number: usize) -> String {
    let bytes = SMALL_BYTES - number * 7 % 200;
    format!("{number:<bytes$}").replacen(' ', " x", 1)[..bytes].to_owned()
}

/// Credentials that are there after half a minute, and again not for a while later.
#[derive(Debug)]
struct Late(Instant);

impl ProvideCredentials for Late {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let elapsed = self.0.elapsed();
        let result = match elapsed < secs(30) {
            true => Err(CredentialsError::provider_error("503 from STS")),
            // They are used up soon, and have to be loaded again.
            false => {
                let expiry = SystemTime::now() + secs(1);
                Ok(Credentials::new("a", "b", None, Some(expiry), "tests"))
            }
        };
        future::ProvideCredentials::ready(result)
    }
}

/// A proxy that takes no call of more than five messages.
async fn proxy(call: wire::Call) -> wire::Answered {
    let request: serde_json::Value = serde_json::from_slice(call.request.body().bytes().unwrap()).unwrap();
    if request["Entries"].as_array().is_some_and(|entries| entries.len() > 5) {
        let status = 413.try_into().expect("a status");
        return Ok(HttpResponse::new(status, SdkBody::from("<html>413</html>")));
    }
    call.pass().await
}

#[test]
fn small_queues_proxies_and_late_credentials_lose_nothing() {
    let (messages, seed) = messages_and_seed(MESSAGES, 1);
    let messages = messages / 20;
    on_paused_clock(async {
        for (name, seed) in [("orders", seed), ("orders.fifo", seed + 1)] {
            let limit = [(Name::MaximumMessageSize, "1536")];
            let (queue, unanswered) = (Queue::with(name, seed, &limit).await, Unanswered::default());
            let config = unanswered.client_of(&queue).config().to_builder().credentials_provider(Late(Instant::now()));
            let client = wire::through(&Client::from_conf(config.build()), proxy);
            let trace = || TraceContext::default().traceparent("0".repeat(55));
            let producer = Producer::builder(client, &queue.url).trace_context(trace).retry_for(secs(120)).build();
            queue.sqs.set_faults(faults());
            let results = send_all(&producer, messages, nearly_too_large).await;
            assert_eq!(account(&queue, &results, &unanswered).await, 0);
            let is_excused = |error: &SendError| error.to_string().contains("an injected fault");
            let reported: Vec<_> = results.iter().filter_map(|result| result.as_ref().err()).collect();
            assert!(reported.len() < messages / 20, "{seed}: {} were reported", reported.len());
            let of_ours = |error: &&&SendError| !is_excused(error) && !error.is_retryable();
            assert_eq!(reported.iter().find(of_ours), None, "{seed}");
        }
    });
}

fn on_paused_clock<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap().block_on(test)
}
