//! Sends messages to a queue in batches, and reports the result of each.
//!
//! ```text
//! Outgoing -> check -> room -> scheduler (pure) -> driver -> call -> reply to each sender
//! ```

mod call;
mod call_task;
mod checked;
mod driver;
mod error;
mod generations;
mod id;
#[cfg(feature = "large-messages")]
mod offload;
mod outgoing;
mod queued;
mod refit;
mod reply;
mod scheduler;
mod sent;
#[allow(missing_docs, reason = "a seam")]
mod stored;
#[allow(missing_docs, reason = "a seam, but for `TraceContext`")]
mod trace;

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::retry::RetryConfig;
use aws_sdk_sqs::config::timeout::TimeoutConfig;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::Instant;

pub use self::error::SendError;
pub(crate) use self::id::Id;
pub use self::outgoing::{IntoOutgoing, Outgoing};
pub use self::sent::Sent;
pub use self::stored::Stored;
pub use self::trace::TraceContext;
pub use self::trace::TraceSource;

use self::call::{NoteTransmission, TargetQueue};
use self::checked::Checked;
use self::driver::ProducerInner;
use self::queued::TryFor;
use self::reply::{Replies, ReplySender};
use crate::sqs::client::impatient;
use crate::sqs::limits::{MAX_ENTRIES, MAX_MESSAGE_BYTES};
use crate::sqs::region::in_region_of_url;

/// Sends messages to one queue.
///
/// Messages of many tasks share calls. A call is sent when ten messages are there, when a mebibyte is, or a few
/// milliseconds after its first message. Each caller gets the result of its own message:
///
/// ```no_run
/// use redrive::{Outgoing, Producer};
///
/// #[derive(serde::Serialize)]
/// struct Order { order_id: u32 }
///
/// # async fn example() -> Result<(), redrive::SendError> {
/// let client = aws_sdk_sqs::Client::new(&aws_config::load_from_env().await);
/// let orders = Producer::new(client, "https://sqs.eu-west-1.amazonaws.com/123456789012/orders");
///
/// let sent = orders.send(&Order { order_id: 7 }).await?;
/// println!("SQS calls it {}", sent.message_id());
///
/// for (number, result) in orders.send_all((0..1_000).map(|n| Outgoing::text(n.to_string()))).await.iter().enumerate() {
///     if let Err(error) = result {
///         eprintln!("{number}: {error}");
///     }
/// }
/// # Ok(()) }
/// ```
///
/// Clones share calls and are cheap. [The chapter on sending](crate::docs::producer) describes retries and order.
#[derive(Clone)]
pub struct Producer {
    handle: Arc<Handle>,
}

/// Ends the producer when its last clone is dropped.
struct Handle {
    inner: Arc<ProducerInner>,
}

/// The order of messages within a group of a FIFO queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum GroupOrder {
    /// The messages of a group are sent one after the other, each when the previous one has arrived. If a message
    /// fails, the messages that wait behind it fail too, as do those behind it in the same [`Producer::send_all`]. None
    /// of them reaches the queue before it. A message that SQS refuses for its content does not hold others.
    #[default]
    Strict,
    /// Messages are sent as they come, several of a group in one call and in several calls at a time.
    Relaxed,
}

/// Builds a [`Producer`] with settings other than the defaults.
#[derive(Debug)]
#[must_use = "`build` returns the producer"]
pub struct ProducerBuilder {
    client: Client,
    queue_url: String,
    settings: ProducerSettings,
}

#[derive(Debug)]
struct ProducerSettings {
    is_fifo: bool,
    linger: Duration,
    calls: usize,
    buffer: usize,
    try_for: TryFor,
    order: GroupOrder,
    has_send_id: bool,
    content_based_deduplication: bool,
    fails_fast: bool,
    trace_context: TraceSource,
    #[cfg(feature = "large-messages")]
    large_messages: Option<crate::LargeMessages>,
}

/// The limit of an attempt. An answer takes milliseconds, or longer for a full mebibyte over a slow connection.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);

const LINGER: Duration = Duration::from_millis(5);
/// The default concurrency. With more calls, full ones exceed the limit of an attempt on a slow connection. With fewer,
/// the connection is idle at times.
const CALLS: usize = 16;
const BUFFER: usize = 32 * MAX_MESSAGE_BYTES;
const RETRY_FOR: Duration = Duration::from_secs(60);
const AHEAD: usize = 1_000;

impl Producer {
    /// Returns a producer for this queue with default settings. It makes no call before the first message.
    ///
    /// An AWS URL names the queue's region, and calls go to that region whatever the client's own region is. An
    /// endpoint of the client's own configuration stays.
    pub fn new(client: Client, queue_url: impl Into<String>) -> Self {
        Self::builder(client, queue_url).build()
    }

