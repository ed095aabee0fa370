//! Holds all queues of an account in one region.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::attempt::Attempts;
use super::deduplication::Deduplication;
use super::error::{Code, SqsError};
use super::message::{Message, MessageId};
use super::move_task::MoveTasks;
use super::settings::Settings;
use super::store::Store;
use super::time::Time;
use crate::partition::partition;

/// The owner of all queues.
pub(super) const ACCOUNT_ID: &str = "000000000000";

/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_PurgeQueue.html>
const SETTLING_TIME: Duration = Duration::from_secs(60);

/// SQS as a state machine. It has no clock: every call passes the time. It has no randomness: ids come from the seed.
#[derive(Debug)]
pub struct Account {
    region: String,
    /// The queues by name.
    pub(super) queues: BTreeMap<String, Queue>,
    /// The names and deletion times of deleted queues. SQS refuses such a name for a while.
    pub(super) deleted: BTreeMap<String, Time>,
    pub(super) tasks: MoveTasks,
    pub(super) rng: fastrand::Rng,
    next_queue: u64,
    /// The delay before a queue can be purged again, or its name be used again after a deletion.
    pub(super) settling_time: Duration,
    changed: BTreeSet<QueueId>,
    happenings: Vec<Happening>,
}

/// Identifies a queue. A new queue has a new id, even under an old name.
pub type QueueId = u64;

#[derive(Debug)]
pub(super) struct Queue {
    pub(super) id: QueueId,
    pub(super) name: String,
    pub(super) arn: Arc<str>,
    pub(super) settings: Settings,
    pub(super) tags: BTreeMap<String, String>,
    pub(super) created: Time,
    pub(super) modified: Time,
    pub(super) purged: Option<Time>,
    pub(super) store: Store,
    pub(super) deduplication: Deduplication,
    pub(super) attempts: Attempts,
    pub(super) next_sequence: u64,
    /// The number of receives of all messages.
    pub(super) handed_out: u64,
}

/// An event that no answer to a call reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happening {
    /// A RedrivePolicy moved a message.
    DeadLettered { from: String, to: String, message_id: String, receive_count: u32 },
    /// A message reached the retention period.
    Expired { from: String, message_id: String, receive_count: u32 },
}

impl Account {
    pub fn new(region: impl Into<String>, seed: u64) -> Self {
        Self {
            region: region.into(),
            queues: BTreeMap::new(),
            deleted: BTreeMap::new(),
            tasks: MoveTasks::default(),
            rng: fastrand::Rng::with_seed(seed),
            next_queue: 0,
            settling_time: SETTLING_TIME,
            changed: BTreeSet::new(),
            happenings: Vec::new(),
        }
    }

    /// Allows purging a queue again, and creating a deleted queue again, without a delay.
    pub fn settle_at_once(&mut self) {
        self.settling_time = Duration::ZERO;
    }

    pub(super) fn arn_of(&self, name: &str) -> String {
        format!("arn:{}:sqs:{}:{ACCOUNT_ID}:{name}", partition(&self.region), self.region)
    }

    pub(super) fn add_queue(&mut self, name: String, settings: Settings, now: Time) -> &mut Queue {
        let id = self.next_queue;
        self.next_queue += 1;
        let queue = Queue {
            id,
            arn: self.arn_of(&name).into(),
            name: name.clone(),
            tags: BTreeMap::new(),
            created: now,
            modified: now,
            purged: None,
            store: Store::new(settings.fifo.is_some()),
            deduplication: Deduplication::default(),
            attempts: Attempts::default(),
            next_sequence: 0,
            handed_out: 0,
            settings,
        };
        self.queues.entry(name).insert_entry(queue).into_mut()
    }

    /// Returns the queue of a URL, advanced to `now`.
    pub(super) fn queue(&mut self, url: &str, now: Time) -> Result<&mut Queue, SqsError> {
        let name = name_in(url)?;
        self.advance(now);
        self.queues.get_mut(name).ok_or_else(no_such_queue)
    }

    pub(super) fn queue_by_arn(&mut self, arn: &str) -> Option<&mut Queue> {
        self.queues.values_mut().find(|queue| &*queue.arn == arn)
    }

