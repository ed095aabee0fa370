//! Connects a queue of a test with a function.

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

/// A builder for an event source mapping. Its defaults are those of Lambda, except that `ReportBatchItemFailures` is
/// on.
#[must_use = "the mapping polls only after `start`"]
pub struct Mapping {
    queue: TestQueue,
    client: Client,
    function: Arc<dyn Function>,
    batch_size: i64,
    window: Duration,
    maximum_concurrency: Option<i64>,
    timeout: Option<Duration>,
    patterns: Vec<String>,
    reports_item_failures: bool,
}

/// Lambda's default timeout.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(3);

impl Mapping {
    pub(super) fn to_consumer<K: redrive::HandlerKind + Sync>(queue: TestQueue, consumer: Consumer<K>) -> Self {
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
            function: Arc::new(function),
            batch_size: 10,
            window: Duration::ZERO,
            maximum_concurrency: None,
            timeout: None,
            patterns: Vec::new(),
            reports_item_failures: true,
        }
    }

    /// Sets `BatchSize`: 1 to 10,000 messages, or 1 to 10 on a FIFO queue. More than 10 need a [window](Self::window).
    /// The default is 10.
    pub fn batch_size(self, messages: u32) -> Self {
        Self { batch_size: messages.into(), ..self }
    }

    /// Sets `MaximumBatchingWindowInSeconds`: the wait for a full batch, in whole seconds up to 300. The default is 0.
    pub fn window(self, window: Duration) -> Self {
        Self { window, ..self }
    }

    /// Sets `ScalingConfig.MaximumConcurrency`: the limit for concurrent batches, 2 to 1,000.
    pub fn maximum_concurrency(self, batches: u32) -> Self {
        Self { maximum_concurrency: Some(batches.into()), ..self }
    }

    /// Sets the function's timeout. The default is Lambda's 3 s, or a shorter visibility timeout of the queue.
    pub fn function_timeout(self, timeout: Duration) -> Self {
        Self { timeout: Some(timeout), ..self }
    }

    /// Adds a pattern of `FilterCriteria`. Messages that match no pattern are deleted without a delivery.
    pub fn filter(mut self, pattern: impl Into<String>) -> Self {
        self.patterns.push(pattern.into());
        self
    }

    /// Turns `ReportBatchItemFailures` off. The mapping then ignores answers, and deletes every batch unless the
    /// function fails.
    pub fn without_report_batch_item_failures(self) -> Self {
        Self { reports_item_failures: false, ..self }
    }

    /// Sets the client of the mapping, for a test that counts its calls or makes them fail. The default is the queue's
    /// client.
    pub fn client(self, client: Client) -> Self {
        Self { client, ..self }
    }

    /// Starts to poll. The mapping ends with the kit.
    ///
    /// # Errors
    ///
    /// Returns an error when AWS would refuse to create the mapping.
    pub fn start(self) -> Result<(), Error> {
        let kit = self.queue.kit.clone();
        lock(&kit.inner.running).spawn(self.run()?);
        Ok(())
    }

    /// Returns the mapping as a future that polls while it is awaited.
    ///
    /// Dropping the future ends the mapping and its function like a crash: their messages become visible when the
    /// visibility timeout expires.
    ///
    /// # Errors
    ///
    /// Returns an error when AWS would refuse to create the mapping.
    pub fn run(self) -> Result<impl Future<Output = ()> + Send + 'static, Error> {
        let queue = self.queue.clone();
        let mapping = self.checked().map_err(|error| refused(&format!("the mapping of {}", queue.name), error))?;
        Ok(polls(&queue, mapping))
    }

    fn checked(self) -> Result<poller::EventSourceMapping, BoxError> {
        let queue = self.queue;
        let source = Source::from_arn(&queue.arn)?;
        let window = Window::new(i64::try_from(self.window.as_secs()).unwrap_or(i64::MAX))?;
        let timeout = self.timeout.unwrap_or(DEFAULT_TIMEOUT.min(queue.visibility_timeout));
        let news = tell(&queue);
        Ok(poller::EventSourceMapping {
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

/// Returns the consumer as a function that records the runs of its handler in the queue's history.
pub(super) fn observed<K: redrive::HandlerKind + Sync>(queue: &TestQueue, consumer: Consumer<K>) -> InProcess {
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

/// Returns a sink that records the outcomes of batches in the queue's history.
pub(super) fn tell(queue: &TestQueue) -> NewsSink {
    let history = queue.history.clone();
    Arc::new(move |news| {
        log(&news);
        lock(&history).hear(news);
    })
}

/// Polls until the kit ends.
pub(super) fn run(queue: &TestQueue, mapping: poller::EventSourceMapping) {
    // Created before the lock is taken, because it may log, and a slow log must not block others.
    let polls = polls(queue, mapping);
    lock(&queue.kit.inner.running).spawn(polls);
}

fn polls(queue: &TestQueue, mapping: poller::EventSourceMapping) -> impl Future<Output = ()> + Send + use<> {
    for key in mapping.filter.undocumented_keys() {
        tracing::warn!(key, "a filter pattern names a key that AWS no longer documents for SQS; use only `body`");
    }
    let mut mapped = lock(&queue.kit.inner.mapped);
    if !mapped.contains(&queue.name) {
        mapped.push(queue.name.clone());
    }
    drop(mapped);
    mapping.run(std::future::pending())
}

/// Logs problems at high levels, because a test may not read the history.
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
        News::Filtered { message_ids } => {
            tracing::info!(messages = message_ids.len(), "deleted messages that match no filter");
        }
        News::NotReady { error, attempts } => {
            tracing::warn!(error, attempts, "the function is not ready; its messages stay in the queue");
        }
        News::PollFailed { error } => tracing::warn!(error, "failed to poll the queue; the mapping tries again"),
        News::DeleteFailed { message_id, error } => {
            tracing::error!(message_id, error, "failed to delete a processed message; it runs again");
        }
    }
}

impl std::fmt::Debug for Mapping {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mapping").field("queue", &self.queue.name).finish_non_exhaustive()
    }
}
