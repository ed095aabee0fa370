//! A fleet of workers and mappings on one queue, under every fault: crashes, shutdowns, partitions, outages, suspended hosts, late answers and
//! slow handlers. And then the account must balance.
//!
//! Nothing is lost, groups keep their order, and each run of a message but its first has a cause that lies between the two.
//!
//! `REDRIVE_SIMULATION_MESSAGES` and `REDRIVE_SIMULATION_SEED` change a run, as in the simulation of the mapping alone.

mod book;
mod causes;
mod fleet;
mod groups;
mod handlers;
mod host;

use tokio::runtime::Builder;

use self::book::{Began, Book};
use self::fleet::Fleet;
use crate::setting::messages_and_seed;

const MESSAGES: usize = 100_000;
const GROUPS: usize = 200;

fn bodies(messages: usize) -> Vec<String> {
    (0..messages).map(|number| format!("order-{number}")).collect()
}

fn bodies_of_groups(messages: usize) -> Vec<String> {
    (0..messages).map(|number| format!("{}-{number}", number % GROUPS)).collect()
}

/// Runs the fleet until the queue is empty, and looks at its books.
async fn run(name: &str, bodies: &[String], seed: u64) -> Book {
    let fleet = Fleet::begin(name, seed, bodies).await;
    let book = fleet.run().await;
    let total: usize = book.causes.values().sum();
    println!("{} runs of {} messages, {total} for these causes: {:#?}", book.runs.len(), bodies.len(), book.causes);
    println!("{:?} of the queue's time, {:?}", book.began.elapsed(), book.troubles);
    let wrong = &book.wrong;
    assert!(
        wrong.is_empty(),
        "{} things went wrong, the first:\n{}",
        wrong.len(),
        wrong[..wrong.len().min(3)].join("\n\n")
    );
    book
}

#[tokio::test(start_paused = true)]
async fn no_message_is_lost_and_each_further_run_has_a_cause() {
    let (messages, seed) = messages_and_seed(MESSAGES, 44);
    run("orders", &bodies(messages), seed).await;
}

#[tokio::test(start_paused = true)]
async fn no_message_of_a_group_is_lost_or_overtaken() {
    let (messages, seed) = messages_and_seed(MESSAGES, 45);
    run("orders.fifo", &bodies_of_groups(messages), seed).await;
}

/// Each run has a clock of its own: which of two timers of the same millisecond is first depends on how long the clock has run.
fn run_alone(name: &str, bodies: &[String], seed: u64) -> Vec<Began> {
    let runtime = Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(run(name, bodies, seed)).runs
}

#[test]
fn the_same_seed_is_the_same_run() {
    for (name, bodies) in [("orders", bodies(1_000)), ("orders.fifo", bodies_of_groups(1_000))] {
        let (first, second) = (run_alone(name, &bodies, 1), run_alone(name, &bodies, 1));
        let differ = first.iter().zip(&second).position(|(one, other)| one != other);
        assert_eq!(
            (differ, first.len()),
            (None, second.len()),
            "{name}: {:?}",
            differ.map(|at| (&first[at], &second[at]))
        );
        assert_ne!(first, run_alone(name, &bodies, 2));
    }
}