    /// Returns a builder for a producer with other settings.
    pub fn builder(client: Client, queue_url: impl Into<String>) -> ProducerBuilder {
        let queue_url = queue_url.into();
        let settings = ProducerSettings {
            is_fifo: queue_url.ends_with(".fifo"),
            linger: LINGER,
            calls: CALLS,
            buffer: BUFFER,
            try_for: TryFor { retry_for: RETRY_FOR, while_known: A_YEAR },
            order: GroupOrder::Strict,
            has_send_id: true,
            content_based_deduplication: false,
            fails_fast: false,
            trace_context: TraceSource::default(),
            #[cfg(feature = "large-messages")]
            large_messages: None,
        };
        ProducerBuilder { client, queue_url, settings }
    }

    /// Sends one message and waits until SQS has accepted it. It also waits while the buffer is full.
    ///
    /// Dropping the future early does not cancel the message. If it fails then, the failure is logged.
    ///
    /// # Errors
    ///
    /// Returns an error if the message may not be in the queue. [`SendError`] tells the cause and what to do.
    pub async fn send(&self, message: impl IntoOutgoing) -> Result<Sent, SendError> {
        let trace = self.handle.inner.settings.trace_context.now();
        let mut prepared = self.prepare(message.into_outgoing(), &trace)?;
        let (sender, result) = oneshot::channel();
        let reply = ReplySender::Single(sender);
        let room = self.room(&mut prepared, &reply).await?;
        self.handle.inner.take(prepared.checked, reply, room);
        result.await.unwrap_or_else(|_| Err(runtime_ended()))
    }

    /// Sends all messages and waits for each result. The results are in the order of the messages.
    ///
    /// It takes messages from the iterator while there is room, at most a thousand at a time for a standard queue. On a
    /// FIFO queue each group keeps its order.
    pub async fn send_all<I>(&self, messages: I) -> Vec<Result<Sent, SendError>>
    where
        I: IntoIterator<Item: IntoOutgoing>,
    {
        let inner = &self.handle.inner;
        let (replies, ahead) = (Replies::new(), inner.settings.ahead());
        let trace = inner.settings.trace_context.now();
        for message in messages {
            let reply = ReplySender::Slot(replies.slot(ahead).await);
            let mut prepared = match self.prepare(message.into_outgoing(), &trace) {
                Ok(prepared) => prepared,
                Err(error) => {
                    reply.send(Err(error));
                    continue;
                }
            };
            // This wait does not own the message, because a large value inside a future would be moved with it.
            match self.room(&mut prepared, &reply).await {
                Ok(room) => inner.take(prepared.checked, reply, room),
                Err(error) => reply.send(Err(error)),
            }
        }
        // No further message follows, so lingering is useless.
        inner.hurry();
        let results = replies.results().await;
        results.into_iter().map(|result| result.unwrap_or_else(|| Err(runtime_ended()))).collect()
    }

    /// Sends all messages that this clone and others have accepted so far, and waits for their results.
    pub async fn flush(&self) {
        self.handle.inner.flush().await;
    }

    /// Makes all clones refuse new messages, and waits for the results of accepted ones.
    pub async fn close(self) {
        self.handle.inner.close();
        self.handle.inner.flush().await;
    }

    /// Checks the message.
    fn prepare(&self, message: Result<Outgoing, SendError>, trace: &TraceContext) -> Result<Prepared, SendError> {
        let settings = &self.handle.inner.settings;
        let message = message?;
        let limit = self.handle.inner.size_limit.bytes(Instant::now());
        #[cfg(feature = "large-messages")]
        let (message, offloaded) = match &settings.large_messages {
            Some(large_messages) => large_messages.divert(message, limit)?,
            None => (message, None),
        };
        let mut checked = message.check(settings.is_fifo)?.within(limit);
        settings.identify(&mut checked);
        trace.complete(&mut checked);
        Ok(Prepared {
            checked,
            #[cfg(feature = "large-messages")]
            offloaded,
        })
    }

    /// Waits until there is room for the message, and for its body in S3 if it has to go there.
    ///
    /// # Errors
    ///
    /// Returns an error if the message cannot be sent.
    #[cfg_attr(not(feature = "large-messages"), expect(unused_variables))]
    async fn room(&self, prepared: &mut Prepared, reply: &ReplySender) -> Result<OwnedSemaphorePermit, SendError> {
        let inner = &self.handle.inner;
        #[cfg(feature = "large-messages")]
        if let Some((large_messages, offloaded)) = inner.settings.large_messages.as_ref().zip(prepared.offloaded.take())
        {
            let group = inner.settings.ordered_group(&prepared.checked.message);
            let is_broken = group.as_ref().is_some_and(|group| reply.is_group_broken(group));
            // A message behind a failed one is not sent, so its body need not go to S3.
            if !is_broken {
                // If its body fails to reach S3, the messages behind it must not pass it.
                let breaks = |_: &SendError| group.iter().for_each(|group| reply.break_group(group));
                large_messages.store(offloaded).await.inspect_err(breaks)?;
            }
        }
        inner.room(prepared.checked.bytes).await
    }
}

