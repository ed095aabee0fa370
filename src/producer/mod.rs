//! Sends messages to a queue: together, and none dropped.
//!
//! ```text
//! Outgoing -> check -> room -> pack (pure) -> driver -> call -> what became of each
//! ```

mod call;
mod checked;
mod driver;
mod error;
mod flight;
mod id;
mod item;
mod open;
mod outgoing;
mod pack;
mod refit;
mod sent;
#[allow(missing_docs, reason = "a seam")]
mod stored;
mod told;
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
pub use self::trace::Source as TraceSource;
pub use self::trace::TraceContext;

use self::call::{NoteTransmission, Queue};
use self::checked::Checked;
use self::driver::Shared;
use self::item::TryFor;
use self::told::{Teller, Together};
use crate::sqs::client::impatient;
use crate::sqs::limits::{MAX_ENTRIES, MAX_MESSAGE_BYTES};
use crate::sqs::region::in_region_of_url;

/// Sends messages to one queue.
///
/// Messages of many tasks leave together: a call goes when ten are there, when a mebibyte is, or a few milliseconds after its first.
/// Each caller learns what became of its own message:
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
/// Clones send together, and are cheap. [The chapter on sending](crate::docs::producer) has what is retried, and what order holds.
#[derive(Clone)]
pub struct Producer {
    handle: Arc<Handle>,
}

/// The last of these ends the producer.
struct Handle {
    shared: Arc<Shared>,
}

/// What order messages keep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum GroupOrder {
    /// On a FIFO queue, the messages of a group leave one after the other, each when the one before it has arrived. One that does not
    /// arrive takes along those that wait behind it, and those that come behind it in the same [`Producer::send_all`]: they fail, and
    /// none of them is in the queue before it. Only what is known never to go is not waited for: a message that SQS has refused for
    /// what it is.
    #[default]
    Strict,
    /// Messages leave as they come, several of a group in one call and in several calls at a time.
    Relaxed,
}

/// Makes a [`Producer`] with other settings than the usual ones.
#[derive(Debug)]
#[must_use = "`build` makes the producer"]
pub struct ProducerBuilder {
    client: Client,
    queue_url: String,
    settings: Settings,
}

#[derive(Debug)]
struct Settings {
    is_fifo: bool,
    linger: Duration,
    calls: usize,
    buffer: usize,
    try_for: TryFor,
    order: GroupOrder,
    has_send_id: bool,
    content_based_deduplication: bool,
    fails_fast: bool,
    trace_context: trace::Source,
    #[cfg(feature = "large-messages")]
    large_messages: Option<crate::LargeMessages>,
}

/// An answer takes milliseconds, and longer for a full mebibyte over a slow line.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);

const LINGER: Duration = Duration::from_millis(5);
/// With more, a slow line takes longer for a full mebibyte each than an attempt may; with fewer, there are times at which none is on its way.
const CALLS: usize = 16;
const BUFFER: usize = 32 * MAX_MESSAGE_BYTES;
const RETRY_FOR: Duration = Duration::from_secs(60);
const AHEAD: usize = 1_000;

impl Producer {
    /// Returns a producer for this queue, with the usual settings. It makes no call before there is a message.
    ///
    /// A URL of AWS says the region of its queue, and calls are made there whatever the client's own region is. An endpoint that the
    /// client was given stays as it is.
    pub fn new(client: Client, queue_url: impl Into<String>) -> Self {
        Self::builder(client, queue_url).build()
    }

    /// A producer whose settings are to be others.
    pub fn builder(client: Client, queue_url: impl Into<String>) -> ProducerBuilder {
        let queue_url = queue_url.into();
        let settings = Settings {
            is_fifo: queue_url.ends_with(".fifo"),
            linger: LINGER,
            calls: CALLS,
            buffer: BUFFER,
            try_for: TryFor { retry_for: RETRY_FOR, while_known: A_YEAR },
            order: GroupOrder::Strict,
            has_send_id: true,
            content_based_deduplication: false,
            fails_fast: false,
            trace_context: trace::Source::default(),
            #[cfg(feature = "large-messages")]
            large_messages: None,
        };
        ProducerBuilder { client, queue_url, settings }
    }

