//! Measures the speed and the memory of the local queue.
//!
//! A client of the AWS SDK sends messages in batches of ten over loopback, receives them and deletes them as fast as it
//! can. It uses an empty queue, a queue with a hundred thousand messages, and a server that answers each call at once
//! with a fixed text. That server is the baseline: it shows the time of the client and the network.
//!
//! Options of `cargo bench -p redrive-local --`: `--quick` only tests that everything runs, and `--check` fails on a
//! missed bar.

#[path = "queue/server.rs"]
mod server;

use std::env;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_sqs::types::{DeleteMessageBatchRequestEntry, SendMessageBatchRequestEntry};
use server::{Kind, Server};
use tokio::task::JoinSet;

/// The number of concurrent calls.
const TASKS: usize = 8;
const BATCH: usize = 10;
const BODY_BYTES: usize = 128;
const BACKLOG: usize = 100_000;

/// The extent of the measurement.
struct Effort {
    rounds: usize,
    messages_per_round: usize,
}

const FULL: Effort = Effort { rounds: 7, messages_per_round: 30_000 };
const QUICK: Effort = Effort { rounds: 1, messages_per_round: 1_000 };

#[tokio::main]
async fn main() -> ExitCode {
    if let Some(kind) = Kind::from_env() {
        server::serve(kind).await;
        return ExitCode::SUCCESS;
    }
    let args: Vec<String> = env::args().skip(1).collect();
    if let Some(unknown) = args.iter().find(|arg| !["--bench", "--quick", "--check"].contains(&arg.as_str())) {
        eprintln!("unknown option {unknown}; use --quick or --check");
        return ExitCode::FAILURE;
    }
    let has = |flag| args.iter().any(|arg| arg == flag);
    let effort = if has("--quick") || !has("--bench") { QUICK } else { FULL };
    let all_met = measure(&effort).await;
    if has("--check") && !all_met { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

async fn measure(effort: &Effort) -> bool {
    let servers = [Kind::Queue, Kind::Queue, Kind::Canned].map(Server::start);
    let [empty, full, canned] = &servers;
    let queues = [Queue::new(empty).await, Queue::new(full).await, Queue::new(canned).await];
    queues[1].fill(BACKLOG).await;
    let memory = full.memory_mib();

    let mut rates = [const { Vec::new() }; 3];
    // In turn, so that other load on the machine affects all of them alike. The first round is a warm-up.
    for round in 0..=effort.rounds {
        for (queue, rates) in queues.iter().zip(&mut rates) {
            let rate = queue.messages_per_second(effort.messages_per_round).await;
            rates.extend((round > 0).then_some(rate));
        }
    }
    let [empty, full, canned] = rates.map(median);
    println!(
        "\nmessages a second, sent in tens, received and deleted by one client; medians of {} rounds",
        effort.rounds
    );
    println!("{:44}{empty:>10.0}{:>8.2}x", "an empty queue", empty / canned);
    println!("{:44}{full:>10.0}{:>8.2}x", "a queue with 100,000 messages", full / canned);
    println!("{:44}{canned:>10.0}{:>8.2}x", "a server with a fixed answer", 1.0);
    println!("\nmemory of the process with 100,000 messages of 128 bytes: {memory:.1} MiB");

    println!("\nbars");
    let met = [
        bar("messages a second", empty, "at least 15000", empty >= 15_000.0),
        bar("with 100,000 messages, to an empty queue", full / empty, "at least 0.80", full / empty >= 0.8),
        bar("MiB with 100,000 messages", memory, "under 60 MB", memory * 1.048_576 < 60.0),
    ];
    met.into_iter().all(|met| met)
}

fn bar(what: &str, figure: f64, bar: &str, met: bool) -> bool {
    println!("{what:44}{figure:>10.2}   {bar:16}{}", if met { "ok" } else { "MISSED" });
    met
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// A queue with its only client.
#[derive(Clone)]
struct Queue {
    client: Client,
    url: String,
}

impl Queue {
    async fn new(server: &Server) -> Self {
        let config = aws_sdk_sqs::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::from_static("us-east-1"))
            .credentials_provider(Credentials::new("x", "x", None, None, "benchmark"))
            .endpoint_url(server.url());
        let client = Client::from_conf(config.build());
        let created = client.create_queue().queue_name("orders").send().await.expect("the queue is created");
        Self { client, url: created.queue_url.expect("a queue has a URL") }
    }

    async fn fill(&self, messages: usize) {
        self.work(messages, false).await;
    }

    async fn messages_per_second(&self, messages: usize) -> f64 {
        let begin = Instant::now();
        self.work(messages, true).await;
        messages as f64 / begin.elapsed().as_secs_f64()
    }

    /// Sends this many messages, and optionally receives and deletes as many.
    async fn work(&self, messages: usize, settles: bool) {
        let batches = Arc::new(AtomicUsize::new(messages / BATCH));
        let mut tasks = JoinSet::new();
        for _ in 0..TASKS {
            let (queue, batches) = (self.clone(), batches.clone());
            tasks.spawn(async move {
                while batches.try_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
                    queue.send().await;
                    if settles {
                        queue.receive_and_delete().await;
                    }
                }
            });
        }
        while let Some(done) = tasks.join_next().await {
            done.expect("no call fails");
        }
    }

    async fn send(&self) {
        let entry =
            |id: usize| SendMessageBatchRequestEntry::builder().id(id.to_string()).message_body("x".repeat(BODY_BYTES));
        let entries = (0..BATCH).map(|id| entry(id).build().expect("the entry is complete"));
        let send = self.client.send_message_batch().queue_url(&self.url).set_entries(Some(entries.collect()));
        assert_eq!(send.send().await.expect("the send succeeds").successful().len(), BATCH);
    }

    async fn receive_and_delete(&self) {
        let receive = self.client.receive_message().queue_url(&self.url).max_number_of_messages(10);
        let received = receive.send().await.expect("the receive succeeds");
        assert_eq!(received.messages().len(), BATCH);
        let entries = received.messages().iter().enumerate().map(|(id, message)| {
            let entry = DeleteMessageBatchRequestEntry::builder().id(id.to_string());
            entry
                .receipt_handle(message.receipt_handle().expect("a message has a handle"))
                .build()
                .expect("the entry is complete")
        });
        let delete = self.client.delete_message_batch().queue_url(&self.url).set_entries(Some(entries.collect()));
        assert_eq!(delete.send().await.expect("the delete succeeds").successful().len(), BATCH);
    }
}
