//! What the worker costs, beside the consumers that one would take in its place.
//!
//! Each is a process of its own and polls a queue that is served here, over loopback: redrive's worker; the worker in Python that
//! teams write by hand (`benches/worker/sqs_worker.py`, on boto3); and the npm package `sqs-consumer`, with a handler a message and
//! with one a batch. They take turns in one run, so that whatever else the machine does falls on all of them alike; a ratio is that
//! of two runs of the same round, and what is shown of all rounds is the median. CPU time is that of the consumer's process alone:
//! the queue's is in another.
//!
//! `cargo bench --features worker --bench worker` has Python and Node install what the others need, under `target`, and
//! measures. Behind `--`: `--memory` adds a million messages, which take some minutes, `--quick` looks only whether everything runs,
//! `--check` makes a missed bar an error, and `--no-peers` leaves out what needs Python and Node.

#[path = "../tests/support/calls.rs"]
mod calls;
#[path = "worker/consumer.rs"]
mod consumer;
#[path = "worker/program.rs"]
mod program;
#[path = "worker/queue.rs"]
mod queue;
#[path = "worker/report.rs"]
mod report;

use std::env;
use std::process::ExitCode;
use std::time::Duration;

use program::{Process, Program};
use queue::{Queue, Server};
use report::{Figures, PerProgram};
use tokio::time::Instant;

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Peer {
    Redrive,
    Python,
    SqsConsumer,
    SqsConsumerBatch,
}

impl Peer {
    /// How many messages a round has: about the same time for each.
    fn messages(self, effort: &Effort) -> usize {
        match self {
            Self::Redrive => effort.messages,
            Self::Python | Self::SqsConsumerBatch => effort.messages / 8,
            Self::SqsConsumer => effort.messages / 16,
        }
    }
}

/// How much is measured.
struct Effort {
    rounds: usize,
    /// Of redrive, in a round.
    messages: usize,
    /// After how many messages the memory is looked at.
    memory: [usize; 2],
}

const FULL: Effort = Effort { rounds: 7, messages: 40_000, memory: [100_000, 1_000_000] };
const QUICK: Effort = Effort { rounds: 1, messages: 4_000, memory: [2_000, 10_000] };

