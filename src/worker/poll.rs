//! One poller: from a permit to the messages that it was for, again and again.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use aws_sdk_sqs::types::{Message, MessageSystemAttributeName};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::batch;
use super::fault::Fault;
use super::health::Stage;
use super::hub::{Hub, Phase};
use super::memory::{Known, MessageKey};
use super::pollers::Batches;
use super::queue::wait_after;
use super::settler::Receipt;
use crate::error::{Error, Kind};
use crate::sqs::event::Record;

/// For so long SQS gives the same messages to a receive that is made again.
const ATTEMPT_ID_TIME: Duration = Duration::from_secs(4 * 60);

/// Polls until the worker closes, or until there are pollers enough without this one.
///
/// # Errors
///
/// Where the queue never could be polled, and waiting cannot help.
pub(super) async fn poll(hub: Arc<Hub>, batches: Batches) -> Result<(), Error> {
    let mut attempt = Attempt::new();
    let mut failures = 0;
    while let Some(permits) = next_turn(&hub).await {
        let asked = permits.num_permits();
        match hub.receive(asked, &attempt.id).await {
            Ok(messages) => {
                hub.has_polled.store(true, Ordering::Relaxed);
                hub.health.note(Stage::Polling);
                (attempt, failures) = (Attempt::new(), 0);
                hub.desk.unused(asked - messages.len().min(asked));
                let count = messages.len();
                hub.clone().take(messages, permits, &batches).await;
                if count == asked {
                    hub.more.notify_one();
                } else if count == 0 && hub.has_one_too_many() {
                    return Ok(());
                }
            }
            Err(Fault::Lasting(problem)) if !hub.has_polled.load(Ordering::Relaxed) => {
                return Err(Kind::Queue(problem).into());
            }
            Err(fault) => {
                hub.health.note(Stage::Failing);
                hub.desk.unused(asked);
                drop(permits);
                failures += 1;
                attempt.renew_if_old();
                tracing::warn!(error = fault.into_text(), failures, "the queue could not be polled");
                tokio::select! {
                    () = tokio::time::sleep(wait_after(failures)) => {}
                    () = hub.until(Phase::Closing) => {}
                }
            }
        }
    }
    Ok(())
}

/// Waits for permits, unless the worker closes.
async fn next_turn(hub: &Hub) -> Option<OwnedSemaphorePermit> {
    let turn = async {
        loop {
            hub.handle.not_paused().await;
            let permits = hub.desk.permits().await;
            if !hub.handle.is_paused() {
                return permits;
            }
        }
    };
    tokio::select! {
        biased;
        () = hub.until(Phase::Closing) => None,
        permits = turn => Some(permits),
    }
}

/// The id of a receive on a FIFO queue: one that is made again, for its answer was lost, brings the same messages.
struct Attempt {
    id: String,
    since: Instant,
}

impl Attempt {
    fn new() -> Self {
        Self { id: format!("{:032x}", fastrand::u128(..)), since: Instant::now() }
    }

    fn renew_if_old(&mut self) {
        if self.since.elapsed() > ATTEMPT_ID_TIME {
            *self = Self::new();
        }
    }
}

/// The group of a message of which little else can be read.
fn group_of(message: &Message) -> Option<String> {
    message.attributes.as_ref()?.get(&MessageSystemAttributeName::MessageGroupId).cloned()
}

impl Hub {
    async fn receive(&self, most: usize, attempt_id: &str) -> Result<Vec<Message>, Fault> {
        let seconds = |duration: Duration| i32::try_from(duration.as_secs()).unwrap_or(i32::MAX);
        let queue = &self.queue;
        let receive = queue.receives.receive_message().queue_url(&queue.url).wait_time_seconds(seconds(self.wait_time));
        let receive = receive.max_number_of_messages(i32::try_from(most).unwrap_or(1));
        let receive = receive.visibility_timeout(seconds(queue.lease.as_duration()));
        let receive = receive.message_system_attribute_names(MessageSystemAttributeName::All);
        let receive = receive.message_attribute_names("All");
        let receive = receive.set_receive_request_attempt_id(queue.source.is_fifo().then(|| attempt_id.to_owned()));
        let answer = receive.send().await.map_err(|error| Fault::of("sqs:ReceiveMessage", &queue.url, error))?;
        Ok(answer.messages.unwrap_or_default())
    }

    /// Begins what is new of that, and deletes what was done before. On a FIFO queue, what stands behind a message that is not begun is
    /// given back: SQS hands it out again when that one is settled.
    async fn take(self: Arc<Self>, messages: Vec<Message>, permits: OwnedSemaphorePermit, batches: &Batches) {
        let (mut fresh, mut done, mut behind) = (Vec::new(), Vec::new(), Vec::new());
        // Of these groups one is left out, and none that comes after it may be before it.
        let mut left_out = HashSet::new();
        for message in messages {
            let record = match Record::new(&message, &self.queue.source) {
                Ok(record) => record,
                Err(error) => {
                    tracing::error!(%error, "a message is left alone");
                    left_out.extend(group_of(&message));
                    continue;
                }
            };
            if record.group().is_some_and(|group| left_out.contains(group)) {
                behind.push(Receipt::of(&record));
                continue;
            }
            let key = MessageKey::of(record.message_id());
            // The same message twice in one poll is the engine's matter.
            if fresh.iter().any(|(other, _)| *other == key) {
                fresh.push((key, record));
                continue;
            }
            let message_id = record.message_id();
            let known = self.memory().receive(&key, Instant::now());
            if known != Known::Nothing {
                left_out.extend(record.group().map(str::to_owned));
            }
            match known {
                Known::Nothing => fresh.push((key, record)),
                Known::Done => {
                    tracing::info!(message_id, "a message that was processed came back, and is deleted");
                    done.push(Receipt::of(&record));
                }
                // Its other receipt says what becomes of it. This one runs out.
                Known::Running => tracing::info!(message_id, "a message that runs here was handed out once more"),
            }
        }
        if !done.is_empty() {
            drop(self.settler.delete(done).await);
        }
        if !behind.is_empty() {
            drop(self.settler.release(behind).await);
        }
        if !fresh.is_empty() {
            batches.spawn(batch::run(self, fresh, permits));
        }
    }
}
