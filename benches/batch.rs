//! Compares the cost of redrive with that of code without it.
//!
//! Four functions, each a separate executable (`benches/peers`), answer the same events over a Lambda Runtime API on
//! loopback: redrive; the pattern of AWS's own example; a careful function by hand; and the floor, which only skips
//! over the JSON. They take turns in one run, so that other load on the machine affects all of them equally. The
//! figures are medians.
//!
//! `cargo bench` measures all of them. After `--`, `--quick` only checks that everything runs, and `--check` fails the
//! run if a figure misses its limit.
//!
//! Most Lambda functions have less than one core. So a second pass (`--one-core`) prints the ratios with everything
//! pinned to one core: the functions, and the server that sends them events.

#[path = "batch/event.rs"]
mod event;
#[path = "batch/function.rs"]
mod function;
#[path = "batch/one_core.rs"]
mod one_core;
#[path = "batch/report.rs"]
mod report;
#[path = "../tests/support/runtime_api.rs"]
mod runtime_api;

use std::env;
use std::ops::Index;
use std::process::ExitCode;

use event::event;
use function::{Function, Program};
use report::{Figures, PerBatch};

/// The records of a batch.
const RECORDS: [usize; 5] = [1, 10, 100, 1_000, 6_000];

/// The records of a batch whose handlers wait.
const WAITING_RECORDS: usize = 10;

/// The compared functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Peer {
    Redrive,
    AwsExample,
    ByHand,
    Floor,
}

impl Peer {
    const ALL: [Self; 4] = [Self::Redrive, Self::AwsExample, Self::ByHand, Self::Floor];
}

/// The handler of a function. `benches/peers/orders-work` contains its code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Handler {
    Noop,
    Work,
    Wait,
}

/// One figure for each peer.
#[derive(Clone, Copy, Debug, Default)]
struct Row([f64; Peer::ALL.len()]);

impl Index<Peer> for Row {
    type Output = f64;

    fn index(&self, peer: Peer) -> &f64 {
        &self.0[peer as usize]
    }
}

/// The number of measurements. Each count applies to every peer.
struct Effort {
    /// Fresh processes for each figure, because the system rarely moves the threads of a running process.
    processes: usize,
    /// Timed batches in each process, by the index of [`RECORDS`].
    batches: [usize; RECORDS.len()],
    waiting_batches: usize,
    /// Batches in each process before its peak memory is read.
    batches_to_peak: usize,
    start_ups: usize,
}

const FULL: Effort =
    Effort { processes: 5, batches: [400, 400, 200, 60, 16], waiting_batches: 12, batches_to_peak: 20, start_ups: 150 };

const QUICK: Effort =
    Effort { processes: 1, batches: [50, 50, 20, 5, 3], waiting_batches: 3, batches_to_peak: 3, start_ups: 5 };

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let known = ["--bench", "--quick", "--check", one_core::FLAG];
    if let Some(unknown) = args.iter().find(|arg| !known.contains(&arg.as_str())) {
        eprintln!("unknown option {unknown}; pass --quick, --check or {}", one_core::FLAG);
        return ExitCode::FAILURE;
    }
    let has = |flag| args.iter().any(|arg| arg == flag);
    // `cargo bench` passes `--bench`. `cargo test --all-targets` does not, and only checks that this runs.
    let effort = if has("--quick") || !has("--bench") { &QUICK } else { &FULL };

    let programs = function::build();
    if has(one_core::FLAG) {
        one_core::measure(&programs, effort).await;
        return ExitCode::SUCCESS;
    }
    report::print_machine();
    let figures = measure(&programs, effort).await;
    let all_met = report::print_bars(&figures);
    one_core::run(&args);
    if has("--check") && !all_met { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

async fn measure(programs: &[Program], effort: &Effort) -> Figures {
    let noop = per_batch(programs, Handler::Noop, effort).await;
    report::print_per_batch("a handler that does nothing", &noop);
    let work = per_batch(programs, Handler::Work, effort).await;
    report::print_per_batch("a handler that parses, checks and stores an order", &work);
    let wait = round_trip(programs, Handler::Wait, WAITING_RECORDS, effort.waiting_batches, effort.processes).await;
    let start_up = start_up(programs, effort.start_ups).await;
    let size = Row(Peer::ALL.map(|peer| programs[peer as usize].size_mib()));
    report::print_process(&start_up, &size, &wait);
    Figures { noop, work, wait, start_up, size }
}

async fn per_batch(programs: &[Program], handler: Handler, effort: &Effort) -> PerBatch {
    let mut figures = PerBatch::default();
    for (size, records) in RECORDS.into_iter().enumerate() {
        figures.p50[size] = round_trip(programs, handler, records, effort.batches[size], effort.processes).await;
        figures.peak[size] = peak_memory(programs, handler, records, effort).await;
    }
    figures
}

/// Measures the microseconds from handing out an event to its answer.
async fn round_trip(programs: &[Program], handler: Handler, records: usize, batches: usize, processes: usize) -> Row {
    let event = event(handler, records);
    let mut samples = Samples::default();
    for _ in 0..processes {
        let mut functions = Vec::new();
        for program in programs {
            functions.push(Function::start(program, handler).await);
        }
        for function in &mut functions {
            for _ in 0..batches.div_ceil(4) {
                function.invoke(&event).await;
            }
        }
        samples.take(batches, async |peer| functions[peer as usize].invoke(&event).await.as_secs_f64() * 1e6).await;
        for function in functions {
            function.stop().await;
        }
    }
    samples.medians()
}

/// Measures the peak memory, in MiB, of processes that have only served some batches.
async fn peak_memory(programs: &[Program], handler: Handler, records: usize, effort: &Effort) -> Row {
    let event = event(handler, records);
    let mut samples = Samples::default();
    let peak = async |peer: Peer| {
        let mut function = Function::start(&programs[peer as usize], handler).await;
        for _ in 0..effort.batches_to_peak {
            function.invoke(&event).await;
        }
        let peak = function.peak_memory_mib();
        function.stop().await;
        peak
    };
    samples.take(effort.processes, peak).await;
    samples.medians()
}

/// Measures the milliseconds from the start of a process to its first poll.
async fn start_up(programs: &[Program], start_ups: usize) -> Row {
    let mut samples = Samples::default();
    let start_up = async |peer: Peer| {
        let function = Function::start(&programs[peer as usize], Handler::Noop).await;
        let start_up = function.start_up;
        function.stop().await;
        start_up.as_secs_f64() * 1e3
    };
    samples.take(start_ups, start_up).await;
    samples.medians()
}

/// The order of the peers in a round, relative to its first peer. All steps between neighbours differ.
const TURNS: [usize; Peer::ALL.len()] = [0, 1, 3, 2];

/// The samples of each peer.
#[derive(Default)]
struct Samples([Vec<f64>; Peer::ALL.len()]);

impl Samples {
    /// Samples each peer once in each round. A process affects the next one through the caches and the clock speed. In
    /// four rounds each peer therefore follows each other peer once.
    async fn take(&mut self, rounds: usize, mut sample: impl AsyncFnMut(Peer) -> f64) {
        for round in 0..rounds {
            for step in TURNS {
                let peer = Peer::ALL[(round + step) % Peer::ALL.len()];
                self.0[peer as usize].push(sample(peer).await);
            }
        }
    }

    fn medians(self) -> Row {
        Row(self.0.map(median))
    }
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    let middle = samples.len() / 2;
    if samples.len() % 2 == 1 { samples[middle] } else { (samples[middle - 1] + samples[middle]) / 2.0 }
}
