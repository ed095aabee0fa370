//! Provides the queue as a service with waiting calls, faults and a clock.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_sdk_sqs::primitives::{DateTime, DateTimeFormat};
use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

use super::clock::Clock;
use super::faults::{Dice, Faults};
use super::queue::{Account, BatchResult, Code, Happening, Message, QueueId, ReceiveMessage, Received, SqsError, Time};
use super::wire::{Answer, Request};

/// SQS on this machine.
///
/// Programs use it through an SDK: through [`Sqs::client`] without a socket, or through any SDK once it is
/// [served](Sqs::serve). Clones refer to the same SQS.
///
/// It follows tokio's clock. On a paused clock, a wait of twelve hours takes no time:
///
/// ```
/// use redrive_local::Sqs;
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?.block_on(async {
/// let sqs = Sqs::with_seed(1);
/// let client = sqs.client();
/// let url = client.create_queue().queue_name("orders").send().await?.queue_url.unwrap_or_default();
/// client.send_message().queue_url(&url).message_body("hello").delay_seconds(900).send().await?;
///
/// let mut received = Vec::new();
/// while received.is_empty() {
///     let answer = client.receive_message().queue_url(&url).wait_time_seconds(20).send().await?;
///     received = answer.messages.unwrap_or_default();
/// }
/// assert_eq!(received[0].body(), Some("hello"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Sqs {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    clock: Clock,
}

#[derive(Debug)]
struct State {
    account: Account,
    dice: Dice,
    /// The notifications for calls that wait for a change of a queue.
    waiting: HashMap<QueueId, Arc<Notify>>,
    /// Notified after every call.
    changed: Arc<Notify>,
    /// Whether long polls end at once.
    ends_polls: bool,
    watcher: Option<Watcher>,
    /// The ids of received messages that an injected fault left visible, until they are logged.
    duplicated: Vec<String>,
}

/// The result of a look for messages.
enum Look {
    Answer(Received),
    /// No message is visible. The call looks again when the queue changes, or at this time.
    Wait {
        changed: OwnedNotified,
        due: Time,
    },
}

/// A callback for events of messages. It must not block.
#[derive(Clone)]
struct Watcher(Arc<dyn Fn(Happening) + Send + Sync>);

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watcher")
    }
}

/// A call in its wire form.
pub(super) struct Call<'a> {
    /// The service's and the operation's name, from the header `X-Amz-Target`.
    pub(super) target: &'a str,
    pub(super) body: &'a [u8],
    /// The beginning of queue URLs for this caller.
    pub(super) base_url: &'a str,
    /// The value of [`TRACE_ID`](super::wire::TRACE_ID), if the call has one.
    pub(super) trace_id: Option<&'a str>,
}

pub(super) const REGION: &str = "us-east-1";
/// The start time of a seeded run: 2026-01-01, 00:00 UTC.
const BEGINNING: Time = Time::from_millis(1_767_225_600_000);

impl Sqs {
    /// Creates an account without queues, on the system's clock.
    ///
    /// # Panics
    ///
    /// Never. It must be created and used within a tokio runtime with an enabled timer.
    pub fn new() -> Self {
        Self::in_region(REGION)
    }

    /// Creates an account in another region, which appears in its ARNs.
    #[doc(hidden)]
    pub fn in_region(region: &str) -> Self {
        Self::with(region, fastrand::u64(..), Clock::of_the_system())
    }

    /// Creates an account without queues, whose run can be repeated. Ids and faults come from the seed, and the clock
    /// starts at 2026-01-01.
    pub fn with_seed(seed: u64) -> Self {
        Self::with(REGION, seed, Clock::starting_at(BEGINNING))
    }

    fn with(region: &str, seed: u64, clock: Clock) -> Self {
        let state = State {
            account: Account::new(region, seed),
            dice: Dice::new(Faults::none(), seed),
            waiting: HashMap::new(),
            changed: Arc::default(),
            ends_polls: false,
            watcher: None,
            duplicated: Vec::new(),
        };
        Self { shared: Arc::new(Shared { state: Mutex::new(state), clock }) }
    }

    /// Sets the faults of all further calls.
    pub fn set_faults(&self, faults: Faults) {
        self.state().dice.set(faults);
    }

