//! Many tasks send through one producer under every fault, and then the account must balance.
//!
//! `REDRIVE_SIMULATION_MESSAGES` and `REDRIVE_SIMULATION_SEED` change a run, as in the other simulations.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::interceptors::{BeforeTransmitInterceptorContextRef, FinalizerInterceptorContextRef};
use aws_sdk_sqs::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_sqs::error::BoxError;
use aws_smithy_types::config_bag::{Storable, StoreReplace};
use redrive::local::Faults;
use redrive::{Outgoing, Producer, SendError, Sent};
use tokio::task::JoinSet;

use crate::kit::{Queue, secs, text};
use crate::setting::messages_and_seed;

const MESSAGES: usize = 100_000;
const TASKS: usize = 50;
const GROUPS: usize = 500;

fn faults() -> Faults {
    let faults = Faults::none().throttles(0.02).lost_requests(0.01).slow_calls(0.02, secs(12));
    faults.failed_entries(0.02).refused_entries(0.005)
}

type Result = std::result::Result<Sent, SendError>;

/// Each task sends its part, and the numbers of its own groups in order. The results are by number.
async fn send_all(producer: &Producer, messages: usize) -> Vec<Result> {
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let producer = producer.clone();
        tasks.spawn(async move {
            let numbers: Vec<_> = (0..messages).filter(|number| number % GROUPS % TASKS == task).collect();
            let message = |number: &usize| Outgoing::text(number.to_string()).group((number % GROUPS).to_string());
            let results = producer.send_all(numbers.iter().map(message)).await;
            numbers.into_iter().zip(results).collect::<Vec<_>>()
        });
    }
    let mut results: Vec<_> = tasks.join_all().await.into_iter().flatten().collect();
    results.sort_by_key(|(number, _)| *number);
    results.into_iter().map(|(_, result)| result).collect()
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
    fn producer_of(&self, queue: &Queue) -> Producer {
        let client = Client::from_conf(queue.client().config().to_builder().interceptor(self.clone()).build());
        Producer::new(client, &queue.url)
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
        let number = |entry: &serde_json::Value| entry["MessageBody"].as_str()?.parse().ok();
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
            let Numbers(numbers) = bag.load::<Numbers>().ok_or("what has ended has begun")?;
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
        let number: usize = message.body().unwrap().parse().unwrap();
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
            let results = send_all(&unanswered.producer_of(&queue), messages / 2).await;
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
            let results = send_all(&unanswered.producer_of(&queue), messages / 2).await;
            assert_eq!(account(&queue, &results, &unanswered).await, 0);
            let unknown = results.iter().filter(|result| result.as_ref().is_err_and(SendError::is_unknown)).count();
            println!("{seed}: {} of {} were reported, {unknown} as unknown", reported(&results), results.len());
            assert!(reported(&results) < messages / 20);
        }
    });
}

fn on_paused_clock<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap().block_on(test)
}
