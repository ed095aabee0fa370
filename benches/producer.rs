//! Compares the cost of sending through a producer with that of sending by hand and of the npm package `sqs-producer`.
//!
//! Each sender is a separate process and sends the same small messages to a queue that this program serves on loopback.
//! The senders are redrive's producer, `sqs-producer`, and `send_message_batch` with ten messages a call. The last one
//! runs one call at a time and ten at a time, and ignores failures.
//!
//! They take turns in one run, so that other load on the machine affects all of them equally. Each ratio compares two
//! runs of the same round. CPU time is that of the sender's process alone.
//!
//! `cargo bench --features producer --bench producer` installs `sqs-producer` with npm under `target`, and measures.
//! After `--`, `--quick` only checks that everything runs, `--check` fails the run if a figure misses its limit, and
//! `--no-peers` leaves out the sender that needs Node.

#[path = "producer/install.rs"]
mod install;
#[path = "producer/sender.rs"]
mod sender;

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use aws_sdk_sqs::types::QueueAttributeName as Name;
use redrive_local::Sqs;
use sender::{ROLE, Role};
use tokio::net::TcpListener;

/// The size of a measurement.
struct Effort {
    rounds: usize,
    messages: usize,
}

const FULL: Effort = Effort { rounds: 7, messages: 100_000 };
const QUICK: Effort = Effort { rounds: 1, messages: 2_000 };

const OPTIONS: [&str; 4] = ["--bench", "--quick", "--check", "--no-peers"];

/// The figures that a sender reports.
#[derive(Clone, Copy)]
struct Run {
    messages_per_second: f64,
    messages_per_cpu_second: f64,
    calls: f64,
}

/// A sender and its figures of each round.
struct Sender {
    name: &'static str,
    command: Vec<OsString>,
    role: &'static str,
    runs: Vec<Run>,
}

impl Sender {
    fn this(role: Role) -> Self {
        let program = env::current_exe().expect("this program");
        Self { name: role.title(), command: vec![program.into()], role: role.name(), runs: Vec::new() }
    }

    fn node(script: PathBuf) -> Self {
        Self { name: "sqs-producer", command: vec!["node".into(), script.into()], role: "", runs: Vec::new() }
    }

    /// Makes the sender send this many messages to that queue, and records the figures that it reports: seconds, CPU
    /// seconds and calls.
    fn run(&mut self, server: &str, queue_url: &str, messages: usize) {
        let mut command = Command::new(&self.command[0]);
        command.args(&self.command[1..]).env(ROLE, self.role).env("BENCH_MESSAGES", messages.to_string());
        command.env("BENCH_QUEUE_URL", queue_url).env("AWS_ENDPOINT_URL_SQS", server);
        command.env("AWS_ACCESS_KEY_ID", "x").env("AWS_SECRET_ACCESS_KEY", "x");
        command.env("AWS_REGION", "us-east-1").env("NODE_ENV", "production").env("NODE_NO_WARNINGS", "1");
        let output = command.stderr(Stdio::inherit()).output().expect("the program exists");
        assert!(output.status.success(), "{} ended with {}", self.name, output.status);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let figures: Vec<f64> = said.split_whitespace().map(|figure| figure.parse().expect("a figure")).collect();
        let [seconds, cpu_seconds, calls] = figures[..] else { panic!("{} says {said:?}", self.name) };
        let messages = messages as f64;
        self.runs.push(Run {
            messages_per_second: messages / seconds,
            messages_per_cpu_second: messages / cpu_seconds,
            calls,
        });
    }
}

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    if let Some(role) = Role::from_env() {
        runtime.block_on(sender::run(role));
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
    let effort = if has("--quick") || is_test { QUICK } else { FULL };
    let mut senders: Vec<_> = Role::ALL.into_iter().map(Sender::this).collect();
    if !has("--no-peers") && !is_test {
        match install::sqs_producer() {
            Ok(script) => senders.push(Sender::node(script)),
            Err(problem) => {
                eprintln!("error: {problem}");
                return ExitCode::FAILURE;
            }
        }
    }
    runtime.block_on(measure(&mut senders, &effort));
    let all_met = report(&senders, &effort);
    if has("--check") && !all_met { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

async fn measure(senders: &mut [Sender], effort: &Effort) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let server = format!("http://{}", listener.local_addr().expect("an address"));
    let sqs = Sqs::new();
    let client = sqs.client();
    tokio::spawn(sqs.serve(listener, std::future::pending()));
    for round in 0..effort.rounds {
        for (number, sender) in senders.iter_mut().enumerate() {
            let name = format!("orders-{round}-{number}");
            let queue_url = format!("{server}/000000000000/{name}");
            client.create_queue().queue_name(&name).send().await.expect("a queue");
            tokio::task::block_in_place(|| sender.run(&server, &queue_url, effort.messages));
            let get =
                client.get_queue_attributes().queue_url(&queue_url).attribute_names(Name::ApproximateNumberOfMessages);
            let attributes = get.send().await.expect("attributes").attributes.unwrap_or_default();
            let there = attributes[&Name::ApproximateNumberOfMessages].parse();
            assert_eq!(there, Ok(effort.messages), "the queue lacks messages that {} reported as sent", sender.name);
            client.delete_queue().queue_url(&queue_url).send().await.expect("the queue exists");
        }
    }
}

const RATE: fn(&Run) -> f64 = |run| run.messages_per_second;
const PER_CPU_SECOND: fn(&Run) -> f64 = |run| run.messages_per_cpu_second;

/// Prints the figures and each limit. Returns whether all limits are met.
fn report(senders: &[Sender], effort: &Effort) -> bool {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    println!(
        "\n{cores} cores; {} messages a round; medians of {} rounds, and their range",
        effort.messages, effort.rounds
    );
    println!("\n{:28}{:>28}{:>28}{:>12}", "", "messages/s", "messages/CPU s", "calls");
    for sender in senders {
        let of = |figure: fn(&Run) -> f64| spread(sender.runs.iter().map(figure).collect());
        let calls = median(sender.runs.iter().map(|run| run.calls).collect());
        println!("{:28}{:>28}{:>28}{calls:>12.0}", sender.name, of(RATE), of(PER_CPU_SECOND));
    }
    let (redrive, others) = senders.split_first().expect("redrive's sender is the first");
    let ratio = |other: &Sender, figure: fn(&Run) -> f64| {
        median(redrive.runs.iter().zip(&other.runs).map(|(ours, theirs)| figure(ours) / figure(theirs)).collect())
    };
    println!("\nbars");
    let by_hand = others
        .iter()
        .filter(|other| !other.role.is_empty())
        .map(|other| ratio(other, RATE))
        .fold(f64::INFINITY, f64::min);
    let mut all_met = bar("messages/s, to the better of those by hand", by_hand, 0.95);
    for other in others.iter().filter(|other| other.role.is_empty()) {
        all_met &= bar("a CPU second, to sqs-producer", ratio(other, PER_CPU_SECOND), 3.0);
    }
    all_met
}

fn bar(what: &str, figure: f64, at_least: f64) -> bool {
    let is_met = figure >= at_least;
    println!("{what:44}{figure:>8.2}   at least {at_least:<6}{}", if is_met { "PASS" } else { "SHORT" });
    is_met
}

fn spread(figures: Vec<f64>) -> String {
    let (low, high) =
        figures.iter().fold((f64::INFINITY, 0.0_f64), |(low, high), &each| (low.min(each), high.max(each)));
    format!("{:.0} ({low:.0} - {high:.0})", median(figures))
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}
