//! Runs redrive's worker in a separate process, which runs this program again.

use std::env;
use std::io::Write as _;
use std::time::{Duration, Instant};

use aws_sdk_sqs::Client;
use tokio::io::AsyncReadExt as _;
use tokio::task::JoinSet;

use crate::calls::Calls;

/// The variable that gives a process its role.
pub(crate) const ROLE: &str = "BENCH_ROLE";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// A worker whose handler does nothing.
    Noop,
    /// A worker whose handler waits.
    Wait,
    /// The upper bound: as many tasks with the same handler, without a queue.
    Limit,
}

/// The wait of a handler, and how many handlers run at a time.
const WAIT: Duration = Duration::from_millis(20);
const CONCURRENCY: usize = 200;
/// The shortest time for measuring the upper bound.
const LIMIT_TIME: Duration = Duration::from_secs(2);

impl Role {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Noop => "noop",
            Self::Wait => "wait",
            Self::Limit => "limit",
        }
    }

    pub(crate) fn from_env() -> Option<Self> {
        let name = env::var(ROLE).ok()?;
        [Self::Noop, Self::Wait, Self::Limit].into_iter().find(|role| role.name() == name)
    }
}

async fn noop() {}

async fn wait() {
    tokio::time::sleep(WAIT).await;
}

/// Works until standard input ends, and prints how many calls it has made. For the upper bound, it prints the rate in
/// messages a second.
pub(crate) async fn run(role: Role) {
    // The runtime is the one that a service would use.
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let figure = match role {
        Role::Limit => limit().await,
        Role::Noop => work(|client, url| redrive::handler(noop).worker(client, url)).await,
        Role::Wait => work(|client, url| redrive::handler(wait).concurrency(CONCURRENCY).worker(client, url)).await,
    };
    writeln!(std::io::stdout(), "{figure}").expect("the benchmark reads the figure");
}

async fn work<K: redrive::HandlerKind>(worker: impl FnOnce(Client, String) -> redrive::Worker<K>) -> f64 {
    let calls = Calls::default();
    let config = aws_sdk_sqs::config::Builder::from(&aws_config::load_from_env().await).interceptor(calls.clone());
    let url = env::var("REDRIVE_QUEUE_URL").expect("the URL of a queue");
    let mut input = tokio::io::stdin();
    let mut nothing = Vec::new();
    tokio::select! {
        ended = worker(Client::from_conf(config.build()), url).run_until(std::future::pending()) => panic!("{ended:?}"),
        // The queue is empty by then. A shutdown would wait up to 20 s for the polls under way.
        _ = input.read_to_end(&mut nothing) => calls.total() as f64,
    }
}

async fn limit() -> f64 {
    let begin = Instant::now();
    let end = begin + LIMIT_TIME;
    let mut tasks = JoinSet::new();
    for _ in 0..CONCURRENCY {
        tasks.spawn(async move {
            let mut runs = 0_u32;
            while Instant::now() < end {
                wait().await;
                runs += 1;
            }
            runs
        });
    }
    let runs: u32 = tasks.join_all().await.into_iter().sum();
    // The last runs end after that time, all at about the same time, because they began together.
    f64::from(runs) / begin.elapsed().as_secs_f64()
}