    /// Advances all queues to `now`.
    pub fn advance(&mut self, now: Time) {
        for queue in self.queues.values_mut() {
            let expired = queue.store.advance(now, queue.settings.retention);
            self.happenings.extend(expired.into_iter().map(|message| Happening::Expired {
                from: queue.name.clone(),
                message_id: message.id.to_string(),
                receive_count: message.receive_count,
            }));
        }
        self.advance_tasks(now);
    }

    /// Returns the time of the next change: a message becomes visible or is moved.
    pub fn next_due(&self) -> Option<Time> {
        let queues = self.queues.values().filter_map(|queue| queue.store.next_due());
        queues.chain(self.tasks.next_due()).min()
    }

    /// Returns whether a queue has no visible, in-flight or delayed messages.
    pub fn is_empty(&mut self, name: &str, now: Time) -> bool {
        self.advance(now);
        self.queues.get(name).is_none_or(|queue| queue.store.messages().next().is_none())
    }

    /// Returns the number of receives of a queue so far, and whether it has a receivable message.
    pub fn activity(&mut self, name: &str, now: Time) -> (u64, bool) {
        self.advance(now);
        let queue = self.queues.get(name);
        queue.map_or((0, false), |queue| (queue.handed_out, queue.store.has_receivable()))
    }

    /// Returns whether a message move task is running.
    pub fn is_moving(&self) -> bool {
        self.tasks.is_any_running()
    }

    /// Returns the messages of a queue, oldest first.
    pub fn messages(&self, name: &str) -> impl Iterator<Item = &Message> {
        self.queues.get(name).into_iter().flat_map(|queue| queue.store.messages())
    }

    pub fn unique_id(&mut self) -> MessageId {
        MessageId::random(&mut self.rng)
    }

    /// Puts messages that one queue removed into its dead-letter queue. On a FIFO queue the retention period restarts.
    /// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/setting-up-dead-letter-queue-retention.html>
    pub(super) fn dead_letter(&mut self, from: &str, to: &str, messages: Vec<Message>, now: Time) {
        let Some(source) = self.queues.get(from).map(|queue| queue.arn.clone()) else { return };
        for mut message in messages {
            let Some(target) = self.queue_by_arn(to) else { return };
            let happening = Happening::DeadLettered {
                from: from.to_owned(),
                to: target.name.clone(),
                message_id: message.id.to_string(),
                receive_count: message.receive_count,
            };
            message.dead_letter_source = Some(source.clone());
            message.received_elsewhere = message.receive_count;
            if target.is_fifo() {
                message.sent = now;
            }
            target.adopt(message, now);
            let id = target.id;
            self.changed.insert(id);
            self.happenings.push(happening);
        }
    }

    /// Marks a queue as changed, for the receives that wait at it.
    pub(super) fn has_changed(&mut self, queue: QueueId) {
        self.changed.insert(queue);
    }

    /// Returns the queues that changed since the last call.
    pub fn take_changed(&mut self) -> BTreeSet<QueueId> {
        std::mem::take(&mut self.changed)
    }

    /// Returns the events since the last call.
    pub fn take_happenings(&mut self) -> Vec<Happening> {
        std::mem::take(&mut self.happenings)
    }
}

impl Queue {
    pub(super) fn is_fifo(&self) -> bool {
        self.settings.fifo.is_some()
    }

    /// Adds a message from another queue.
    pub(super) fn adopt(&mut self, mut message: Message, now: Time) {
        let sequence_number = self.next_sequence();
        if let Some(fifo) = &mut message.fifo {
            // With its own deduplication id the message could be dropped as a duplicate in this queue.
            fifo.deduplication_id = message.id.to_string().into();
            fifo.sequence_number = sequence_number;
        }
        self.store.insert(message, now, self.settings.delay);
    }
}

pub(super) fn no_such_queue() -> SqsError {
    SqsError::new(Code::QueueDoesNotExist, "The specified queue does not exist.")
}

/// Returns the queue's name: the last part of a URL, or a text without slashes. The rest of the URL is ignored, because
/// the same queue has other URLs over a socket and in a container.
fn name_in(url: &str) -> Result<&str, SqsError> {
    if url.is_empty() {
        return Err(SqsError::missing("QueueUrl"));
    }
    match url.rsplit_once('/') {
        None => Ok(url),
        Some((_, name)) if !name.is_empty() => Ok(name),
        Some(_) => {
            Err(SqsError::new(Code::InvalidAddress, format!("The address {url} is not valid for this endpoint.")))
        }
    }
}
