//! One poller: from a permit to the messages that it was for, again and again.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use aws_sdk_sqs::types::{Message, MessageSystemAttributeName};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::fault::Fault;
use super::health::Stage;
use super::idle::IdlePause;
use super::permits::PollGrant;
use super::queue::{in_ms, wait_after};
use super::received::{self, RunningBatches};
use super::shared::{Phase, Shared};
use super::triage::Triage;
use crate::error::{Error, Kind};
use crate::moment::{Deadline, Moment};
use crate::sqs::hex::hex;
use crate::sqs::random::random;

/// For so long SQS gives the same messages to a receive that is made again.
const ATTEMPT_ID_TIME: Duration = Duration::from_secs(4 * 60);

/// How long an answer may have been on its way at most, for what is reckoned by it.
const ANSWER_TIME: Duration = Duration::from_secs(1);

/// Polls until the worker closes, or until there are pollers enough without this one.
///
/// # Errors
///
/// Where the queue never could be polled, and waiting cannot help.
pub(super) async fn poll(shared: Arc<Shared>, batches: RunningBatches) -> Result<(), Error> {
    let (mut unanswered, mut failures, mut idle) = (None, 0, IdlePause::default());
    while let Some(attempt) = next_attempt(&shared, unanswered.take()).await {
        let (asked, began) = (attempt.messages, Instant::now());
        match shared.receive(&attempt).await {
            Ok(received) => {
                shared.has_polled.store(true, Ordering::Relaxed);
                shared.health.note(Stage::Polling);
                failures = 0;
                let count = received.messages.len();
                shared.permits.unused(asked - count.min(asked));
                shared.clone().take(received, attempt, &batches).await;
                // Who adds one is mostly on a thread of its own, and would be woken for nothing at each poll.
                if count == asked && shared.may_have_one_more() {
                    shared.more.notify_one();
                } else if count == 0 && shared.has_one_too_many() {
                    return Ok(());
                }
                match count {
                    0 => shared.rest(idle.after_empty(began.elapsed())).await,
                    _ => idle.reset(),
                }
            }
            Err(Fault::Lasting(problem)) if !shared.has_polled.load(Ordering::Relaxed) => {
                return Err(Kind::Queue(problem).into());
            }
            Err(fault) => {
                shared.health.note(Stage::Failing);
                unanswered = shared.again(attempt);
                failures += 1;
                let wait = wait_after(failures);
                let (error, next_attempt_in_ms) = (fault.into_text(), in_ms(wait));
                tracing::warn!(
                    error,
                    failures,
                    next_attempt_in_ms,
                    "the queue could not be polled; the worker tries again"
                );
                shared.rest(wait).await;
            }
        }
    }
    Ok(())
}

/// Waits for permits, or has those of a receive that was not answered, unless the worker closes.
async fn next_attempt(shared: &Shared, mut unanswered: Option<Attempt>) -> Option<Attempt> {
    let next = async {
        loop {
            shared.handle.not_paused().await;
            if let Some(again) = unanswered.take().and_then(|attempt| shared.again(attempt)) {
                return again;
            }
            let grant = shared.permits.grant().await;
            if !shared.handle.is_paused() {
                return Attempt::new(grant, shared);
            }
            shared.permits.unused(grant.messages);
        }
    };
    tokio::select! {
        biased;
        () = shared.until(Phase::Closing) => None,
        attempt = next => Some(attempt),
    }
}

/// A receive, and the same once more where it was not answered. On a FIFO queue its id has SQS hand out the same messages then: as many
/// as there were permits for the first time. So it keeps them.
struct Attempt {
    /// On a FIFO queue.
    id: Option<String>,
    messages: usize,
    permits: OwnedSemaphorePermit,
    /// When it was made first.
    since: Moment,
}

impl Attempt {
    /// One that is made now.
    fn new(PollGrant { messages, permits }: PollGrant, shared: &Shared) -> Self {
        let id = shared.queue.source.is_fifo().then(|| hex(u128::from_be_bytes(random())));
        Self { id, messages, permits, since: Moment::now() }
    }
}

/// What a receive has brought.
pub(super) struct Received {
    messages: Vec<Message>,
    /// From when on the messages are reckoned to be ours.
    since: Moment,
}

impl Shared {
    /// Waits for so long, but not beyond a shutdown.
    async fn rest(&self, pause: Duration) {
        if pause.is_zero() {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = self.until(Phase::Closing) => {}
        }
    }

    async fn receive(&self, attempt: &Attempt) -> Result<Received, Fault> {
        let seconds = |duration: Duration| i32::try_from(duration.as_secs()).unwrap_or(i32::MAX);
        let queue = &self.queue;
        let receive = queue.receives.receive_message().queue_url(&queue.url).wait_time_seconds(seconds(self.wait_time));
        let receive = receive.max_number_of_messages(i32::try_from(attempt.messages).unwrap_or(1));
        let receive = receive.visibility_timeout(seconds(queue.lease.as_duration()));
        let receive = receive.message_system_attribute_names(MessageSystemAttributeName::All);
        let receive = receive.message_attribute_names("All");
        let receive = receive.set_receive_request_attempt_id(attempt.id.clone());
        let asked = Moment::now();
        let answer = receive.send().await.map_err(|error| Fault::of("sqs:ReceiveMessage", &queue.url, error))?;
        // SQS counts from when it handed them out. That is not before it was asked; but a poll may have waited for 20 s then, which is more
        // than a lease may have, and what has just come would be taken for lost. An answer leaves as soon as there is a message for it.
        // A process that was suspended meanwhile may have had it waiting for it since then.
        let since = match asked.was_suspended_since() {
            true => asked,
            false => asked.or_later(Moment::now().before(ANSWER_TIME)),
        };
        Ok(Received { messages: answer.messages.unwrap_or_default(), since })
    }

    /// The attempt, if it is of use to make it again. Its permits are free if not.
    fn again(&self, attempt: Attempt) -> Option<Attempt> {
        if attempt.id.is_some() && attempt.since.elapsed() <= ATTEMPT_ID_TIME {
            return Some(attempt);
        }
        self.permits.unused(attempt.messages);
        None
    }

    /// Begins what is new of that, and deletes what was done before. On a FIFO queue, what stands behind a message that is not begun is
    /// given back: SQS hands it out again when that one is settled.
    async fn take(self: Arc<Self>, received: Received, attempt: Attempt, batches: &RunningBatches) {
        let ends = Deadline::after(received.since, self.queue.lease.as_duration());
        let Triage { fresh, done, behind, .. } = Triage::of(received.messages, ends, attempt.messages, &self);
        let in_flight = self.permits.in_flight(attempt.permits, fresh.len());
        // First of all: their time runs, and the rest may have to wait until SQS has taken what was before it.
        if !fresh.is_empty() {
            batches.spawn(received::run(self.clone(), fresh, in_flight, received.since));
        }
        if !done.is_empty() {
            let room = self.settler.room(done.len()).await;
            self.settler.delete(room, done);
        }
        if !behind.is_empty() {
            let room = self.settler.room(behind.len()).await;
            self.settler.release(room, behind);
        }
    }
}