const OPTIONS: [&str; 5] = ["--bench", "--memory", "--quick", "--check", "--no-peers"];

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    if let Some(role) = consumer::Role::from_env() {
        runtime.block_on(consumer::run(role));
        return ExitCode::SUCCESS;
    }
    let args: Vec<String> = env::args().skip(1).collect();
    if let Some(unknown) = args.iter().find(|arg| !OPTIONS.contains(&arg.as_str())) {
        eprintln!("{unknown} is none of this benchmark's options: {}", OPTIONS[1..].join(", "));
        return ExitCode::FAILURE;
    }
    let has = |flag| args.iter().any(|arg| arg == flag);
    // `cargo bench` passes `--bench`; `cargo test --all-targets` does not, and wants to know whether this runs.
    let is_test = !has("--bench");
    let effort = if has("--quick") || is_test { &QUICK } else { &FULL };
    let programs = match program::install(!has("--no-peers") && !is_test) {
        Ok(programs) => programs,
        Err(problem) => {
            eprintln!("error: {problem}");
            return ExitCode::FAILURE;
        }
    };
    let all_met = runtime.block_on(measure(&programs, effort, has("--memory")));
    if has("--check") && !all_met { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

async fn measure(programs: &[Program], effort: &Effort, looks_at_memory: bool) -> bool {
    let server = Server::start().await;
    report::print_head(effort.rounds);
    let noop = noop(programs, &server, effort).await;
    report::print_noop(&noop);
    let waiting = waiting(&server, effort).await;
    report::print_waiting(&waiting);
    let growth = match looks_at_memory {
        true => Some(memory(&server, effort.memory).await),
        false => None,
    };
    report::print_bars(&Figures { noop, waiting, growth })
}

/// What a consumer did with a queue that was full when it began.
#[derive(Clone, Copy)]
struct Run {
    messages_per_second: f64,
    messages_per_cpu_second: f64,
    /// Where the program counts them.
    calls_per_thousand: Option<f64>,
}

async fn noop(programs: &[Program], server: &Server, effort: &Effort) -> PerProgram {
    let mut runs: PerProgram = programs.iter().map(|program| (program.peer, Vec::new())).collect();
    for _ in 0..effort.rounds {
        for (program, (peer, runs)) in programs.iter().zip(&mut runs) {
            runs.push(drain(program, server, peer.messages(effort)).await);
        }
    }
    runs
}

/// A consumer's start and its last polls are no matter of its rate: that is taken between two samples, after a tenth of the messages and
/// before the last one.
async fn drain(program: &Program, server: &Server, messages: usize) -> Run {
    let queue = server.queue().await;
    queue.send(messages).await;
    let mut process = program.start(&queue);
    let from = process.sample_after(&queue, messages, messages / 10).await;
    let to = process.sample_after(&queue, messages, messages * 9 / 10).await;
    process.sample_after(&queue, messages, messages).await;
    let settled = (to.settled - from.settled) as f64;
    Run {
        messages_per_second: settled / (to.at - from.at).as_secs_f64(),
        messages_per_cpu_second: settled / (to.cpu - from.cpu).as_secs_f64(),
        calls_per_thousand: process.stop().map(|calls| calls / messages as f64 * 1e3),
    }
}

/// How a handler that waits fares at a concurrency, in messages a second.
struct Waiting {
    /// What the limit allows on this machine: what as many tasks do that have no queue.
    limit: f64,
    worker: f64,
}

/// One right after the other: both wait by the same clock, and whatever else the machine does then.
async fn waiting(server: &Server, effort: &Effort) -> Vec<Waiting> {
    let mut rounds = Vec::new();
    for _ in 0..effort.rounds {
        let limit = program::limit();
        let worker = drain(&Program::waiting(), server, effort.messages).await.messages_per_second;
        rounds.push(Waiting { limit, worker });
    }
    rounds
}

/// How many messages the queue has, at most, while a consumer gets more of them than memory is for.
const BACKLOG: usize = 50_000;

/// MiB that redrive's process has in memory after so many messages each.
async fn memory(server: &Server, after: [usize; 2]) -> [f64; 2] {
    let queue = server.queue().await;
    let mut process = Program::redrive().start(&queue);
    let mut sent = 0;
    let mut figures = [f64::NAN; 2];
    for (figure, after) in figures.iter_mut().zip(after) {
        while sent < after {
            let messages = (after - sent).min(BACKLOG / 2);
            queue.send(messages).await;
            sent += messages;
            process.sample_after(&queue, sent, sent.saturating_sub(BACKLOG / 2)).await;
        }
        process.sample_after(&queue, sent, sent).await;
        *figure = process.memory_mib();
        println!("{after:>9} messages: {figure:.1} MiB");
    }
    process.stop();
    figures
}

/// What a process had done at some time.
struct Sample {
    at: Instant,
    settled: usize,
    cpu: Duration,
}

/// Each costs the queue a call. A sample says itself when it was taken, so that more of them would tell no more.
const SAMPLE_EVERY: Duration = Duration::from_millis(20);

/// No consumer takes so long for its messages. One that has lost some never ends.
const LONGEST_RUN: Duration = Duration::from_secs(120);

impl Process {
    /// Waits until that many of the messages sent are deleted.
    async fn sample_after(&mut self, queue: &Queue, sent: usize, settled: usize) -> Sample {
        let begin = Instant::now();
        loop {
            let sample = Sample { at: Instant::now(), settled: sent - queue.len().await, cpu: self.cpu() };
            if sample.settled >= settled {
                return sample;
            }
            self.check();
            assert!(
                begin.elapsed() < LONGEST_RUN,
                "{settled} messages of {sent} are to be deleted, and {} are",
                sample.settled
            );
            tokio::time::sleep(SAMPLE_EVERY).await;
        }
    }
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}