/// A message that passed SQS's rules.
struct Prepared {
    checked: Checked,
    /// The body that must reach S3 before the message is sent.
    #[cfg(feature = "large-messages")]
    offloaded: Option<crate::large::Offloaded>,
}

fn runtime_ended() -> SendError {
    SendError::unknown("the runtime that sent it ended".to_owned())
}

impl ProducerSettings {
    /// Returns the group whose other messages this one must not pass.
    fn ordered_group(&self, message: &Outgoing) -> Option<Arc<str>> {
        let group = message.group.as_deref().filter(|_| self.is_fifo && self.order == GroupOrder::Strict)?;
        Some(group.into())
    }

    /// Returns how many messages [`Producer::send_all`] keeps open. Messages made long before their send have left the
    /// processor's cache. On a FIFO queue, more open messages fill calls with those of other groups.
    fn ahead(&self) -> usize {
        if self.is_fifo { usize::MAX } else { AHEAD.max(2 * MAX_ENTRIES * self.calls) }
    }

    /// Adds the id by which a receiver recognizes a copy.
    fn identify(&self, checked: &mut Checked) {
        if !self.has_send_id {
            checked.without_id_attribute(self.is_fifo);
        } else if !self.is_fifo {
            checked.identify_by_an_attribute();
        }
        if self.is_fifo && self.content_based_deduplication {
            self.identify_by_content(&mut checked.message);
        } else if self.is_fifo {
            checked.message.deduplication_id.get_or_insert(Id::NotDrawn);
        }
    }

    /// Sets the id for content-based deduplication of a body in S3. SQS would compute the id from the pointer, which is
    /// new each time, so it is computed from the body here.
    fn identify_by_content(&self, message: &mut Outgoing) {
        if self.is_fifo && self.content_based_deduplication && message.deduplication_id.is_none() {
            message.deduplication_id = message.content_id.take().map(|id| Id::Given(id.into()));
        }
    }
}

impl ProducerBuilder {
    /// Sets how long the first message of a call waits for others. The default is 5 ms, the maximum a year. With zero,
    /// a message is sent at once, but messages still share calls while all calls are in flight.
    pub fn linger(self, linger: Duration) -> Self {
        self.set(|settings| settings.linger = linger.min(A_YEAR))
    }

    /// Sets how many calls are in flight at a time. The default is 16.
    pub fn concurrency(self, calls: usize) -> Self {
        self.set(|settings| settings.calls = NonZeroUsize::new(calls).map_or(1, NonZeroUsize::get))
    }

    /// Sets the memory in bytes that messages may take until they are settled. The default is 32 MiB. The minimum is
    /// the memory of one message of 1 MiB. While the buffer is full, [`Producer::send`] waits.
    pub fn buffer(self, bytes: usize) -> Self {
        // A semaphore counts in 32 bits.
        self.set(|settings| settings.buffer = bytes.clamp(2 * MAX_MESSAGE_BYTES, u32::MAX as usize))
    }

    /// Sets how long a message is retried after failures that are not its own fault. The default is 60 s, the maximum a
    /// year. No attempt starts later than that after the first one.
    ///
    /// On a FIFO queue the limit is at most 280 s. No attempt starts that could be accepted after the 5 minutes for
    /// which SQS knows the deduplication id, because a message whose answer was lost would then be in the queue twice.
    /// The length of an attempt is the client's timeout, or 10 s without one. With a timeout of 60 s the last attempt
    /// starts 230 s after the first. With 290 s or more there is only one attempt.
    pub fn retry_for(self, time: Duration) -> Self {
        let longest = if self.settings.is_fifo { LONGEST_RETRY } else { A_YEAR };
        self.set(|settings| settings.try_for.retry_for = time.min(longest))
    }

    /// Sends messages without the attribute `redrive.id`, for consumers that do not want it. By default each message to
    /// a standard queue has it, and a handler reads it as [`SendId`](crate::SendId). Without it nobody can recognize a
    /// copy of a message. On FIFO queues the deduplication id stays.
    ///
    /// The only other attributes that a producer adds are those of [`trace_context`](Self::trace_context).
    pub fn without_send_id(self) -> Self {
        self.set(|settings| settings.has_send_id = false)
    }