    /// Sends one message, and waits until SQS has it. A full buffer makes it wait too.
    ///
    /// To drop the future before it has ended does not take the message back. Should it fail then, the log says so.
    ///
    /// # Errors
    ///
    /// Where the message is not known to be in the queue: [`SendError`] says why, and what may be done about it.
    pub async fn send(&self, message: impl IntoOutgoing) -> Result<Sent, SendError> {
        let trace = self.handle.shared.settings.trace_context.now();
        let mut prepared = self.prepare(message.into_outgoing(), &trace)?;
        let (teller, told) = oneshot::channel();
        let teller = Teller::Alone(teller);
        let room = self.room(&mut prepared, &teller).await?;
        self.handle.shared.take(prepared.checked, teller, room);
        told.await.unwrap_or_else(|_| Err(runtime_ended()))
    }

    /// Sends all of them, and waits until it is known of each what became of it: the results are in the order of the messages.
    ///
    /// Messages are taken from the iterator as there is room for them, and of a standard queue's a thousand at a time. On a FIFO queue
    /// their order is kept within each group.
    pub async fn send_all<I>(&self, messages: I) -> Vec<Result<Sent, SendError>>
    where
        I: IntoIterator<Item: IntoOutgoing>,
    {
        let shared = &self.handle.shared;
        let (together, ahead) = (Together::new(), shared.settings.ahead());
        let trace = shared.settings.trace_context.now();
        for message in messages {
            let teller = Teller::Together(together.place(ahead).await);
            let mut prepared = match self.prepare(message.into_outgoing(), &trace) {
                Ok(prepared) => prepared,
                Err(error) => {
                    teller.tell(Err(error));
                    continue;
                }
            };
            // Waited for by itself, and not with the message: a future that has that within it has it moved, and it is large.
            match self.room(&mut prepared, &teller).await {
                Ok(room) => shared.take(prepared.checked, teller, room),
                Err(error) => teller.tell(Err(error)),
            }
        }
        // Nothing comes behind the last of them that would be worth waiting for.
        shared.hurry();
        let outcomes = together.outcomes().await;
        outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(|| Err(runtime_ended()))).collect()
    }

    /// Has all messages leave that were given to it, by this clone and others, and waits until it is known what became of each.
    pub async fn flush(&self) {
        self.handle.shared.flush().await;
    }

    /// Takes no more messages, from no clone, and waits until it is known what became of those that it has.
    pub async fn close(self) {
        self.handle.shared.close();
        self.handle.shared.flush().await;
    }

    /// Checks the message.
    fn prepare(&self, message: Result<Outgoing, SendError>, trace: &TraceContext) -> Result<Prepared, SendError> {
        let settings = &self.handle.shared.settings;
        let message = message?;
        let limit = self.handle.shared.size_limit.bytes(Instant::now());
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

    /// Waits until there is room for the message. Where its body is too large for SQS, and may go through S3, it is there then.
    ///
    /// # Errors
    ///
    /// Where it cannot leave.
    #[cfg_attr(not(feature = "large-messages"), expect(unused_variables))]
    async fn room(&self, prepared: &mut Prepared, teller: &Teller) -> Result<OwnedSemaphorePermit, SendError> {
        let shared = &self.handle.shared;
        #[cfg(feature = "large-messages")]
        if let Some((large_messages, offloaded)) =
            shared.settings.large_messages.as_ref().zip(prepared.offloaded.take())
        {
            let group = shared.settings.line_of(&prepared.checked.message);
            let is_broken = group.as_ref().is_some_and(|group| teller.is_broken(group));
            // Where it will not leave, its body is not to wait for S3.
            if !is_broken {
                // Where it is not there, those behind it are not to go before it.
                let breaks = |_: &SendError| group.iter().for_each(|group| teller.breaks(group));
                large_messages.put(offloaded).await.inspect_err(breaks)?;
            }
        }
        shared.room(prepared.checked.bytes).await
    }
}

