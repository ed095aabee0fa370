//! Simulates a fleet of workers and mappings on one queue, with faults of every kind: crashes, shutdowns, partitions,
//! outages, suspended hosts, late answers and slow handlers.
//!
//! No message may be lost, groups have to keep their order, and each repeated run needs a cause between it and the run
//! before.
//!
//! `REDRIVE_SIMULATION_MESSAGES` and `REDRIVE_SIMULATION_SEED` change a run, as in the simulation of the mapping.

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

/// Runs the fleet until the queue is empty, and checks its book.
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
async fn no_message_is_lost_and_each_repeated_run_has_a_cause() {
    let (messages, seed) = messages_and_seed(MESSAGES, 44);
    run("orders", &bodies(messages), seed).await;
}

#[tokio::test(start_paused = true)]
async fn no_message_of_a_group_is_lost_or_overtaken() {
    let (messages, seed) = messages_and_seed(MESSAGES, 45);
    run("orders.fifo", &bodies_of_groups(messages), seed).await;
}

/// Runs the fleet on its own clock. The order of two timers of the same millisecond depends on how long the clock has
/// run.
fn run_alone(name: &str, bodies: &[String], seed: u64) -> Vec<Began> {
    let runtime = Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(run(name, bodies, seed)).runs
}

#[test]
fn the_same_seed_gives_the_same_run() {
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
