//! The builder of consumers, for handlers that take one record or a chunk of records.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::engine::{Engine, Fifo, Options, Settled, Work};

/// An SQS consumer: a handler with its options, ready to [`run`](Consumer::run).
///
/// [`handler`](crate::handler) and [`batch`](crate::batch) create one. With the feature `lambda` it is also a
/// `tower::Service<LambdaEvent<Event>>`, so that `lambda_runtime::run` and its layers accept it. [The chapter on
/// Lambda](crate::docs::lambda) lists what `run` adds.
#[must_use = "a consumer does nothing until it runs"]
pub struct Consumer<K> {
    pub(super) kind: K,
    pub(super) options: Options,
    /// Created at the first batch and shared by all clones, so that a limiting layer limits the whole consumer.
    engine: Arc<Mutex<Option<Engine>>>,
}

/// The kind of handler of a [`Consumer`]: [`Each`](crate::Each) or [`Bulk`](crate::Bulk).
pub trait HandlerKind: Clone + Send + 'static {
    /// Returns the handler with its argument and error types erased.
    #[doc(hidden)]
    #[allow(private_interfaces)]
    fn work(&self) -> Work;
}

impl<K> Consumer<K> {
    pub(super) fn new(kind: K) -> Self {
        Self { kind, options: Options::default(), engine: Arc::default() }
    }

    /// Replaces the kind and keeps the options.
    pub(super) fn map<L>(self, map: impl FnOnce(K) -> L) -> Consumer<L> {
        Consumer { kind: map(self.kind), options: self.options, engine: Arc::default() }
    }

    /// Changes the options.
    pub(crate) fn set(mut self, set: impl FnOnce(&mut Options)) -> Self {
        set(&mut self.options);
        self.engine = Arc::default();
        self
    }

    /// Sets how many records run at a time (with [`batch`](crate::batch): how many chunks). The default is 64, and 0
    /// counts as 1. On Lambda the limit applies to each invocation. On a worker it applies to all received messages.
    ///
    /// The environment variable `REDRIVE_CONCURRENCY` overrides it without a deploy.
    pub fn concurrency(self, concurrency: usize) -> Self {
        self.set(|options| options.concurrency = concurrency.max(1))
    }

    /// Sets how long before the invocation's deadline the batch is answered. Handlers that still run then are
    /// cancelled, and their records are retried with those that never ran. The default is 200 ms. The margin is at most
    /// half of the time that an invocation has.
    pub fn deadline_margin(self, margin: Duration) -> Self {
        self.set(|options| options.deadline_margin = margin)
    }

    /// Sets which records a failure stops on a FIFO queue. The default is [`Fifo::StopGroup`].
    pub fn fifo(self, fifo: Fifo) -> Self {
        self.set(|options| options.fifo = fifo)
    }

    /// Sets the receive count from which a record is logged with a warning. The default is 3. From the third receive
    /// on, SQS leaves a message out of
    /// [`ApproximateAgeOfOldestMessage`](https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html),
    /// so an alarm on that metric does not see it.
    pub fn warn_from_receive_count(self, count: u32) -> Self {
        self.set(|options| options.warn_from_receive_count = count)
    }

    /// Calls a function once for each record when it is settled, for example for metrics or an audit. Each call of this
    /// method adds a listener. Listeners are called in the order in which they were added.
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
    /// The function is called after the queue has answered the record's request (a delay or a dead letter). The next
    /// record of the message group runs after the call. On Lambda the message leaves the queue when the answer arrives.
    /// On a worker its delete may still be under way. A message that a batch contains twice runs once and causes one
    /// call.
    ///
    /// The function runs in the record's own task and must not block. It cannot change the outcome. If it panics, the
    /// panic is logged and the outcome is unchanged.
    ///
    /// Calls for records that were cut off or never ran come at the end of the batch, on a thread of their own. The
    /// answer waits up to 100 ms for them. At the deadline it does not wait: such a call may come when Lambda thaws the
    /// process for its next invocation.
    pub fn on_settled(self, listener: impl Fn(&Settled<'_>) + Send + Sync + 'static) -> Self {
        self.set(|options| options.on_settled.add(listener))
    }
}

impl<K> Consumer<K> {
    pub(crate) fn engine(&self) -> Engine
    where
        K: HandlerKind,
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
