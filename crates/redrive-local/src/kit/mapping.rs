//! A mapping of a test's queue to a function.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_sqs::Client;
use axum::body::Bytes;
use redrive::internals::source::Source;
use redrive::{BoxError, Consumer, Settled, SettledAs};

use super::lock;
use super::queue::{TestQueue, refused};
use crate::error::Error;
use crate::function::{Function, InProcess};
use crate::mapping::answer::problem::Severity;
use crate::mapping::config::{BatchSize, Batching, FunctionTimeout, MaximumConcurrency, Window};
use crate::mapping::filter::FilterCriteria;
use crate::poller::{self, News, NewsSink};

/// An event source mapping that is to be made. Where nothing is said, it is as Lambda makes mappings, with
/// `ReportBatchItemFailures` on.
#[must_use = "nothing is polled before `start`"]
pub struct Mapping {
    queue: TestQueue,
    client: Client,
    function: Function,
    batch_size: i64,
    window: Duration,
    maximum_concurrency: Option<i64>,
    timeout: Option<Duration>,
    patterns: Vec<String>,
    reports_item_failures: bool,
}

/// What a function has where its template is silent.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(3);

impl Mapping {
    pub(super) fn to_consumer<K: redrive::Kind + Sync>(queue: TestQueue, consumer: Consumer<K>) -> Self {
        let function = observed(&queue, consumer);
        Self::new(queue, function)
    }

    pub(super) fn to_function<F, Fut>(queue: TestQueue, function: F) -> Self
    where
        F: Fn(String) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<String, BoxError>> + Send + 'static,
    {
        let closure = move |event: Bytes| function(String::from_utf8_lossy(&event).into_owned());
        Self::new(queue, InProcess::closure(closure))
    }

    fn new(queue: TestQueue, function: InProcess) -> Self {
        Self {
            client: queue.client.clone(),
            queue,
            function: function.into(),
            batch_size: 10,
            window: Duration::ZERO,
            maximum_concurrency: None,
            timeout: None,
            patterns: Vec::new(),
            reports_item_failures: true,
        }
    }

    /// `BatchSize`: 1 to 10,000 messages, of a FIFO queue to 10. More than 10 need a [window](Self::window). The default is
    /// 10.
    pub fn batch_size(self, messages: u32) -> Self {
        Self { batch_size: messages.into(), ..self }
    }

    /// `MaximumBatchingWindowInSeconds`: how long a batch waits to be filled, in whole seconds up to 300. None by default.
    pub fn window(self, window: Duration) -> Self {
        Self { window, ..self }
    }

    /// `ScalingConfig.MaximumConcurrency`: how many batches the function has at a time, 2 to 1,000.
    pub fn maximum_concurrency(self, batches: u32) -> Self {
        Self { maximum_concurrency: Some(batches.into()), ..self }
    }

    /// The function's timeout. The default is Lambda's, 3 s, or the queue's visibility timeout where that is less.
    pub fn function_timeout(self, timeout: Duration) -> Self {
        Self { timeout: Some(timeout), ..self }
    }

    /// A pattern of `FilterCriteria`. What matches none of those given is deleted, undelivered.
    pub fn filter(mut self, pattern: impl Into<String>) -> Self {
        self.patterns.push(pattern.into());
        self
    }

    /// `ReportBatchItemFailures` off: the answer is ignored, and every message deleted unless the function fails.
    pub fn without_report_batch_item_failures(self) -> Self {
        Self { reports_item_failures: false, ..self }
    }

    /// Polls and deletes by that client, and not by the queue's own: for a test that counts its calls, or has them fail.
    pub fn client(self, client: Client) -> Self {
        Self { client, ..self }
    }

    /// Begins to poll. It ends with the kit.
    ///
    /// # Errors
    ///
    /// Where AWS would refuse to make such a mapping.
    pub fn start(self) -> Result<(), Error> {
        let kit = self.queue.kit.clone();
        lock(&kit.inner.running).spawn(self.run()?);
        Ok(())
    }

