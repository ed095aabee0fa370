//! One round for one queue: it leases lanes, sends what is in them, and writes down what has become of it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::timeout::TimeoutConfig;
use futures_util::stream::{self, StreamExt};
use redrive::Backoff;
use redrive::internals::client::with_attempt_timeout;
use redrive::internals::{Deadline, Moment};
use redrive::{Producer, TraceContext};
use sqlx::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::sleep;

use super::OutboxDatabase;
use super::access::Access;
use super::mark::Mark;
use super::pauses::{Pauses, Standing};
use super::relay::{Settings, Stop};
use super::row::{Line, Row, lines};
use super::store::{Claim, MAX_BYTES, Wanted};

/// How many lanes of a queue a relay leases at a time: others find some too.
pub(super) const LANES: u32 = 64;

/// What the rounds of a relay have in common.
pub(super) struct Common<'a, DB: OutboxDatabase> {
    pub(super) access: Access<DB>,
    pub(super) settings: &'a Settings,
    pub(super) stop: &'a Stop,
    pub(super) pauses: &'a Pauses,
    pub(super) producers: Producers,
    pub(super) memory: Memory,
    /// Who it is to the database.
    pub(super) relay: Arc<str>,
}

pub(super) struct Round<'a, DB: OutboxDatabase> {
    common: &'a Common<'a, DB>,
    producer: Producer,
    claim: Claim,
    /// By the clock on the wall as well: another relay has the lanes after a suspend.
    claimed: Moment,
    /// How many rows were sent, or tried.
    begun: AtomicUsize,
}

/// What a round has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// There is nothing to send, or others have it.
    NoLane,
    /// Lanes, and nothing in them: what is there waits for other rows.
    NoRow,
    /// Rows, and it took so long to read them that their lease would not hold until they are sent.
    Slow,
    Some,
}

/// A round begins no more after so long: other messages of the queue are not to wait for a group that is long.
const ROUND: Duration = Duration::from_secs(2);

impl<'a, DB: OutboxDatabase> Round<'a, DB> {
    pub(super) async fn run(common: &'a Common<'a, DB>, queue_url: &Arc<str>) -> Result<Progress, Error> {
        let Common { access, settings, .. } = common;
        let mut memory = common.memory.room().await;
        let is_probe = common.pauses.standing(queue_url) != Standing::Open;
        let wanted = Wanted {
            queue_url: queue_url.clone(),
            lanes: if is_probe { 1 } else { LANES as usize },
            rows: if is_probe { 1 } else { settings.rows },
            lease: settings.lease,
            holds: settings.policy.when_parked.holds(),
            relay: common.relay.clone(),
        };
        // The database's clock begins later: by ours the lease is over first.
        let claimed = Moment::now();
        let Some(claim) = DB::claim(access, &wanted).await? else { return Ok(Progress::NoLane) };
        let (producer, begun) = (common.producers.of(queue_url), AtomicUsize::new(0));
        let round = Self { common, producer, claim, claimed, begun };
        let progress = round.send_all(&wanted, &mut memory).await;
        // Without this the lanes would be free when the lease is over.
        DB::release(access, &round.claim).await?;
        progress
    }

    async fn send_all(&self, wanted: &Wanted, memory: &mut Room) -> Result<Progress, Error> {
        let settings = self.common.settings;
        let rows = DB::read(&self.common.access, &self.claim, wanted).await?;
        if rows.is_empty() {
            return Ok(Progress::NoRow);
        }
        memory.shrink_to(rows.iter().map(|row| row.bytes).sum());
        // Not after half of the lease, so that what is begun has an end while it holds.
        let begin_until = Deadline::after(Moment::now(), ROUND).or_earlier(self.part_of_lease(0.5));
        let (mark, marks) = mpsc::unbounded_channel();
        let sending = async {
            // Dropped at the end, which ends the marks.
            let mark = mark;
            let lines = stream::iter(lines(rows));
            lines.for_each_concurrent(in_flight(settings.calls), |line| self.send(line, begin_until, &mark)).await;
        };
        tokio::join!(sending, self.write_down(marks));
        let is_slow = self.begun.load(Ordering::Relaxed) == 0
            && !self.common.stop.is_set()
            && self.common.pauses.standing(&self.claim.queue_url) != Standing::Paused;
        Ok(if is_slow { Progress::Slow } else { Progress::Some })
    }

