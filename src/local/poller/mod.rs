//! The event source mapping at work: it polls, invokes, and deletes what the function's answer lets it delete.
//!
//! What is decided is decided in [`mapping`](super::mapping); this here does the I/O, and tells what happened.

mod delete;
mod news;
mod receive;
mod release;

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aws_sdk_sqs::Client;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

pub(crate) use self::news::{BatchNews, News, NewsSink};

use self::receive::PollFailed;
use super::function::{Function, FunctionError, Invocation};
use super::mapping::answer::{Failed, judge};
use super::mapping::config::{Batching, FunctionTimeout, MaximumConcurrency};
use super::mapping::filter::FilterCriteria;
use super::mapping::gather::{Batch, Gatherer, Permits};
use crate::sqs::event::{Record, event};
use crate::sqs::source::Source;

/// A queue, a function, and how the one reaches the other.
pub(crate) struct Mapping {
    pub(crate) client: Client,
    pub(crate) queue_url: String,
    pub(crate) source: Source,
    pub(crate) batching: Batching,
    pub(crate) maximum_concurrency: Option<MaximumConcurrency>,
    pub(crate) filter: FilterCriteria,
    /// `FunctionResponseTypes: [ReportBatchItemFailures]`.
    pub(crate) reports_item_failures: bool,
    pub(crate) function: Function,
    pub(crate) function_arn: String,
    pub(crate) timeout: FunctionTimeout,
    pub(crate) news: NewsSink,
    /// Counts the messages that it has done with, deleted or left to come back: each as often as it was received.
    pub(crate) settled: Arc<AtomicU64>,
}

/// An invoked batch that is settled.
struct Finished {
    batch: Batch,
    /// The positions in it that come back.
    come_back: Vec<usize>,
}

impl Mapping {
    /// Runs until the shutdown, and then for as long as a poll is under way or the function has a batch. What has been
    /// received and not invoked goes back to the queue.
    pub(crate) async fn run(self, shutdown: impl Future<Output = ()>) {
        let mapping = Arc::new(self);
        let mut gatherer = Gatherer::new(mapping.batching, Permits::new(mapping.maximum_concurrency));
        let (mut polls, mut batches) = (JoinSet::new(), JoinSet::new());
        // Polls that failed, one after the other.
        let mut failures = 0;
        let (mut shutdown, mut stops) = (pin!(shutdown), false);
        let began = Instant::now();
        loop {
            while !stops && let Some(batch) = gatherer.next_batch(began.elapsed()) {
                batches.spawn(mapping.clone().run_batch(batch));
            }
            if !stops && polls.is_empty() && gatherer.room() > 0 {
                polls.spawn(mapping.clone().receive(mapping.room(&gatherer), backoff(failures)));
            }
            if stops && polls.is_empty() && batches.is_empty() {
                break;
            }
            let wake_at = gatherer.wake_at().filter(|_| !stops).map(|at| began + at);
            tokio::select! {
                // In this order, and not in a random one, so that a run can be repeated.
                biased;
                Some(received) = polls.join_next() => match done(received) {
                    Ok(records) => {
                        failures = 0;
                        gatherer.add(began.elapsed(), records);
                    }
                    Err(PollFailed) => failures += 1,
                },
                Some(finished) = batches.join_next() => {
                    let Finished { batch, come_back } = done(finished);
                    // What is let go stays hidden until its visibility timeout runs out, as on Lambda.
                    drop(gatherer.finish(batch, &come_back));
                }
                () = sleep_until(wake_at) => {}
                () = &mut shutdown, if !stops => stops = true,
            }
        }
        mapping.release(&gatherer.into_waiting()).await;
    }

    async fn run_batch(self: Arc<Self>, batch: Batch) -> Finished {
        let records = batch.records();
        let invocation = Invocation {
            request_id: request_id(records),
            event: event(records).into(),
            function_arn: self.function_arn.clone(),
            timeout: self.timeout.get(),
            trace_header: None,
        };
        let request_id = invocation.request_id.clone();
        let began = Instant::now();
        let result = self.function.invoke(invocation).await;
        let verdict = judge(records, self.reports_item_failures, result.as_deref().map_err(failed));
        self.tell(News::Batch(BatchNews::new(request_id, records, &verdict, began.elapsed())));
        let kept = self.delete(verdict.deleted.iter().map(|&position| &records[position])).await;
        let is_kept = |position: &usize| kept.iter().any(|id| *id == records[*position].message_id());
        self.settled.fetch_add(records.len() as u64, Ordering::Release);
        let mut come_back = verdict.come_back;
        come_back.extend(verdict.deleted.into_iter().filter(is_kept));
        Finished { batch, come_back }
    }

    /// On a FIFO queue one batch at a time is received: what is behind it in its group would wait for it to end, while
    /// its own visibility timeout runs out unheard.
    fn room(&self, gatherer: &Gatherer) -> usize {
        let most = if self.source.is_fifo() { self.batching.size() } else { usize::MAX };
        gatherer.room().min(most)
    }

    fn tell(&self, news: News) {
        (self.news)(news);
    }
}

/// Lambda's is a UUID of no meaning. This one names the batch by its first message, so that the same run has the same.
fn request_id(records: &[Record]) -> String {
    let first = records.first();
    let receives = first.and_then(Record::receive_count).unwrap_or_default();
    format!("{}-{receives}", first.map(Record::message_id).unwrap_or_default())
}

fn failed(error: &FunctionError) -> Failed {
    match error {
        FunctionError::TimedOut { timeout } => Failed::TimedOut(*timeout),
        error => Failed::Raised(error.to_string()),
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

/// How long to wait before something is tried again that failed so often: longer each time, up to a bound.
fn backoff(failures: u32) -> Duration {
    const FIRST: Duration = Duration::from_millis(100);
    const MOST: Duration = Duration::from_secs(5);
    match failures {
        0 => Duration::ZERO,
        _ => FIRST.saturating_mul(2_u32.saturating_pow(failures - 1)).min(MOST),
    }
}
