//! Prints the tables and compares the figures with their limits.

use std::fmt;
use std::thread;

use crate::{Peer, Run, Waiting, median};

pub(crate) type PerProgram = Vec<(Peer, Vec<Run>)>;

/// All figures.
pub(crate) struct Figures {
    pub(crate) noop: PerProgram,
    pub(crate) waiting: Vec<Waiting>,
    /// The memory in MiB, after some messages and after many.
    pub(crate) growth: Option<[f64; 2]>,
}

impl Peer {
    fn name(self) -> &'static str {
        match self {
            Self::Redrive => "redrive",
            Self::Python => "SQSWorker, boto3",
            Self::SqsConsumer => "sqs-consumer",
            Self::SqsConsumerBatch => "sqs-consumer, batch handler",
        }
    }
}

pub(crate) fn print_head(rounds: usize) {
    let cores = thread::available_parallelism().map_or(0, usize::from);
    println!(
        "\n{cores} cores; medians of {rounds} rounds, and their range; behind that, how many times it is in redrive's"
    );
}

pub(crate) fn print_noop(noop: &PerProgram) {
    println!("\na handler that does nothing{:>26}{:>36}", "messages/s", "messages/CPU s");
    let redrive = &noop[0].1;
    for (peer, runs) in noop {
        let cells = [RATE, PER_CPU_SECOND].map(|figure| {
            let all = Spread::of(runs.iter().map(figure));
            format!("{all}{:>7.2}x", times(redrive, runs, figure).median)
        });
        println!("{:34}{}", peer.name(), cells.concat());
    }
}

pub(crate) fn print_waiting(rounds: &[Waiting]) {
    println!("\na handler that waits 20 ms, 200 at a time");
    println!("{:34}{} messages/s", "200 tasks without a queue", Spread::of(rounds.iter().map(|round| round.limit)));
    println!("{:34}{} messages/s", "redrive", Spread::of(rounds.iter().map(|round| round.worker)));
}

const RATE: fn(&Run) -> f64 = |run| run.messages_per_second;
const PER_CPU_SECOND: fn(&Run) -> f64 = |run| run.messages_per_cpu_second;
const CALLS: fn(&Run) -> f64 = |run| run.calls_per_thousand.unwrap_or(f64::NAN);

/// The median and range of a figure over all rounds.
struct Spread {
    median: f64,
    low: f64,
    high: f64,
}

impl Spread {
    fn of(figures: impl Iterator<Item = f64>) -> Self {
        let figures: Vec<_> = figures.collect();
        let low = figures.iter().copied().fold(f64::INFINITY, f64::min);
        let high = figures.iter().copied().fold(0.0, f64::max);
        Self { median: median(figures), low, high }
    }

    fn single(figure: f64) -> Self {
        Self::of(std::iter::once(figure))
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { median, low, high } = self;
        let digits = if *median < 100.0 { 2 } else { 0 };
        let range = format!("({low:.digits$} - {high:.digits$})");
        write!(f, "{median:>8.digits$}  {range:>16}")
    }
}

/// Returns redrive's figure divided by the peer's, for each round.
fn times(redrive: &[Run], peer: &[Run], figure: fn(&Run) -> f64) -> Spread {
    Spread::of(redrive.iter().zip(peer).map(|(redrive, peer)| figure(redrive) / figure(peer)))
}

/// Prints each limit with its figure. Returns whether all limits are met.
pub(crate) fn print_bars(figures: &Figures) -> bool {
    let runs = |wanted| figures.noop.iter().find(|(peer, _)| *peer == wanted).map(|(_, runs)| runs.as_slice());
    let redrive = runs(Peer::Redrive).unwrap_or_default();
    let times = |peer| Some(times(redrive, runs(peer)?, PER_CPU_SECOND));
    let of_redrive = |figure: fn(&Run) -> f64| Some(Spread::of(redrive.iter().map(figure)));
    let share = Spread::of(figures.waiting.iter().map(|round| round.worker / round.limit));
    let growth = figures.growth.map(|[some, many]| Spread::single(many / some));

    println!("\nbars");
    let met = [
        bar("a CPU second, to SQSWorker", times(Peer::Python), "at least 12", |figure| figure >= 12.0),
        bar("a CPU second, to sqs-consumer", times(Peer::SqsConsumer), "at least 3", |figure| figure >= 3.0),
        bar("messages/s", of_redrive(RATE), "at least 5000", |figure| figure >= 5_000.0),
        bar("calls for 1,000 messages", of_redrive(CALLS), "at most 215", |figure| figure <= 215.0),
        bar("share of what the limit allows", Some(share), "at least 0.95", |figure| figure >= 0.95),
        bar("memory after 10 times the messages", growth, "0.90 to 1.10", |figure| (0.9..=1.1).contains(&figure)),
    ];
    met.into_iter().all(|met| met)
}

/// A figure that was not measured meets its limit.
fn bar(what: &str, figure: Option<Spread>, bar: &str, is_met: impl FnOnce(f64) -> bool) -> bool {
    let Some(figure) = figure else {
        println!("{what:34}{:>8}{:21}{bar:16}not measured", "-", "");
        return true;
    };
    let met = is_met(figure.median);
    println!("{what:34}{figure}   {bar:16}{}", if met { "PASS" } else { "SHORT" });
    met
}