    /// The same as a future that polls for as long as somebody waits for it. Dropped, it ends as in a crash, with its function: the
    /// messages that they had come back when their visibility timeout runs out.
    ///
    /// # Errors
    ///
    /// Where AWS would refuse to make such a mapping.
    pub fn run(self) -> Result<impl Future<Output = ()> + Send + 'static, Error> {
        let queue = self.queue.clone();
        let mapping = self.checked().map_err(|error| refused(&format!("the mapping of {}", queue.name), error))?;
        Ok(polls(&queue, mapping))
    }

    fn checked(self) -> Result<poller::Mapping, BoxError> {
        let queue = self.queue;
        let source = Source::from_arn(&queue.arn)?;
        let window = Window::new(i64::try_from(self.window.as_secs()).unwrap_or(i64::MAX))?;
        let timeout = self.timeout.unwrap_or(DEFAULT_TIMEOUT.min(queue.visibility_timeout));
        let news = tell(&queue);
        Ok(poller::Mapping {
            batching: Batching::new(source.is_fifo(), BatchSize::new(self.batch_size)?, window)?,
            source,
            client: self.client,
            queue_url: queue.url,
            maximum_concurrency: self.maximum_concurrency.map(MaximumConcurrency::new).transpose()?,
            filter: FilterCriteria::parse(&self.patterns)?,
            reports_item_failures: self.reports_item_failures,
            function: self.function,
            function_arn: format!("arn:aws:lambda:us-east-1:000000000000:function:{}", queue.name),
            timeout: FunctionTimeout::new(timeout, queue.visibility_timeout)?,
            visibility_timeout: queue.visibility_timeout,
            settled: Arc::default(),
            news,
        })
    }
}

/// The consumer as a function that tells the queue's history what its handler was given and what it said.
pub(super) fn observed<K: redrive::Kind + Sync>(queue: &TestQueue, consumer: Consumer<K>) -> InProcess {
    let history = queue.history.clone();
    let told = move |settled: &Settled<'_>| {
        if settled.outcome() == SettledAs::NotRun {
            return;
        }
        let id = settled.message_id().map(Cow::into_owned).unwrap_or_default();
        let body = settled.record().body().ok().flatten().map(Cow::into_owned);
        let count = settled.receive_count().unwrap_or_default();
        lock(&history).ran(id, count, body, settled.error().map(str::to_owned));
    };
    InProcess::consumer(&consumer.on_settled(told))
}

/// Tells the queue's history what becomes of batches.
pub(super) fn tell(queue: &TestQueue) -> NewsSink {
    let history = queue.history.clone();
    Arc::new(move |news| {
        log(&news);
        lock(&history).hear(news);
    })
}

/// Polls, until the kit ends.
pub(super) fn run(queue: &TestQueue, mapping: poller::Mapping) {
    // Made first: it may write to the log, and nobody is to wait for that with the lock.
    let polls = polls(queue, mapping);
    lock(&queue.kit.inner.running).spawn(polls);
}

fn polls(queue: &TestQueue, mapping: poller::Mapping) -> impl Future<Output = ()> + Send + use<> {
    for key in mapping.filter.undocumented_keys() {
        tracing::warn!(key, "a filter pattern names a key that AWS documents no longer for SQS: only `body` is");
    }
    let mut mapped = lock(&queue.kit.inner.mapped);
    if !mapped.contains(&queue.name) {
        mapped.push(queue.name.clone());
    }
    drop(mapped);
    mapping.run(std::future::pending())
}

/// Loudly, as nobody may ask for the history.
fn log(news: &News) {
    match news {
        News::Batch(batch) => {
            tracing::debug!(batch = batch.request_id, messages = batch.messages.len(), took = ?batch.took, "settled");
            for (severity, problem) in &batch.problems {
                match severity {
                    Severity::Odd => tracing::warn!(batch = batch.request_id, "{problem}"),
                    _ => tracing::error!(batch = batch.request_id, "{problem}"),
                }
            }
        }
        News::Filtered { message_ids } => tracing::info!(messages = message_ids.len(), "matched no filter: deleted"),
        News::NotReady { error, attempts } => {
            tracing::warn!(error, attempts, "the function is not ready; its messages stay in the queue");
        }
        News::PollFailed { error } => tracing::warn!(error, "the queue could not be polled"),
        News::DeleteFailed { message_id, error } => {
            tracing::error!(message_id, error, "done, but could not be deleted: it runs again");
        }
    }
}

impl std::fmt::Debug for Mapping {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mapping").field("queue", &self.queue.name).finish_non_exhaustive()
    }
}
