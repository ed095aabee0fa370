//! Many tasks send through one producer under every fault, and then the account must balance.
//!
//! `REDRIVE_SIMULATION_MESSAGES` and `REDRIVE_SIMULATION_SEED` change a run, as in the other simulations.

use std::collections::HashMap;

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

/// How often each number is in the queue, once what is said of each is found to be so.
async fn account(queue: &Queue, results: &[Result]) -> HashMap<usize, usize> {
    queue.sqs.set_faults(Faults::none());
    let mut there: HashMap<usize, Vec<(String, String)>> = HashMap::new();
    for message in queue.take_all().await {
        let id = text(&message, "redrive.id").unwrap_or_default();
        there.entry(message.body().unwrap().parse().unwrap()).or_default().push((message.message_id.unwrap(), id));
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
    }
    there.into_iter().map(|(number, copies)| (number, copies.len())).collect()
}

fn reported(results: &[Result]) -> usize {
    results.iter().filter(|result| result.is_err()).count()
}

#[test]
fn each_message_is_accepted_or_reported() {
    let (messages, seed) = messages_and_seed(MESSAGES, 1);
    on_paused_clock(async {
        for (lost_answers, may_be_there_twice) in [(0.0, false), (0.02, true)] {
            let queue = Queue::new("orders", seed).await;
            queue.sqs.set_faults(faults().lost_answers(lost_answers));
            let results = send_all(&queue.producer(), messages / 2).await;
            let there = account(&queue, &results).await;
            let twice = there.values().filter(|count| **count > 1).count();
            println!("{} are there, {twice} of them more than once; {} were reported", there.len(), reported(&results));
            // A call that is slow for longer than an attempt may take is one whose answer is lost.
            assert!(may_be_there_twice || twice < messages / 100, "{twice}");
            assert!(reported(&results) < messages / 50);
        }
    });
}

#[test]
fn each_group_is_in_order_and_nothing_is_there_twice() {
    let (messages, seed) = messages_and_seed(MESSAGES, 1);
    on_paused_clock(async {
        let queue = Queue::new("orders.fifo", seed).await;
        queue.sqs.set_faults(faults().lost_answers(0.02));
        let results = send_all(&queue.producer(), messages).await;
        queue.sqs.set_faults(Faults::none());
        let mut last: HashMap<usize, usize> = HashMap::new();
        let all = queue.take_all().await;
        for message in &all {
            let number: usize = message.body().unwrap().parse().unwrap();
            let before = last.insert(number % GROUPS, number);
            assert!(before.is_none_or(|before| before < number), "{number} comes behind {before:?}");
        }
        let accepted = results.iter().filter(|result| result.is_ok()).count();
        println!("{accepted} were accepted, {} reported, {} are there", reported(&results), all.len());
        let unknown = results.iter().filter(|result| result.as_ref().is_err_and(SendError::is_unknown)).count();
        assert!((accepted..=accepted + unknown).contains(&all.len()));
    });
}

fn on_paused_clock<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap().block_on(test)
}
