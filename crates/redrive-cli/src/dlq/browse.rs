//! Messages that were received to look at them. Those that are not deleted are released.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::retry::RetryConfig;
use aws_sdk_sqs::types::MessageSystemAttributeName;
use redrive::internals::Moment;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::counted;
use super::date::AnswerDate;
use super::dead_letter::DeadLetter;
use super::leases::Leases;
use super::seen::{Meeting, Seen};
use super::target::{Counts, DeadLetterQueue};
use crate::interrupt::Stop;
use crate::sqs::{CallError, Code, Trouble, backoff};

/// How long a list hides the messages that it looks at, if it never releases them.
pub(super) const LIST_LEASE: Duration = Duration::from_secs(90);
/// The same for other commands, where each chosen message takes two more calls.
pub(super) const LEASE: Duration = Duration::from_secs(300);
/// The limit of messages in a session. SQS hides about 120,000 of a queue, and other consumers need some of these.
pub(super) const MAX_BROWSED: usize = 100_000;

/// How often the leases are checked.
const TICK: Duration = Duration::from_secs(5);
/// With a long poll SQS asks all of its servers, and finds all messages.
const WAIT_SECONDS: i32 = 1;
const MAX_RECEIVED: usize = 10;
/// A receive that fails this often ends the run. With the longest waits in between, that is a minute of throttles.
const RECEIVE_ATTEMPTS: u32 = 16;

/// The messages that were received from a queue.
pub(super) struct BrowseSession<'a> {
    queue: &'a DeadLetterQueue,
    /// Makes each call once, because an unanswered attempt may hide messages unknown to this process.
    client: Client,
    lease: Duration,
    leases: Arc<Leases>,
    extender: LeaseExtender,
    pub(super) seen: Seen,
    pub(super) max_browsed: usize,
    /// When the first receive was answered.
    began: Option<Instant>,
    /// The counts of the queue before the run.
    before: Counts,
    /// Until then a receive with a lost answer may hide messages.
    lost_until: Option<Instant>,
}

/// The result of a receive.
#[derive(Debug, Default)]
pub(super) struct Look {
    /// Messages from before the run that it meets for the first time.
    pub(super) fresh: Vec<DeadLetter>,
    /// The number of all messages received.
    pub(super) received: usize,
    /// SQS hides as many messages of this queue as it ever does.
    pub(super) is_full: bool,
}

/// Messages that a run leaves in the queue without a look, by SQS's approximate counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Unseen {
    pub(super) visible: usize,
    /// Messages that other consumers have received.
    pub(super) hidden: usize,
}

impl<'a> BrowseSession<'a> {
    pub(super) async fn start(queue: &'a DeadLetterQueue, lease: Duration) -> Result<Self, String> {
        let before = queue.counts().await?;
        let config = queue.sqs.client.config().to_builder().retry_config(RetryConfig::disabled());
        let client = Client::from_conf(config.build());
        let leases = Arc::new(Leases::new(client.clone(), queue.url.clone(), lease));
        let extender = LeaseExtender::of(leases.clone());
        let (seen, began, lost_until) = (Seen::default(), None, None);
        Ok(Self { queue, client, lease, leases, extender, seen, max_browsed: MAX_BROWSED, began, before, lost_until })
    }

    /// Receives messages up to the limit and holds them. It retries failures that may pass, unless it should stop.
    pub(super) async fn receive(&mut self, limit: usize, stop: &Stop) -> Result<Look, String> {
        let room = limit.min(MAX_RECEIVED).min(self.max_browsed.saturating_sub(self.leases.count()));
        if room == 0 {
            return Ok(Look { is_full: true, ..Look::default() });
        }
        // On a FIFO queue a repeated attempt returns the messages of the previous one.
        let attempt_id = self.queue.is_fifo().then(|| format!("{:016x}", fastrand::u64(..)));
        for attempt in 1.. {
            let received = Moment::now();
            match self.call(room, attempt_id.clone()).await {
                Ok(dead_letters) => return Ok(self.meet(dead_letters, received)),
                Err(error) if error.code() == Some(Code::OverLimit) => {
                    return Ok(Look { is_full: true, ..Look::default() });
                }
                Err(error) => {
                    if error.trouble == Trouble::Lost {
                        self.lost_until = Some(Instant::now() + self.lease);
                    }
                    let may_pass = matches!(
                        error.trouble,
                        Trouble::Lost | Trouble::Busy | Trouble::Unreachable | Trouble::NoCredentials
                    );
                    if !may_pass || attempt == RECEIVE_ATTEMPTS {
                        let what = format!("cannot receive from {}", self.queue.name);
                        return Err(self.queue.sqs.explained(error, &what));
                    }
                    if !stop.sleep(backoff().delay(attempt)).await {
                        break;
                    }
                }
            }
        }
        Ok(Look::default())
    }

