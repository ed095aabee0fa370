//! One round of a relay: it leases lanes, sends what is in them, and writes down what has become of it.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_sqs::Client;
use futures_util::stream::{self, StreamExt};
use sqlx::{Error, Pool};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::OutboxDatabase;
use super::mark::Mark;
use super::relay::{Settings, Stop};
use super::row::{Line, Row, lines};
use super::store::Claim;
use crate::producer::{Producer, TraceContext};
use crate::sqs::Backoff;
use crate::sqs::client::impatient;

/// How many lanes a relay leases at a time: others find some too.
pub(super) const LANES: u32 = 64;

pub(super) struct Round<'a, DB: OutboxDatabase> {
    pool: &'a Pool<DB>,
    settings: &'a Settings,
    stop: &'a Stop,
    producers: &'a mut Producers,
    claim: Claim,
    /// Nothing is begun after this, so that it has an end while the lease holds.
    begin_until: Instant,
    lease_until: Instant,
}

impl<'a, DB: OutboxDatabase> Round<'a, DB> {
    /// Says how many rows there were to send. `None` where no lane had any.
    pub(super) async fn run(
        pool: &'a Pool<DB>,
        settings: &'a Settings,
        stop: &'a Stop,
        producers: &'a mut Producers,
    ) -> Result<Option<usize>, Error> {
        // The database's clock begins later: by ours the lease is over first.
        let now = Instant::now();
        let Some(claim) = DB::claim(pool, LANES as usize, settings.lease).await? else { return Ok(None) };
        let (begin_until, lease_until) = (now + settings.lease / 2, now + settings.lease);
        let round = Self { pool, settings, stop, producers, claim, begin_until, lease_until };
        let rows = round.send_all().await;
        // Without this the lanes would be free when the lease is over.
        DB::release(pool, claim).await?;
        rows.map(Some)
    }

    async fn send_all(self) -> Result<usize, Error> {
        let holds = self.settings.policy.when_parked == super::WhenParked::Hold;
        let rows = DB::read(self.pool, self.claim, self.settings.rows, holds).await?;
        let count = rows.len();
        self.producers.make_those_of(&rows);
        let (mark, marks) = mpsc::unbounded_channel();
        let sending = async {
            // Dropped at the end, which ends the marks.
            let mark = mark;
            let lines = stream::iter(lines(rows));
            lines.for_each_concurrent(in_flight(self.settings.calls), |line| self.send(line, &mark)).await;
        };
        tokio::join!(sending, self.write_down(marks));
        Ok(count)
    }

    /// Sends rows one after the other, up to one that those behind it have to wait for.
    async fn send(&self, line: Line, mark: &mpsc::UnboundedSender<Mark>) {
        for mut row in line {
            if self.stop.is_set() || Instant::now() >= self.begin_until {
                return;
            }
            let message = std::mem::replace(&mut row.message, Err(crate::producer::SendError::closed()));
            let attempt = match (message, self.producers.get(&row.queue_url)) {
                (Ok(message), Some(producer)) => producer.send(message).await,
                (Err(error), _) => Err(error),
                (Ok(_), None) => return,
            };
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
                Ok(false) => break "its lease is over".to_owned(),
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
            "a relay could not write down what was sent; it is sent again, under the same ids"
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
        Self { client: impatient(&client, retry_for), calls: settings.calls, retry_for, of: HashMap::new() }
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