    /// Answers a call. Returns `None` if the connection breaks before the answer.
    pub(super) async fn call(&self, call: Call<'_>) -> Option<Answer> {
        let fate = self.state().dice.call();
        if !fate.delay.is_zero() {
            tokio::time::sleep(fate.delay).await;
        }
        if fate.loses_request {
            return None;
        }
        let answer = if fate.is_throttled {
            Answer::refused(SqsError::new(Code::RequestThrottled, "The request was denied due to request throttling."))
        } else {
            match Request::parse(call.target, call.body) {
                Ok(Request::ReceiveMessage(request)) => Answer::of(self.receive(&request).await),
                Ok(request) => self.apply(request.traced(call.trace_id), call.base_url),
                Err(error) => Answer::refused(error),
            }
        };
        (!fate.loses_answer).then_some(answer)
    }

    /// Returns the time of the queue's clock for the `Date` header.
    pub(super) fn date(&self) -> String {
        let seconds = i64::try_from(self.shared.clock.now().as_millis() / 1_000).unwrap_or(i64::MAX);
        DateTime::from_secs(seconds).fmt(DateTimeFormat::HttpDate).unwrap_or_default()
    }

    fn apply(&self, mut request: Request, base_url: &str) -> Answer {
        let mut state = self.state();
        let mut failed = Vec::new();
        let none_left = request.take_entries(|id| {
            let fails = state.dice.entry(id);
            let is_taken = fails.is_some();
            failed.extend(fails);
            is_taken
        });
        if none_left && !failed.is_empty() {
            return Answer::of(Ok(BatchResult::<()> { successful: Vec::new(), failed }));
        }
        let answer = request.apply(&mut state.account, base_url, self.shared.clock.now());
        state.wake_changed();
        Self::unlock_and_tell(state);
        if failed.is_empty() { answer } else { answer.with_failed(&failed) }
    }

    /// Unlocks the state and reports events that no answer reports. Log subscribers and watchers are foreign code: they
    /// may be slow or call this SQS, so they run without the lock.
    fn unlock_and_tell(mut state: MutexGuard<'_, State>) {
        let (happenings, watcher) = (state.account.take_happenings(), state.watcher.clone());
        let duplicated = std::mem::take(&mut state.duplicated);
        drop(state);
        for message_id in duplicated {
            tracing::debug!(message_id, "received a message that stays visible: an injected fault");
        }
        for happening in happenings {
            match &watcher {
                Some(Watcher(watcher)) => watcher(happening),
                None => log(&happening),
            }
        }
    }

    /// Receives messages, and waits for one up to the request's wait time.
    async fn receive(&self, request: &ReceiveMessage) -> Result<Received, SqsError> {
        let mut deadline = None;
        loop {
            let look = {
                let mut state = self.state();
                let look = state.look(request, self.shared.clock.now(), &mut deadline);
                Self::unlock_and_tell(state);
                look?
            };
            let (changed, due) = match look {
                Look::Answer(received) => return Ok(received),
                Look::Wait { changed, due } => (changed, due),
            };
            tokio::select! {
                // A fixed order instead of a random one makes a run repeatable.
                biased;
                () = changed => {}
                () = self.shared.clock.sleep_until(due) => {}
            }
        }
    }

    /// Resolves after the next answered call, or when a waiting call looks again.
    #[doc(hidden)]
    pub fn next_change(&self) -> OwnedNotified {
        self.state().changed.clone().notified_owned()
    }

    /// Returns whether a queue has no messages in any state.
    #[doc(hidden)]
    pub fn is_empty(&self, name: &str) -> bool {
        let now = self.shared.clock.now();
        self.state().account.is_empty(name, now)
    }

    /// Returns whether there is nothing to do now.
    #[doc(hidden)]
    pub fn rests(&self, queues: &[String], settled: u64) -> bool {
        self.state().rests(queues, settled, self.shared.clock.now())
    }

    /// Advances the clock to the next due time if there is nothing to do before it. None of these queues may have a
    /// visible message then, and all received messages have to be settled.
    #[doc(hidden)]
    pub fn skip_wait(&self, queues: &[String], settled: u64) {
        let mut state = self.state();
        let rests = state.rests(queues, settled, self.shared.clock.now());
        if let Some(due) = state.account.next_due().filter(|_| rests) {
            self.shared.clock.skip_to(due);
            state.wake_all();
        }
    }

    /// Removes the 60 s before a queue can be purged again, or created again after its deletion.
    #[doc(hidden)]
    pub fn settle_at_once(&self) {
        self.state().account.settle_at_once();
    }

    /// Ends waiting and future long polls at once, so that a shutdown does not wait for them.
    #[doc(hidden)]
    pub fn end_polls(&self) {
        let mut state = self.state();
        state.ends_polls = true;
        state.wake_all();
    }