/// A message that SQS takes.
struct Prepared {
    checked: Checked,
    /// Its body, which is to be in S3 before it leaves.
    #[cfg(feature = "large-messages")]
    offloaded: Option<crate::large::Offloaded>,
}

fn runtime_ended() -> SendError {
    SendError::unknown("the runtime that sent it has ended".to_owned())
}

impl Settings {
    /// The group that the message must not pass others of.
    fn line_of(&self, message: &Outgoing) -> Option<Arc<str>> {
        let group = message.group.as_deref().filter(|_| self.is_fifo && self.order == GroupOrder::Strict)?;
        Some(group.into())
    }

    /// How many messages [`Producer::send_all`] has open. What is made long before it leaves is no longer in the processor's cache; on a
    /// FIFO queue calls are filled with what other groups have.
    fn ahead(&self) -> usize {
        if self.is_fifo { usize::MAX } else { AHEAD.max(2 * MAX_ENTRIES * self.calls) }
    }

    /// Adds what has the receiver know it again.
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

    /// With content-based deduplication SQS makes the id from the body. Where that is in S3, the id is made from it here: a pointer is
    /// another one each time.
    fn identify_by_content(&self, message: &mut Outgoing) {
        if self.is_fifo && self.content_based_deduplication && message.deduplication_id.is_none() {
            message.deduplication_id = message.content_id.take().map(|id| Id::Given(id.into()));
        }
    }
}

impl ProducerBuilder {
    /// How long the first message of a call waits for others, 5 ms by default. With none, a message leaves at once; those that come while
    /// all calls are under way leave together all the same. A year at most.
    pub fn linger(self, linger: Duration) -> Self {
        self.set(|settings| settings.linger = linger.min(A_YEAR))
    }

    /// How many calls are under way at a time, 16 by default.
    pub fn concurrency(self, calls: usize) -> Self {
        self.set(|settings| settings.calls = NonZeroUsize::new(calls).map_or(1, NonZeroUsize::get))
    }

    /// The memory that messages may take until they are settled, in bytes: 32 MiB by default, and never less than one message of 1 MiB
    /// takes. Where it is full, [`Producer::send`] waits.
    pub fn buffer(self, bytes: usize) -> Self {
        // A semaphore hands out what a u32 counts.
        self.set(|settings| settings.buffer = bytes.clamp(2 * MAX_MESSAGE_BYTES, u32::MAX as usize))
    }

    /// For how long a message is tried again that fails for no fault of its own, 60 s by default: no attempt begins later than that
    /// after its first one did. A year at most.
    ///
    /// On a FIFO queue no longer than 280 s, and no attempt begins that could be accepted after the 5 minutes for which SQS knows the
    /// deduplication id: a message whose answer was lost would then be there twice. How long an attempt may take is the timeout of the
    /// client, 10 s where it has none. With a timeout of 60 s the last attempt begins 230 s after the first; with one of 290 s or more there
    /// is one attempt.
    pub fn retry_for(self, time: Duration) -> Self {
        let longest = if self.settings.is_fifo { LONGEST_RETRY } else { A_YEAR };
        self.set(|settings| settings.try_for.retry_for = time.min(longest))
    }

    /// Sends messages without the attribute `redrive.id`, for consumers that do not want it. By default a message to a standard queue has
    /// it, and a handler reads it as [`SendId`](crate::SendId); without it nobody can tell a copy of a message from another message. On
    /// FIFO queues the deduplication id stays.
    ///
    /// The other attributes that a producer adds are those of [`trace_context`](Self::trace_context).
    pub fn without_send_id(self) -> Self {
        self.set(|settings| settings.has_send_id = false)
    }

    /// What order the messages of a group keep on a FIFO queue: [`GroupOrder::Strict`] by default.
    pub fn order(self, order: GroupOrder) -> Self {
        self.set(|settings| settings.order = order)
    }

    /// Leaves deduplication to the content, for a FIFO queue with `ContentBasedDeduplication`: messages of the same body within five
    /// minutes are one. By default each message has an id of its own, so that only the tries of one are.
    ///
    /// SQS takes the SHA-256 of the body alone for it; attributes do not count. A message whose body goes
    /// [through S3](Self::large_messages) has the SHA-256 of that body as its deduplication id, so the same holds for it.
    pub fn content_based_deduplication(self) -> Self {
        self.set(|settings| settings.content_based_deduplication = true)
    }