    /// Sends rows one after the other, up to one that those behind it have to wait for.
    async fn send(&self, line: Line, begin_until: Deadline, mark: &mpsc::UnboundedSender<Mark>) {
        for mut row in line {
            if self.common.stop.is_set() || begin_until.is_over() || !self.common.pauses.admits(&row.queue_url) {
                return;
            }
            self.begun.fetch_add(1, Ordering::Relaxed);
            let Some(message) = row.message.take() else { continue };
            let attempt = match message {
                Ok(message) => self.producer.send(message).await,
                Err(error) => Err(error),
            };
            self.common.pauses.note(&row.queue_url, &attempt);
            let policy = &self.common.settings.policy;
            let what = policy.judge(&row, attempt);
            let goes_on = policy.goes_on_after(&what);
            log(&row, &what);
            // It is there as long as this is.
            let _ = mark.send(what);
            if !goes_on {
                return;
            }
        }
    }

    fn part_of_lease(&self, part: f64) -> Deadline {
        Deadline::after(self.claimed, self.common.settings.lease.mul_f64(part))
    }

    /// Writes marks as they come, so that little is sent again should this process die.
    async fn write_down(&self, mut marks: mpsc::UnboundedReceiver<Mark>) {
        let mut written = Vec::new();
        while marks.recv_many(&mut written, self.common.settings.rows).await > 0 {
            self.write(&written).await;
            written.clear();
        }
    }

    /// Tries for as long as the lease holds: what is not written down is sent again.
    async fn write(&self, marks: &[Mark]) {
        let mut failed = 0;
        let unwritten = loop {
            match DB::mark(&self.common.access, &self.claim, marks).await {
                Ok(true) => return,
                Ok(false) => break "its lease was over, and another has some of the lanes".to_owned(),
                Err(error) if self.part_of_lease(1.0).is_over() => break error.to_string(),
                Err(error) => {
                    failed += 1;
                    tracing::warn!(%error, "the outbox's database failed; what was sent is written down again");
                    sleep(mark_backoff().delay(failed)).await;
                }
            }
        };
        let sent = marks.iter().filter(|mark| mark.is_sent()).count();
        tracing::warn!(
            error = unwritten,
            sent,
            "a relay could not write down all that was sent; what it could not is sent again, under the same ids"
        );
    }
}

fn mark_backoff() -> Backoff {
    Backoff::exponential(Duration::from_millis(50)..Duration::from_secs(2))
}

/// Messages on their way at a time: as many as fill the calls, and as many more to fill the next.
const fn in_flight(calls: usize) -> usize {
    2 * 10 * calls
}

fn log(row: &Row, mark: &Mark) {
    let (row, queue_url, key) = (row.id, &*row.queue_url, row.order_key.as_deref());
    if let Some(error) = mark.parked_for() {
        tracing::error!(row, queue_url, key, error, "a message of the outbox is parked: SQS refuses it");
    } else if let Some(error) = mark.failed_for() {
        tracing::warn!(row, queue_url, error, "a message of the outbox is not sent, and tried again");
    }
}

/// The producers of a relay, one for each queue.
pub(super) struct Producers {
    client: Client,
    calls: usize,
    retry_for: Duration,
    has_send_id: bool,
    of: Mutex<HashMap<Arc<str>, Producer>>,
}

/// Queues that are known at a time. Who sends to more is no slower for it than a few new producers.
const MAX_QUEUES: usize = 100;

