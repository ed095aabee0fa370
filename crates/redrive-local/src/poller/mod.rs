//! The event source mapping at work: it polls, invokes, and deletes what the function's answer lets it delete.
//!
//! ```text
//! place at the function -> receive -> gather -> invoke -> delete
//! ```
//!
//! A place comes first: what is received can begin at once. Decisions are made in [`mapping`](super::mapping); this module
//! does the I/O, and tells what happened.

mod batch;
mod delete;
mod driver;
mod hide;
mod news;
mod receive;
mod release;
#[cfg(test)]
mod tests;

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::timeout::TimeoutConfig;
use aws_sdk_sqs::config::{Builder, Config};
use redrive::Backoff;
use redrive::internals::source::Source;
use tokio::sync::watch;
use tokio::task::JoinError;
use tokio::time::Instant;

pub use self::news::MessageNews;
pub use self::news::{BatchNews, News, NewsSink};

use self::driver::Driver;
use super::function::Function;
use super::mapping::config::{Batching, FunctionTimeout, MaximumConcurrency};
use super::mapping::filter::FilterCriteria;

/// How long a call to SQS may take. A connection that has died would otherwise be waited at for ever. A long poll takes 20 s.
const CALL_LIMIT: Duration = Duration::from_secs(30);

/// A queue, a function, and how the one reaches the other.
pub struct Mapping {
    pub client: Client,
    pub queue_url: String,
    pub source: Source,
    pub batching: Batching,
    pub maximum_concurrency: Option<MaximumConcurrency>,
    pub filter: FilterCriteria,
    /// `FunctionResponseTypes: [ReportBatchItemFailures]`.
    pub reports_item_failures: bool,
    pub function: Function,
    pub function_arn: String,
    pub timeout: FunctionTimeout,
    /// How long the queue hides a message that was received.
    pub visibility_timeout: Duration,
    pub news: NewsSink,
    /// Counts the messages that it has done with, deleted or left to come back: each as often as it was received.
    pub settled: Arc<AtomicU64>,
}

impl Mapping {
    /// Runs until the shutdown, and then for as long as a receive is under way or the function has a batch. What has been
    /// received and not invoked goes back to the queue.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        Driver::new(Arc::new(self)).run(pin!(shutdown)).await;
    }

    fn tell(&self, news: News) {
        (self.news)(news);
    }

    /// So many messages are done with: deleted, given back, or left to come back.
    fn settle(&self, messages: usize) {
        self.settled.fetch_add(messages as u64, Ordering::Release);
    }
}

/// A task's result. They are cancelled with their mapping only, and a panic is a fault of ours.
fn done<T>(result: Result<T, JoinError>) -> T {
    match result {
        Ok(result) => result,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Limits each attempt of a call to SQS.
fn limited() -> Builder {
    let limit = TimeoutConfig::builder().operation_attempt_timeout(CALL_LIMIT).build();
    Config::builder().timeout_config(limit)
}

/// Resolves when the mapping is to stop.
async fn stop(mut stopped: watch::Receiver<bool>) {
    // It is an error only where the mapping is gone.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

/// How long to wait before something is tried again that failed so often. The longest delay, and none that is drawn: a run with the same
/// seed is the same run.
fn backoff(failures: u32) -> Duration {
    match failures {
        0 => Duration::ZERO,
        _ => Backoff::exponential(Duration::from_millis(100)..Duration::from_secs(5)).max_delay(failures),
    }
}
