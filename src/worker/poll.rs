//! Runs one poller, which repeatedly takes permits and receives the messages for them.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use aws_sdk_sqs::types::{Message, MessageSystemAttributeName};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::health::Stage;
use super::idle::IdlePause;
use super::permits::PollGrant;
use super::queue::{in_ms, wait_after};
use super::queue_error::QueueError;
use super::received::{self, RunningBatches};
use super::shared::{Phase, Shared};
use super::triage::Triage;
use crate::error::{Error, ErrorKind};
use crate::moment::{Deadline, Moment};
use crate::sqs::hex::hex;
use crate::sqs::random::random;

/// The time for which a repeated receive gets the same messages from SQS. It is a little below SQS's limit of five
/// minutes.
const ATTEMPT_ID_TIME: Duration = Duration::from_secs(4 * 60);

/// For the start of its leases, an answer is assumed to travel for one part in this many of a lease. With a longer time,
/// messages from long polls would need their first heartbeat sooner.
const ANSWER_FRACTION: u32 = 6;

/// The shortest and the longest of these times.
const ANSWER_TIME: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(10);

/// Polls until the worker closes, or until the other pollers suffice.
///
/// # Errors
///
/// Returns an error if no poll has been answered yet and a retry cannot help.
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
                // The task that adds pollers mostly runs on another thread. Without this check, each poll would wake it
                // for nothing.
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
            Err(QueueError::Permanent(problem)) if !shared.has_polled.load(Ordering::Relaxed) => {
                return Err(ErrorKind::Queue(problem).into());
            }
            Err(error) => {
                shared.health.note(Stage::Failing);
                unanswered = shared.again(attempt);
                failures += 1;
                let wait = wait_after(failures);
                let (error, next_attempt_in_ms) = (error.into_text(), in_ms(wait));
                tracing::warn!(error, failures, next_attempt_in_ms, "failed to poll the queue; the worker tries again");
                shared.rest(wait).await;
            }
        }
    }
    Ok(())
}

/// Returns the next attempt: the unanswered one if it may be repeated, or a new one once there are permits. Returns
/// `None` if the worker closes.
async fn next_attempt(shared: &Shared, mut unanswered: Option<ReceiveAttempt>) -> Option<ReceiveAttempt> {
    let next = async {
        loop {
            shared.handle.not_paused().await;
            if let Some(again) = unanswered.take().and_then(|attempt| shared.again(attempt)) {
                return again;
            }
            let grant = shared.permits.grant().await;
            if !shared.handle.is_paused() {
                return ReceiveAttempt::new(grant, shared);
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

/// A receive, which may be repeated if it was not answered. On a FIFO queue its id makes SQS return the same messages
/// again, as many as there were permits for the first time. The attempt therefore keeps its permits.
struct ReceiveAttempt {
    /// The receive request attempt id, on a FIFO queue only.
    id: Option<String>,
    messages: usize,
    permits: OwnedSemaphorePermit,
    /// The time of the first receive with this id.
    since: Moment,
}

impl ReceiveAttempt {
    /// Returns a new attempt.
    fn new(PollGrant { messages, permits }: PollGrant, shared: &Shared) -> Self {
        let id = shared.queue.source.is_fifo().then(|| hex(u128::from_be_bytes(random())));
        Self { id, messages, permits, since: Moment::now() }
    }
}

/// The messages of a receive.
pub(super) struct PolledMessages {
    messages: Vec<Message>,
    /// The assumed start of their leases.
    since: Moment,
}

fn answer_time(lease: Duration) -> Duration {
    (lease / ANSWER_FRACTION).clamp(*ANSWER_TIME.start(), *ANSWER_TIME.end())
}

impl Shared {
    /// Waits for `pause`, or until a shutdown.
    async fn rest(&self, pause: Duration) {
        if pause.is_zero() {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = self.until(Phase::Closing) => {}
        }
    }

    async fn receive(&self, attempt: &ReceiveAttempt) -> Result<PolledMessages, QueueError> {
        let seconds = |duration: Duration| i32::try_from(duration.as_secs()).unwrap_or(i32::MAX);
        let queue = &self.queue;
        let receive = queue.receives.receive_message().queue_url(&queue.url).wait_time_seconds(seconds(self.wait_time));
        let receive = receive.max_number_of_messages(i32::try_from(attempt.messages).unwrap_or(1));
        let receive = receive.visibility_timeout(seconds(queue.lease.as_duration()));
        let receive = receive.message_system_attribute_names(MessageSystemAttributeName::All);
        let receive = receive.message_attribute_names("All");
        let receive = receive.set_receive_request_attempt_id(attempt.id.clone());
        let asked = Moment::now();
        let answer = receive.send().await.map_err(|error| QueueError::of("sqs:ReceiveMessage", &queue.url, error))?;
        // SQS counts a lease from when it hands a message out, which is not before the request. But a poll may have
        // waited for 20 s, longer than a lease may be, and new messages would count as lost. An answer leaves as soon
        // as there is a message, so a lease begins at most as long before now as an answer travels. The exception is a
        // process that was suspended: the answer may have waited for it since the request.
        let since = match asked.was_suspended_since() {
            true => asked,
            false => asked.or_later(Moment::now().before(answer_time(queue.lease.as_duration()))),
        };
        Ok(PolledMessages { messages: answer.messages.unwrap_or_default(), since })
    }

    /// Returns the attempt if it may be repeated. Otherwise its permits are freed.
    fn again(&self, attempt: ReceiveAttempt) -> Option<ReceiveAttempt> {
        if attempt.id.is_some() && attempt.since.elapsed() <= ATTEMPT_ID_TIME {
            return Some(attempt);
        }
        self.permits.unused(attempt.messages);
        None
    }

    /// Runs the new messages, and deletes those that were processed before. On a FIFO queue, the messages behind one
    /// that is not run are released. SQS hands them out again when that one is settled.
    async fn take(self: Arc<Self>, received: PolledMessages, attempt: ReceiveAttempt, batches: &RunningBatches) {
        let ends = Deadline::after(received.since, self.queue.lease.as_duration());
        let Triage { fresh, done, behind, .. } = Triage::of(received.messages, ends, attempt.messages, &self);
        let in_flight = self.permits.in_flight(attempt.permits, fresh.len());
        // New messages run first, because their leases have begun. The other calls may have to wait for permits.
        if !fresh.is_empty() {
            batches.spawn(received::run(self.clone(), fresh, in_flight, received.since));
        }
        if !done.is_empty() {
            let permits = self.settler.permits(done.len()).await;
            self.settler.delete(permits, done);
        }
        if !behind.is_empty() {
            let permits = self.settler.permits(behind.len()).await;
            self.settler.release(permits, behind);
        }
    }
}
