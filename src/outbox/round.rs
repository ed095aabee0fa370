//! One round of a relay: it leases lanes, sends what is in them, and writes down what has become of it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::timeout::TimeoutConfig;
use futures_util::stream::{self, StreamExt};
use sqlx::{Error, Pool};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::OutboxDatabase;
use super::mark::Mark;
use super::pauses::Pauses;
use super::relay::{Settings, Stop};
use super::row::{Line, Row, lines};
use super::store::{Claim, Wanted};
use crate::producer::{Producer, SendError, TraceContext};
use crate::sqs::Backoff;
use crate::sqs::client::with_attempt_timeout;

/// How many lanes a relay leases at a time: others find some too.
pub(super) const LANES: u32 = 64;

pub(super) struct Round<'a, DB: OutboxDatabase> {
    pool: &'a Pool<DB>,
    settings: &'a Settings,
    stop: &'a Stop,
    producers: &'a mut Producers,
    pauses: &'a Pauses,
    claim: Claim,
    lease_until: Instant,
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

/// A round begins no more after so long: others' messages are not to wait for a group that is long.
const ROUND: Duration = Duration::from_secs(2);

impl<'a, DB: OutboxDatabase> Round<'a, DB> {
    pub(super) async fn run(
        pool: &'a Pool<DB>,
        settings: &'a Settings,
        stop: &'a Stop,
        producers: &'a mut Producers,
        pauses: &'a Pauses,
    ) -> Result<Progress, Error> {
        let holds = settings.policy.when_parked.holds();
        let wanted = Wanted { rows: settings.rows, holds, not_for: pauses.list() };
        // The database's clock begins later: by ours the lease is over first.
        let lease_until = Instant::now() + settings.lease;
        let claim = DB::claim(pool, LANES as usize, settings.lease, &wanted).await?;
        let Some(claim) = claim else { return Ok(Progress::NoLane) };
        let begun = AtomicUsize::new(0);
        let round = Self { pool, settings, stop, producers, pauses, claim, lease_until, begun };
        let progress = round.send_all(&wanted).await;
        // Without this the lanes would be free when the lease is over.
        DB::release(pool, claim).await?;
        progress
    }

    async fn send_all(self, wanted: &Wanted) -> Result<Progress, Error> {
        let rows = DB::read(self.pool, self.claim, wanted).await?;
        if rows.is_empty() {
            return Ok(Progress::NoRow);
        }
        // Not after half of the lease, so that what is begun has an end while it holds.
        let begin_until = (Instant::now() + ROUND).min(self.lease_until - self.settings.lease / 2);
        self.producers.make_those_of(&rows);
        let (mark, marks) = mpsc::unbounded_channel();
        let sending = async {
            // Dropped at the end, which ends the marks.
            let mark = mark;
            let lines = stream::iter(lines(rows));
            lines.for_each_concurrent(in_flight(self.settings.calls), |line| self.send(line, begin_until, &mark)).await;
        };
        tokio::join!(sending, self.write_down(marks));
        let is_slow = self.begun.into_inner() == 0 && !self.stop.is_set();
        Ok(if is_slow { Progress::Slow } else { Progress::Some })
    }

    /// Sends rows one after the other, up to one that those behind it have to wait for.
    async fn send(&self, line: Line, begin_until: Instant, mark: &mpsc::UnboundedSender<Mark>) {
        for mut row in line {
            if self.stop.is_set() || Instant::now() >= begin_until || !self.pauses.admits(&row.queue_url) {
                return;
            }
            self.begun.fetch_add(1, Ordering::Relaxed);
            let message = std::mem::replace(&mut row.message, Err(SendError::closed()));
            let attempt = match (message, self.producers.get(&row.queue_url)) {
                (Ok(message), Some(producer)) => producer.send(message).await,
                (Err(error), _) => Err(error),
                (Ok(_), None) => return,
            };
            self.pauses.note(&row.queue_url, &attempt);
            let what = self.settings.policy.judge(&row, attempt);
            let goes_on = self.settings.policy.goes_on_after(&what);
            log(&row, &what);
            // It is there as long as this is.
            let _ = mark.send(what);
            if !goes_on {
                return;
            }
        }
    }

    /// Writes marks as they come, so that little is sent again should this process die.
    async fn write_down(&self, mut marks: mpsc::UnboundedReceiver<Mark>) {
        let mut written = Vec::new();
        while marks.recv_many(&mut written, self.settings.rows).await > 0 {
            self.write(&written).await;
            written.clear();
        }
    }

    /// Tries for as long as the lease holds: what is not written down is sent again.
    async fn write(&self, marks: &[Mark]) {
        let mut failed = 0;
        let unwritten = loop {
            match DB::mark(self.pool, self.claim, marks).await {
                Ok(true) => return,
                Ok(false) => break "its lease was over, and another has some of the lanes".to_owned(),
                Err(error) if Instant::now() >= self.lease_until => break error.to_string(),
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

/// A producer a queue.
pub(super) struct Producers {
    client: Client,
    calls: usize,
    retry_for: Duration,
    of: HashMap<String, Producer>,
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
        Self { client, calls: settings.calls, retry_for, of: HashMap::new() }
    }

    fn make_those_of(&mut self, rows: &[Row]) {
        if self.of.len() >= MAX_QUEUES {
            self.of.clear();
        }
        for row in rows {
            if !self.of.contains_key(&row.queue_url) {
                let producer = Producer::builder(self.client.clone(), &row.queue_url).linger(LINGER);
                let producer = producer.concurrency(self.calls).retry_for(self.retry_for);
                // A message has the trace of the transaction that has written it, or none.
                let producer = producer.trace_context(TraceContext::default).build();
                self.of.insert(row.queue_url.clone(), producer);
            }
        }
    }

    fn get(&self, queue_url: &str) -> Option<&Producer> {
        self.of.get(queue_url)
    }
}
