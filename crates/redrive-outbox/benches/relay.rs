//! Measures how many rows a relay sends a second, from its own PostgreSQL to a local queue over loopback.
//!
//! In the same run it measures the producer alone with the same messages and no database, and prints the ratio. It also
//! measures `enqueue`, with one and with a hundred messages a transaction, against a plain insert.
//!
//! Run `REDRIVE_TEST_POSTGRES=$(python3 scripts/test_postgres.py) cargo bench -p redrive-outbox` to measure. After
//! `--`, `--quick` only checks that it runs, and `--check` exits with an error if the bar is missed.

#[path = "../../../tests/support/postgres/mod.rs"]
#[allow(dead_code, reason = "the tests restart it")]
mod postgres;

use std::env;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region};
use postgres::Server;
use redrive::{Outgoing, Producer};
use redrive_local::Sqs;
use redrive_outbox::{Outbox, Relay};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tokio::net::TcpListener;

struct Effort {
    rounds: usize,
    rows: usize,
}

const FULL: Effort = Effort { rounds: 5, rows: 30_000 };
const QUICK: Effort = Effort { rounds: 1, rows: 1_000 };

const OPTIONS: [&str; 3] = ["--bench", "--quick", "--check"];

/// The minimum of rows a second.
const BAR: f64 = 3_000.0;

const PER_TRANSACTION: usize = 100;

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    if let Some(unknown) = args.iter().find(|arg| !OPTIONS.contains(&arg.as_str())) {
        eprintln!("unknown option {unknown}; the options are {}", OPTIONS[1..].join(", "));
        return ExitCode::FAILURE;
    }
    let has = |flag| args.iter().any(|arg| arg == flag);
    // `cargo bench` passes `--bench`. `cargo test --all-targets` does not, and only checks that this runs.
    let effort = if has("--quick") || !has("--bench") { QUICK } else { FULL };
    let server = Server::start();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let is_met = runtime.block_on(measure(&server, &effort));
    drop(runtime);
    if has("--check") && !is_met { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Rows a second, in each round.
#[derive(Default)]
struct Figures {
    relay: Vec<f64>,
    producer: Vec<f64>,
    alone: Vec<f64>,
    by_hundreds: Vec<f64>,
    by_hand: Vec<f64>,
}

async fn measure(server: &Server, effort: &Effort) -> bool {
    let pool = PgPoolOptions::new().max_connections(5).connect(&server.url("postgres")).await.expect("a database");
    Outbox::migrate(&pool).await.expect("tables");
    sqlx::raw_sql("create table by_hand (id bigserial primary key, body text)").execute(&pool).await.expect("a table");
    let sqs = Sqs::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
    let local = sqs.client();
    tokio::spawn(sqs.serve(listener, std::future::pending()));
    let client = client(&endpoint);

    let mut figures = Figures::default();
    for round in 0..effort.rounds {
        let name = format!("orders-{round}");
        local.create_queue().queue_name(&name).send().await.expect("a queue");
        let queue_url = format!("{endpoint}/000000000000/{name}");
        let few = effort.rows / 20;
        figures.by_hand.push(rate(few, by_hand(&pool, few)).await);
        figures.alone.push(rate(few, enqueue(&pool, &queue_url, few, 1)).await);
        let rest = effort.rows - few;
        figures.by_hundreds.push(rate(rest, enqueue(&pool, &queue_url, rest, PER_TRANSACTION)).await);
        let relay = Relay::new(pool.clone(), client.clone()).keep_sent(Duration::ZERO);
        let relayed = async { relay.run_until(all_sent(&pool)).await.expect("a relay that begins") };
        figures.relay.push(rate(effort.rows, relayed).await);
        let producer = Producer::new(client.clone(), &queue_url);
        let sent = async {
            let messages = (0..effort.rows).map(|number| Outgoing::text(body(number)));
            assert!(producer.send_all(messages).await.iter().all(Result::is_ok), "all is sent");
        };
        figures.producer.push(rate(effort.rows, sent).await);
        local.delete_queue().queue_url(&queue_url).send().await.expect("a queue that is there");
        sqlx::raw_sql("truncate by_hand; delete from redrive_outbox").execute(&pool).await.expect("tables");
    }
    pool.close().await;
    report(figures, effort)
}

fn client(endpoint: &str) -> Client {
    let config = aws_sdk_sqs::Config::builder().behavior_version(BehaviorVersion::latest()).endpoint_url(endpoint);
    let config = config.region(Region::from_static("us-east-1"));
    Client::from_conf(config.credentials_provider(Credentials::new("x", "x", None, None, "bench")).build())
}

async fn rate(rows: usize, work: impl Future<Output = ()>) -> f64 {
    let begin = Instant::now();
    work.await;
    rows as f64 / begin.elapsed().as_secs_f64()
}

fn body(number: usize) -> String {
    format!("{{\"order_id\":{number},\"padding\":\"{:0>90}\"}}", number)
}

async fn enqueue(pool: &PgPool, queue_url: &str, rows: usize, per_transaction: usize) {
    let outbox = Outbox::new(queue_url);
    for first in (0..rows).step_by(per_transaction) {
        let mut transaction = pool.begin().await.expect("a transaction");
        for number in first..rows.min(first + per_transaction) {
            outbox.enqueue(&mut transaction, Outgoing::text(body(number))).await.expect("a row");
        }
        transaction.commit().await.expect("a commit");
    }
}

/// Inserts rows in one transaction each, as `enqueue` does.
async fn by_hand(pool: &PgPool, rows: usize) {
    for number in 0..rows {
        let mut transaction = pool.begin().await.expect("a transaction");
        let insert = sqlx::query("insert into by_hand (body) values ($1)").bind(body(number));
        insert.execute(&mut *transaction).await.expect("a row");
        transaction.commit().await.expect("a commit");
    }
}

async fn all_sent(pool: &PgPool) {
    loop {
        // `exists` uses an index. A count would be most of the work here.
        let pending = sqlx::query_scalar("select exists (select from redrive_outbox where state = 'pending')");
        let pending: bool = pending.fetch_one(pool).await.expect("an answer");
        if !pending {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn report(figures: Figures, effort: &Effort) -> bool {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    println!("\n{cores} cores; {} rows a round; medians of {} rounds, and their range", effort.rows, effort.rounds);
    let ratio = |ours: &[f64], theirs: &[f64]| median(ours.iter().zip(theirs).map(|(a, b)| a / b).collect());
    let to_producer = ratio(&figures.relay, &figures.producer);
    let to_by_hand = ratio(&figures.alone, &figures.by_hand);
    let line = |what: &str, rates: &[f64], ratio: String| println!("{what:44}{:>24} rows/s   {ratio}", spread(rates));
    line("relay", &figures.relay, format!("{to_producer:.2}x the producer alone"));
    line("producer alone", &figures.producer, String::new());
    line("enqueue, one a transaction", &figures.alone, format!("{to_by_hand:.2}x an insert by hand"));
    line("enqueue, a hundred a transaction", &figures.by_hundreds, String::new());
    line("an insert by hand, one a transaction", &figures.by_hand, String::new());
    let relay = median(figures.relay);
    let is_met = relay >= BAR;
    println!("\nbar: relay {relay:.0} rows/s, at least {BAR:.0}   {}", if is_met { "PASS" } else { "SHORT" });
    is_met
}

fn spread(figures: &[f64]) -> String {
    let (low, high) =
        figures.iter().fold((f64::INFINITY, 0.0_f64), |(low, high), &each| (low.min(each), high.max(each)));
    format!("{:.0} ({low:.0} - {high:.0})", median(figures.to_vec()))
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}
