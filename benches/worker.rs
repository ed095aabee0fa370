//! Compares the cost of the worker with that of other consumers.
//!
//! Each consumer is a separate process and polls a queue that this program serves on loopback. The consumers are
//! redrive's worker; a typical handwritten worker in Python (`benches/worker/sqs_worker.py`, on boto3); and the npm
//! package `sqs-consumer`, with a handler for single messages and with a batch handler.
//!
//! They take turns in one run, so that other load on the machine affects all of them equally. Each ratio compares two
//! runs of the same round, and the tables show the median of all rounds. CPU time is that of the consumer's process
//! alone, because the queue is in another process.
//!
//! `cargo bench --features worker --bench worker` installs the packages of the others with Python and Node under
//! `target`, and measures. After `--`, `--memory` adds a million messages, which take some minutes. `--quick` only
//! checks that everything runs, `--check` fails the run if a figure misses its limit, and `--no-peers` leaves out the
//! consumers that need Python and Node.

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

/// The compared consumers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Peer {
    Redrive,
    Python,
    SqsConsumer,
    SqsConsumerBatch,
}

impl Peer {
    /// Returns the messages of a round, chosen so that each consumer takes about the same time.
    fn messages(self, effort: &Effort) -> usize {
        match self {
            Self::Redrive => effort.messages,
            Self::Python | Self::SqsConsumerBatch => effort.messages / 8,
            Self::SqsConsumer => effort.messages / 16,
        }
    }
}

/// The size of a measurement.
struct Effort {
    rounds: usize,
    /// Redrive's messages in a round.
    messages: usize,
    /// The message counts after which the memory is read.
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
        eprintln!("unknown option {unknown}; the options are {}", OPTIONS[1..].join(", "));
        return ExitCode::FAILURE;
    }
    let has = |flag| args.iter().any(|arg| arg == flag);
    // `cargo bench` passes `--bench`. `cargo test --all-targets` does not, and only checks that this runs.
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

/// The figures of a consumer that drains a full queue.
#[derive(Clone, Copy)]
struct Run {
    messages_per_second: f64,
    messages_per_cpu_second: f64,
    /// The number of calls, if the program counts them.
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

/// Measures the rate between two samples, after a tenth of the messages and before the last one. A consumer's start and
/// its last polls do not count for its rate.
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

/// The rate of a handler that waits, at one concurrency, in messages a second.
struct Waiting {
    /// The upper bound on this machine: the rate of as many tasks without a queue.
    limit: f64,
    worker: f64,
}

/// Both run one right after the other, so that they see the same clock and the same load.
async fn waiting(server: &Server, effort: &Effort) -> Vec<Waiting> {
    let mut rounds = Vec::new();
    for _ in 0..effort.rounds {
        let limit = program::limit();
        let worker = drain(&Program::waiting(), server, effort.messages).await.messages_per_second;
        rounds.push(Waiting { limit, worker });
    }
    rounds
}

/// Limits the messages in the queue, because the queue keeps them in memory.
const BACKLOG: usize = 50_000;

/// Measures the memory, in MiB, of redrive's process after each number of messages.
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

/// The state of a process at a point in time.
struct Sample {
    at: Instant,
    settled: usize,
    cpu: Duration,
}

/// The time between two looks at the queue. Each look costs the queue a call. Samples carry their own time, so more
/// looks would add no precision.
const SAMPLE_EVERY: Duration = Duration::from_millis(20);

/// Limits a run. No consumer needs this long, and one that has lost a message never ends.
const LONGEST_RUN: Duration = Duration::from_secs(120);

impl Process {
    /// Waits until that many of the sent messages are deleted.
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
