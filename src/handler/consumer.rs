//! The builder, whatever it builds for: one record a call, or a chunk of them.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::options::{Fifo, Options};
use crate::batch::{Engine, Work};
use crate::error::Error;

/// A handler with its options: an SQS consumer, ready to [`run`](Consumer::run).
///
/// [`handler`](crate::handler) and [`batch`](crate::batch) make one. With the feature `lambda` it is also a
/// `tower::Service<LambdaEvent<Event>>`, so `lambda_runtime::run` and its layers take it; see
/// [the chapter on Lambda](crate::docs::lambda) for what `run` does more.
#[must_use = "a consumer does nothing until it runs"]
pub struct Consumer<K> {
    pub(super) kind: K,
    pub(super) options: Options,
    /// Made at the first batch and shared by all clones: a layer that limits, limits the consumer as a whole.
    engine: Arc<Mutex<Option<Engine>>>,
}

/// What kind of handler a [`Consumer`] has: [`Each`](crate::Each) or [`Bulk`](crate::Bulk).
pub trait Kind: Clone + Send + 'static {
    /// The handler, with the types of its arguments and errors left behind.
    #[doc(hidden)]
    #[allow(private_interfaces)]
    fn work(&self) -> Work;
}

impl<K> Consumer<K> {
    pub(super) fn new(kind: K) -> Self {
        Self { kind, options: Options::default(), engine: Arc::default() }
    }

    /// The same options on another kind.
    pub(super) fn map<L>(self, map: impl FnOnce(K) -> L) -> Consumer<L> {
        Consumer { kind: map(self.kind), options: self.options, engine: Arc::default() }
    }

    fn set(mut self, set: impl FnOnce(&mut Options)) -> Self {
        set(&mut self.options);
        self.engine = Arc::default();
        self
    }

    /// How many records of a batch are worked on at a time (with [`batch`](crate::batch): how many chunks). The default
    /// is 64, and 0 counts as 1. On Lambda that is of one invocation; of a worker, it is of all that it has received.
    ///
    /// The environment variable `REDRIVE_CONCURRENCY` overrides it without a deploy.
    pub fn concurrency(self, concurrency: usize) -> Self {
        self.set(|options| options.concurrency = concurrency.max(1))
    }

    /// How long before the invocation's deadline the answer leaves. What still runs then is cancelled, and reported with
    /// what never began. The default is 200 ms; it is never more than half of the time that an invocation has.
    pub fn deadline_margin(self, margin: Duration) -> Self {
        self.set(|options| options.deadline_margin = margin)
    }

    /// What a failure stops on a FIFO queue. The default is [`Fifo::StopGroup`].
    pub fn fifo(self, fifo: Fifo) -> Self {
        self.set(|options| options.fifo = fifo)
    }

    /// Fails the invocation if any record of the batch failed. Off by default.
    ///
    /// This is for an event source mapping without `ReportBatchItemFailures`, which ignores the answer and deletes every
    /// record, unless the invocation fails. The whole batch then comes back, and what was done runs again. A record that was sent to
    /// the dead-letter queue is deleted at once, so that it does not come back.
    pub fn fail_batch_on_any_failure(self) -> Self {
        self.set(|options| options.fail_batch_on_any_failure = true)
    }

    /// Fails the invocation if every record of the batch failed, so that Lambda's `Errors` metric shows it. For the
    /// records it makes no difference: all of them come back. Off by default.
    pub fn error_when_all_fail(self) -> Self {
        self.set(|options| options.error_when_all_fail = true)
    }

    /// From which receive on a record is warned about. The default is 3: from then on SQS leaves a message out of
    /// [`ApproximateAgeOfOldestMessage`](https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html),
    /// and no alarm on that metric sees it.
    pub fn warn_from_receive_count(self, count: u32) -> Self {
        self.set(|options| options.warn_from_receive_count = count)
    }

    /// Lets the consumer have records come back later, and send them to the dead-letter queue: see
    /// [`Effects`](crate::Effects). Without this it does nothing to its queue.
    #[cfg(feature = "sqs")]
    pub fn effects(self, effects: crate::Effects) -> Self {
        self.set(|options| options.on_failure = Some(Arc::new(effects)))
    }

    /// Fetches the bodies of records whose bodies are in S3: see [`LargeMessages`](crate::LargeMessages). Layers, extractors and handler see
    /// the message as it was sent. A body that cannot be fetched is a failure of its record, and a retry.
    ///
    /// A record waits for memory before its body is fetched: see [`memory_budget`](crate::LargeMessages::memory_budget).
    #[cfg(feature = "large-messages")]
    pub fn large_messages(self, large_messages: crate::LargeMessages) -> Self {
        self.set(|options| options.bodies = Some(Arc::new(large_messages)))
    }

    #[cfg(feature = "sqs")]
    pub(crate) fn observed(self, observer: super::Observer) -> Self {
        self.set(|options| options.observer = observer)
    }
}

impl<K> Consumer<K> {
    /// Runs the consumer where the process finds itself: see [`run`](crate::run).
    ///
    /// # Errors
    ///
    /// Where no host is there that brings batches, or the one that is there stops.
    // The bound stands here and not on the block, where the compiler would not say what of it is not met.
    pub async fn run(self) -> Result<(), Error>
    where
        K: Kind,
    {
        crate::run::run_here(self).await
    }

    pub(crate) fn engine(&self) -> Engine
    where
        K: Kind,
    {
        // The lock guards no invariant that a panic could break.
        let mut engine = self.engine.lock().unwrap_or_else(PoisonError::into_inner);
        engine.get_or_insert_with(|| Engine::new(self.kind.work(), self.options.clone().with_environment())).clone()
    }
}

impl<K: Clone> Clone for Consumer<K> {
    fn clone(&self) -> Self {
        Self { kind: self.kind.clone(), options: self.options.clone(), engine: self.engine.clone() }
    }
}

impl<K> fmt::Debug for Consumer<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer").field("options", &self.options).finish_non_exhaustive()
    }
}