    /// Gives up a message at once where nobody listens, or no credentials can be loaded, until a first call was answered. By default it is
    /// tried again: a service may start before the network does, and a command has somebody waiting for it.
    pub(crate) fn fail_fast(self) -> Self {
        self.set(|settings| settings.fails_fast = true)
    }

    /// Where the trace of a message comes from, and `TraceContext::default` for none: asked at each [`Producer::send`], and once for all messages of a [`Producer::send_all`]. By
    /// default the X-Ray header is that of `_X_AMZN_TRACE_ID`, which AWS Lambda sets.
    pub fn trace_context(self, context: impl Fn() -> TraceContext + Send + Sync + 'static) -> Self {
        self.set(|settings| settings.trace_context = trace::Source::new(context))
    }

    /// Sends messages that are larger than SQS or the queue takes through S3: see [`LargeMessages`](crate::LargeMessages). Such a message
    /// is in line from when its body is there. The limit of the queue is learned from the first message that it refuses.
    #[cfg(feature = "large-messages")]
    pub fn large_messages(self, large_messages: crate::LargeMessages) -> Self {
        self.set(|settings| settings.large_messages = Some(large_messages))
    }

    /// The producer.
    pub fn build(self) -> Producer {
        let Self { client, queue_url, mut settings } = self;
        let client = attempts_alone(&in_region_of_url(&client, &queue_url));
        if settings.is_fifo {
            settings.try_for.while_known = last_attempt_after(attempt_timeout_of(&client));
        }
        let queue = Queue { client, url: queue_url, is_fifo: settings.is_fifo };
        let shared = Arc::new(Shared::new(queue, settings));
        Producer { handle: Arc::new(Handle { shared }) }
    }

    fn set(mut self, set: impl FnOnce(&mut Settings)) -> Self {
        set(&mut self.settings);
        self
    }
}

/// What is longer is for ever, and a clock that has begun long ago has no time to name for that.
const A_YEAR: Duration = Duration::from_secs(365 * 24 * 3_600);

/// For how long SQS remembers a deduplication id.
const DEDUPLICATION: Duration = Duration::from_secs(300);

/// A request may arrive after its sender has given up on it, and clocks do not run at one pace.
const DEDUPLICATION_MARGIN: Duration = Duration::from_secs(10);

const LONGEST_RETRY: Duration = DEDUPLICATION.saturating_sub(DEDUPLICATION_MARGIN).saturating_sub(ATTEMPT_TIMEOUT);

/// How long after the first attempt the last one may begin, so that SQS still knows the deduplication id when that one ends.
fn last_attempt_after(attempt_timeout: Duration) -> Duration {
    DEDUPLICATION.saturating_sub(DEDUPLICATION_MARGIN).saturating_sub(attempt_timeout)
}

fn attempt_timeout_of(client: &Client) -> Duration {
    let timeouts = client.config().timeout_config();
    timeouts.and_then(TimeoutConfig::operation_attempt_timeout).unwrap_or(ATTEMPT_TIMEOUT)
}

/// The same client, which tries once: its own tries would hide which of them was not answered.
fn attempts_alone(client: &Client) -> Client {
    let config = impatient(client, ATTEMPT_TIMEOUT).config().to_builder().retry_config(RetryConfig::disabled());
    Client::from_conf(config.interceptor(NoteTransmission).build())
}

impl Drop for Handle {
    fn drop(&mut self) {
        let unsettled = self.shared.close();
        if unsettled > 0 {
            tracing::warn!(
                unsettled,
                queue_url = self.shared.queue.url,
                "a producer was dropped before its messages were sent; they are as long as the runtime is there. `close` waits for them"
            );
        }
    }
}

impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shared { queue, settings, .. } = &*self.handle.shared;
        f.debug_struct("Producer").field("queue_url", &queue.url).field("settings", settings).finish()
    }
}