    /// Makes one attempt. It is never dropped, because messages in its answer would stay hidden.
    async fn call(&mut self, max: usize, attempt_id: Option<String>) -> Result<Vec<DeadLetter>, CallError> {
        let date = AnswerDate::default();
        let receive = self.client.receive_message().queue_url(&self.queue.url);
        let receive = receive
            .max_number_of_messages(max as i32)
            .visibility_timeout(self.lease.as_secs() as i32)
            .wait_time_seconds(WAIT_SECONDS)
            .set_receive_request_attempt_id(attempt_id)
            .message_attribute_names("All")
            .message_system_attribute_names(MessageSystemAttributeName::All);
        let received = receive.customize().interceptor(date.clone()).send().await?;
        if self.began.is_none() {
            self.began = Some(Instant::now());
            self.seen.begins_at(date.millis());
        }
        Ok(received.messages.unwrap_or_default().into_iter().filter_map(DeadLetter::of).collect())
    }

    fn meet(&mut self, dead_letters: Vec<DeadLetter>, received: Moment) -> Look {
        let running = self.began.map_or(Duration::ZERO, |began| began.elapsed());
        let running_ms = u64::try_from(running.as_millis()).unwrap_or(u64::MAX / 2);
        let mut look = Look { received: dead_letters.len(), ..Look::default() };
        for dead_letter in dead_letters {
            self.leases.add(&dead_letter.id, dead_letter.receipt_handle.clone(), received);
            if self.seen.meet(&dead_letter, running_ms) == Meeting::First {
                look.fresh.push(dead_letter);
            }
        }
        look
    }

    /// Deletes these messages. Returns the result for each id.
    pub(super) async fn delete(&self, ids: &[String]) -> Vec<(String, Result<(), String>)> {
        self.leases.delete(ids).await
    }

    /// Returns until when a receive with a lost answer may hide messages.
    pub(super) fn lost_until(&self) -> Option<Instant> {
        self.lost_until.filter(|until| *until > Instant::now())
    }

    /// Returns whether the queue had more messages before the run than it has looked at.
    pub(super) fn expects_more(&self) -> bool {
        self.before.visible > self.seen.looked_at
    }

    /// Returns whether held messages hide others: on a FIFO queue a message in flight hides the later ones of its
    /// group.
    pub(super) fn hides_others(&self) -> bool {
        self.queue.is_fifo() && self.leases.count() > 0
    }

    /// Returns whether SQS still counts a visible message. Its counts lag by up to about a minute.
    pub(super) async fn counts_more(&self) -> bool {
        self.queue.counts().await.is_ok_and(|counts| counts.visible > 0)
    }

    /// Returns the messages from before the run without a look: the minimum of both counts, because each of them lags.
    pub(super) async fn unseen(&self) -> Unseen {
        let before = self.before.visible + self.before.hidden;
        let missed = before.saturating_sub(self.seen.looked_at);
        let counts = self.queue.counts().await;
        let Counts { visible, hidden } = counts.unwrap_or(Counts { visible: missed, hidden: 0 });
        let visible = visible.min(missed);
        let hidden = hidden.saturating_sub(self.leases.count()).min(self.before.hidden).min(missed - visible);
        Unseen { visible, hidden }
    }

    /// Makes all held messages visible again at once. Returns what failed.
    pub(super) async fn give_back(self) -> Result<(), String> {
        self.extender.end().await;
        self.leases.give_back().await.map_err(|hidden| {
            format!(
                "{}: {} could not be released, and stay hidden for up to {} s: {}",
                self.queue.name,
                counted(hidden.count),
                hidden.longest.as_secs(),
                hidden.cause
            )
        })
    }
}

/// Extends leases while they are needed.
struct LeaseExtender {
    /// Dropping it ends the task.
    end: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl LeaseExtender {
    fn of(leases: Arc<Leases>) -> Self {
        let (end, mut ended) = oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = &mut ended => return,
                    () = tokio::time::sleep(TICK) => leases.extend_due().await,
                }
            }
        });
        Self { end, task }
    }

    /// Ends the task. No lease is extended afterwards, because that would hide released messages.
    async fn end(self) {
        drop(self.end);
        let _ = self.task.await;
    }
}

#[cfg(test)]
pub(super) mod tests;
