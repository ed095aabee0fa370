//! The builder, whatever it builds for: one record a call, or a chunk of them.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::engine::{Engine, Fifo, Options, Settled, Work};

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

    /// The same consumer with other options.
    pub(crate) fn set(mut self, set: impl FnOnce(&mut Options)) -> Self {
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

    /// From which receive on a record is warned about. The default is 3: from then on SQS leaves a message out of
    /// [`ApproximateAgeOfOldestMessage`](https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html),
    /// and no alarm on that metric sees it.
    pub fn warn_from_receive_count(self, count: u32) -> Self {
        self.set(|options| options.warn_from_receive_count = count)
    }

    /// Calls a function once for each record when it is settled: for metrics, an audit, a test. It may be called several times, and then calls
    /// each function, in the order in which they were added.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicUsize, Ordering};
    /// use redrive::{Json, SettledAs};
    ///
    /// # #[derive(serde::Deserialize)] struct Order {}
    /// async fn place(Json(order): Json<Order>) -> anyhow::Result<()> { /* ... */ Ok(()) }
    ///
    /// let malformed = Arc::new(AtomicUsize::new(0));
    /// let count = malformed.clone();
    /// let consumer = redrive::handler(place).on_settled(move |settled| {
    ///     if settled.outcome() == SettledAs::Malformed {
    ///         count.fetch_add(1, Ordering::Relaxed);
    ///         eprintln!("{:?} is malformed: {:?}", settled.message_id(), settled.error());
    ///     }
    /// });
    /// # #[cfg(feature = "lambda")] {
    /// # use lambda_runtime::{Context, LambdaEvent};
    /// # use tower::Service;
    /// # let event = r#"{"Records": [{"messageId": "1", "body": "no JSON"}]}"#.parse::<redrive::Event>().unwrap();
    /// # let mut function = consumer.clone();
    /// # let answer = async move { function.call(LambdaEvent::new(event, Context::default())).await };
    /// # tokio::runtime::Runtime::new().unwrap().block_on(answer).unwrap();
    /// # assert_eq!(malformed.load(Ordering::Relaxed), 1);
    /// # }
    /// ```
    ///
    /// The function is called once the queue has answered what the record asked of it (a delay, a dead letter), and before the next record of its
    /// message group runs. On Lambda the message leaves the queue when the answer arrives; on a worker its delete may still be under way.
    /// A message that a batch has twice runs once, and causes one call.
    ///
    /// The function runs in the record's own task and must not block. It cannot change what becomes of the record. If it panics, the log says so,
    /// and the record is settled as before.
    ///
    /// Calls for records that were cut off or never ran come at the end of the batch, on a thread of their own. The answer waits for them for up to
    /// 100 ms. It does not wait where the deadline came first: such a call may come when Lambda thaws the process for its next invocation.
    pub fn on_settled(self, listener: impl Fn(&Settled<'_>) + Send + Sync + 'static) -> Self {
        self.set(|options| options.on_settled.add(listener))
    }
}

impl<K> Consumer<K> {
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
