//! Runs the event source mapping: it polls, invokes the function, and deletes messages by the function's answer.
//!
//! ```text
//! slot at the function -> receive -> gather -> invoke -> delete
//! ```
//!
//! The slot comes first, so a received batch can start at once. [`mapping`](super::mapping) makes the decisions. This
//! module does the I/O and reports events.

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

/// The limit for a call to SQS, so that a dead connection cannot block for ever. A long poll takes 20 s.
const CALL_LIMIT: Duration = Duration::from_secs(30);

/// A queue, a function, and the settings that connect them.
pub struct EventSourceMapping {
    pub client: Client,
    pub queue_url: String,
    pub source: Source,
    pub batching: Batching,
    pub maximum_concurrency: Option<MaximumConcurrency>,
    pub filter: FilterCriteria,
    /// `FunctionResponseTypes: [ReportBatchItemFailures]`.
    pub reports_item_failures: bool,
    pub function: Arc<dyn Function>,
    pub function_arn: String,
    pub timeout: FunctionTimeout,
    /// The time for which the queue hides a received message.
    pub visibility_timeout: Duration,
    pub news: NewsSink,
    /// The number of settled messages, deleted or retried. Every receive of a message counts.
    pub settled: Arc<AtomicU64>,
}

impl EventSourceMapping {
    /// Polls until the shutdown, and then waits for running receives and batches. Received messages without an
    /// invocation become visible again.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        Driver::new(Arc::new(self)).run(pin!(shutdown)).await;
    }

    fn tell(&self, news: News) {
        (self.news)(news);
    }

    /// Counts messages as settled: deleted, made visible again, or left for a retry.
    fn settle(&self, messages: usize) {
        self.settled.fetch_add(messages as u64, Ordering::Release);
    }
}

/// Returns a task's result. Tasks are cancelled only together with their mapping, so a missing result is a panic.
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

/// Returns a timeout for each attempt of a call to SQS.
fn limited() -> Builder {
    let limit = TimeoutConfig::builder().operation_attempt_timeout(CALL_LIMIT).build();
    Config::builder().timeout_config(limit)
}

/// Resolves when the mapping has to stop.
async fn stop(mut stopped: watch::Receiver<bool>) {
    // The wait fails only if the mapping no longer exists.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

/// Returns the pause after this many failures. It is the longest delay and never a random one, because the same seed must
/// repeat the same run.
fn backoff(failures: u32) -> Duration {
    match failures {
        0 => Duration::ZERO,
        _ => Backoff::exponential(Duration::from_millis(100)..Duration::from_secs(5)).max_delay(failures),
    }
}