    /// Sets the callback for events of messages that no answer reports.
    #[doc(hidden)]
    pub fn watch(&self, watcher: impl Fn(Happening) + Send + Sync + 'static) {
        self.state().watcher = Some(Watcher(Arc::new(watcher)));
    }

    /// Returns whether a message move task is running.
    pub(super) fn is_moving(&self) -> bool {
        self.state().account.is_moving()
    }

    /// Returns the messages of a queue, oldest first, without a receive.
    #[doc(hidden)]
    pub fn messages(&self, name: &str) -> Vec<Message> {
        self.state().account.messages(name).cloned().collect()
    }

    /// Returns a unique id.
    pub(super) fn unique_id(&self) -> String {
        self.state().account.unique_id().to_string()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic under the lock would be a bug. The state stays usable, and losing it would be worse.
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Sqs {
    fn default() -> Self {
        Self::new()
    }
}

impl State {
    /// Looks for messages. The first look sets the deadline of the call.
    fn look(&mut self, request: &ReceiveMessage, now: Time, deadline: &mut Option<Time>) -> Result<Look, SqsError> {
        let received = self.receive(request, now)?;
        if !received.messages.is_empty() {
            return Ok(Look::Answer(received));
        }
        let (queue, wait) = self.account.wait_time(request, now)?;
        let deadline = *deadline.get_or_insert(now + wait);
        if deadline <= now || self.ends_polls {
            return Ok(Look::Answer(received));
        }
        let due = self.account.next_due().map_or(deadline, |due| due.min(deadline));
        Ok(Look::Wait { changed: self.change_of(queue), due })
    }

    fn receive(&mut self, request: &ReceiveMessage, now: Time) -> Result<Received, SqsError> {
        let received = self.account.receive_message(request, now)?;
        for message in &received.messages {
            if self.dice.duplicates() {
                self.account.duplicate(&request.queue_url, &message.receipt_handle, now);
                self.duplicated.push(message.message_id.to_string());
            }
        }
        self.wake_changed();
        Ok(received)
    }

    /// Resolves after the next change of the queue.
    fn change_of(&mut self, queue: QueueId) -> OwnedNotified {
        self.waiting.entry(queue).or_default().clone().notified_owned()
    }

    fn rests(&mut self, queues: &[String], settled: u64, now: Time) -> bool {
        let activity: Vec<_> = queues.iter().map(|name| self.account.activity(name, now)).collect();
        let handed_out: u64 = activity.iter().map(|(handed_out, _)| handed_out).sum();
        handed_out == settled && !activity.iter().any(|(_, is_visible)| *is_visible)
    }

    fn wake_all(&self) {
        self.waiting.values().for_each(|waiting| waiting.notify_waiters());
    }

    /// Wakes the calls that wait for a change of one queue or of any queue.
    fn wake_changed(&mut self) {
        self.changed.notify_waiters();
        for queue in self.account.take_changed() {
            if let Some(waiting) = self.waiting.get(&queue) {
                waiting.notify_waiters();
            }
        }
    }
}

fn log(happening: &Happening) {
    match happening {
        Happening::DeadLettered { from, to, message_id, receive_count } => {
            tracing::info!(from, to, message_id, receive_count, "moved a message to the dead-letter queue");
        }
        Happening::Expired { from, message_id, receive_count } => {
            tracing::warn!(from, message_id, receive_count, "deleted a message after its retention period");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use aws_sdk_sqs::types::QueueAttributeName;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn watcher_may_call_the_queue_that_it_watches() {
        let sqs = Sqs::with_seed(1);
        let (watched, seen) = (sqs.clone(), Arc::new(Mutex::new(Vec::new())));
        let lengths = seen.clone();
        sqs.watch(move |_| lengths.lock().unwrap().push(watched.messages("orders").len()));
        let client = sqs.client();
        let create = client.create_queue().queue_name("orders");
        let create = create.attributes(QueueAttributeName::MessageRetentionPeriod, "60");
        let queue_url = create.send().await.unwrap().queue_url.unwrap();
        client.send_message().queue_url(&queue_url).message_body("an order").send().await.unwrap();
        tokio::time::sleep(Duration::from_secs(61)).await;
        let received = client.receive_message().queue_url(&queue_url).send().await.unwrap();
        assert!(received.messages().is_empty(), "{received:?}");
        assert_eq!(*seen.lock().unwrap(), [0], "the watcher did not see the expired message");
    }
}