    /// Sets the order of a group's messages on a FIFO queue. The default is [`GroupOrder::Strict`].
    pub fn order(self, order: GroupOrder) -> Self {
        self.set(|settings| settings.order = order)
    }

    /// Lets a FIFO queue with `ContentBasedDeduplication` compute the deduplication id. Messages with the same body
    /// within five minutes are then one message. By default each message has its own id, so that only its own retries
    /// are copies.
    ///
    /// SQS uses the SHA-256 of the body alone, without attributes. A message whose body goes [through
    /// S3](Self::large_messages) gets the SHA-256 of that body as its deduplication id, with the same effect.
    pub fn content_based_deduplication(self) -> Self {
        self.set(|settings| settings.content_based_deduplication = true)
    }

    /// Gives up a message at once if no server listens or no credentials can be loaded, until the first answer. By default
    /// the producer retries, because a service may start before its network. Somebody waits for a command.
    pub(crate) fn fail_fast(self) -> Self {
        self.set(|settings| settings.fails_fast = true)
    }

    /// Sets the source of each message's trace context. It is called once for each [`Producer::send`], and once for all
    /// messages of a [`Producer::send_all`]. By default the X-Ray header comes from `_X_AMZN_TRACE_ID`, which AWS
    /// Lambda sets. Pass `TraceContext::default` for no trace.
    pub fn trace_context(self, context: impl Fn() -> TraceContext + Send + Sync + 'static) -> Self {
        self.set(|settings| settings.trace_context = TraceSource::new(context))
    }

    /// Sends messages above the size limit of SQS or the queue through S3: see [`LargeMessages`](crate::LargeMessages).
    /// Such a message takes its place in the order once its body is in S3. The producer learns the queue's limit from
    /// the first message that the queue refuses. By default such messages fail.
    #[cfg(feature = "large-messages")]
    pub fn large_messages(self, large_messages: crate::LargeMessages) -> Self {
        self.set(|settings| settings.large_messages = Some(large_messages))
    }

    /// Returns the producer.
    pub fn build(self) -> Producer {
        let Self { client, queue_url, mut settings } = self;
        let client = attempts_alone(&in_region_of_url(&client, &queue_url));
        if settings.is_fifo {
            settings.try_for.while_known = last_attempt_after(attempt_timeout_of(&client));
        }
        let queue = TargetQueue { client, url: queue_url, is_fifo: settings.is_fifo };
        let inner = Arc::new(ProducerInner::new(queue, settings));
        Producer { handle: Arc::new(Handle { inner }) }
    }

    fn set(mut self, set: impl FnOnce(&mut ProducerSettings)) -> Self {
        set(&mut self.settings);
        self
    }
}

/// The longest duration. A clock cannot represent every later time.
const A_YEAR: Duration = Duration::from_secs(365 * 24 * 3_600);

/// How long SQS remembers a deduplication id.
const DEDUPLICATION: Duration = Duration::from_secs(300);

/// A request may arrive after its sender gave up, and clocks run at different speeds.
const DEDUPLICATION_MARGIN: Duration = Duration::from_secs(10);

const LONGEST_RETRY: Duration = DEDUPLICATION.saturating_sub(DEDUPLICATION_MARGIN).saturating_sub(ATTEMPT_TIMEOUT);

/// Returns how long after the first attempt the last one may start, so that SQS still knows the deduplication id when
/// it ends.
fn last_attempt_after(attempt_timeout: Duration) -> Duration {
    DEDUPLICATION.saturating_sub(DEDUPLICATION_MARGIN).saturating_sub(attempt_timeout)
}

fn attempt_timeout_of(client: &Client) -> Duration {
    let timeouts = client.config().timeout_config();
    timeouts.and_then(TimeoutConfig::operation_attempt_timeout).unwrap_or(ATTEMPT_TIMEOUT)
}

/// Returns the same client without retries of its own, which would hide whether an attempt was answered.
fn attempts_alone(client: &Client) -> Client {
    let config = impatient(client, ATTEMPT_TIMEOUT).config().to_builder().retry_config(RetryConfig::disabled());
    Client::from_conf(config.interceptor(NoteTransmission).build())
}

impl Drop for Handle {
    fn drop(&mut self) {
        let unsettled = self.inner.close();
        if unsettled > 0 {
            tracing::warn!(
                unsettled,
                queue_url = self.inner.queue.url,
                "a producer was dropped before its messages were sent; they are lost if the runtime ends first. Call `close` to wait for them"
            );
        }
    }
}

impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ProducerInner { queue, settings, .. } = &*self.handle.inner;
        f.debug_struct("Producer").field("queue_url", &queue.url).field("settings", settings).finish()
    }
}