/// A call waits for less: the round has what fills it.
const LINGER: Duration = Duration::from_millis(2);

impl Producers {
    pub(super) fn new(client: Client, settings: &Settings) -> Self {
        // With the call under way, what is sent has an end before the lease has.
        let retry_for = settings.lease / 6;
        let own = client.config().timeout_config().and_then(TimeoutConfig::operation_attempt_timeout);
        let client = with_attempt_timeout(&client, own.map_or(retry_for, |own| own.min(retry_for)));
        let has_send_id = settings.has_send_id;
        Self { client, calls: settings.calls, retry_for, has_send_id, of: Mutex::default() }
    }

    fn of(&self, queue_url: &Arc<str>) -> Producer {
        // What is in it is whole at any time.
        let mut of = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        if of.len() >= MAX_QUEUES && !of.contains_key(queue_url) {
            // Rounds that are under way have clones.
            of.clear();
        }
        let make = || {
            let producer = Producer::builder(self.client.clone(), &**queue_url).linger(LINGER);
            let producer = producer.concurrency(self.calls).retry_for(self.retry_for);
            let producer = if self.has_send_id { producer } else { producer.without_send_id() };
            // A message has the trace of the transaction that has written it, or none.
            producer.trace_context(TraceContext::default).build()
        };
        of.entry(queue_url.clone()).or_insert_with(make).clone()
    }
}

/// What the messages of all rounds may take in memory. A round has room for as much as it may read, and keeps what it has read.
#[derive(Debug)]
pub(super) struct Memory(Arc<Semaphore>);

const KIB: usize = 1 << 10;
const MAX_BYTES_OF_ALL: usize = 64 << 20;

impl Memory {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(MAX_BYTES_OF_ALL / KIB)))
    }

    async fn room(&self) -> Room {
        let kib = u32::try_from(MAX_BYTES).unwrap_or(u32::MAX) / KIB as u32;
        // It is never closed, and has room for one.
        Room(self.0.clone().acquire_many_owned(kib).await.ok())
    }
}

struct Room(Option<OwnedSemaphorePermit>);

impl Room {
    fn shrink_to(&mut self, bytes: usize) {
        if let Some(room) = &mut self.0 {
            drop(room.split(room.num_permits().saturating_sub(bytes.div_ceil(KIB))));
        }
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_sqs::types::QueueAttributeName::FifoQueue;
    use redrive::Outgoing;
    use redrive::internals::set_wall_clock_ahead;
    use redrive_local::Sqs;
    use sqlx::sqlite::SqlitePoolOptions;

    use crate::{Outbox, Relay};

    #[tokio::test]
    async fn a_round_ends_when_a_suspend_has_taken_its_lease() {
        let sqs = Sqs::with_seed(1);
        let create = sqs.client().create_queue().queue_name("orders.fifo").attributes(FifoQueue, "true");
        let outbox = Outbox::new(create.send().await.unwrap().queue_url.unwrap());
        let pool = SqlitePoolOptions::new().max_connections(1).connect("sqlite::memory:").await.unwrap();
        Outbox::migrate(&pool).await.unwrap();
        let mut transaction = pool.begin().await.unwrap();
        for body in ["first", "second"] {
            outbox.enqueue(&mut transaction, Outgoing::text(body).group("a")).await.unwrap();
        }
        transaction.commit().await.unwrap();
        let suspended = async {
            while sqs.messages("orders.fifo").is_empty() {
                sqs.next_change().await;
            }
            set_wall_clock_ahead(std::time::Duration::from_secs(3_600));
            while Outbox::status(&pool).await.unwrap().pending > 0 {}
        };
        Relay::new(pool.clone(), sqs.client()).run_until(suspended).await.unwrap();
        let claims = sqlx::query_scalar::<_, i64>("select max(claims) from redrive_outbox_lane");
        assert_eq!(claims.fetch_one(&pool).await.unwrap(), 2, "the second message is sent under a lease of its own");
    }
}
