//! One pass for a queue: it leases partitions, sends their rows, and writes the results.

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
use super::circuit_breaker::{CircuitBreakers, CircuitState};
use super::row::{Line, Row, lines};
use super::row_result::RowResult;
use super::settings::Settings;
use super::stop::Stop;
use super::store::{Claim, MAX_BYTES, Wanted};

/// How many partitions of a queue a relay leases at a time. The rest is left for other relays.
pub(super) const PARTITIONS_PER_CLAIM: u32 = 64;

/// The parts that all passes of a relay share.
pub(super) struct RelayContext<'a, DB: OutboxDatabase> {
    pub(super) access: Access<DB>,
    pub(super) settings: &'a Settings,
    pub(super) stop: &'a Stop,
    pub(super) circuit_breakers: &'a CircuitBreakers,
    pub(super) producers: Producers,
    pub(super) memory: Memory,
    /// The relay's name in the database.
    pub(super) relay: Arc<str>,
}

pub(super) struct Pass<'a, DB: OutboxDatabase> {
    context: &'a RelayContext<'a, DB>,
    producer: Producer,
    claim: Claim,
    /// It also reads the wall clock, because another relay may claim the partitions during a suspend.
    claimed: Moment,
    /// How many rows were sent or tried.
    begun: AtomicUsize,
}

/// The result of a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// There is nothing to send, or other relays have it.
    NoPartition,
    /// The claimed partitions have no row to send, because their rows wait for other rows.
    NoRow,
    /// Reading the rows took so long that the lease would not last until they are sent.
    Slow,
    Some,
}

/// A pass starts no sends after this time, so that a long group does not delay the queue's other messages.
const PASS_TIME: Duration = Duration::from_secs(2);

impl<'a, DB: OutboxDatabase> Pass<'a, DB> {
    pub(super) async fn run(context: &'a RelayContext<'a, DB>, queue_url: &Arc<str>) -> Result<Progress, Error> {
        let RelayContext { access, settings, .. } = context;
        let mut memory = context.memory.room().await;
        let is_probe = context.circuit_breakers.state(queue_url) != CircuitState::Closed;
        let wanted = Wanted {
            queue_url: queue_url.clone(),
            partitions: if is_probe { 1 } else { PARTITIONS_PER_CLAIM as usize },
            rows: if is_probe { 1 } else { settings.rows },
            lease: settings.lease,
            holds: settings.policy.when_parked.holds(),
            relay: context.relay.clone(),
        };
        // Our clock starts before the database's, so the lease ends here first.
        let claimed = Moment::now();
        let Some(claim) = DB::claim(access, &wanted).await? else { return Ok(Progress::NoPartition) };
        let (producer, begun) = (context.producers.of(queue_url), AtomicUsize::new(0));
        let pass = Self { context, producer, claim, claimed, begun };
        let progress = pass.send_all(&wanted, &mut memory).await;
        // Without the release, the partitions stay claimed until the lease is over.
        DB::release(access, &pass.claim).await?;
        progress
    }

    async fn send_all(&self, wanted: &Wanted, memory: &mut Room) -> Result<Progress, Error> {
        let settings = self.context.settings;
        let rows = DB::read(&self.context.access, &self.claim, wanted).await?;
        if rows.is_empty() {
            return Ok(Progress::NoRow);
        }
        memory.shrink_to(rows.iter().map(|row| row.bytes).sum());
        // Sends start only in the first half of the lease, so that they end while it holds.
        let begin_until = Deadline::after(Moment::now(), PASS_TIME).or_earlier(self.part_of_lease(0.5));
        let (results, received) = mpsc::unbounded_channel();
        let sending = async {
            // Dropping the sender ends the results.
            let results = results;
            let lines = stream::iter(lines(rows));
            lines.for_each_concurrent(in_flight(settings.calls), |line| self.send(line, begin_until, &results)).await;
        };
        tokio::join!(sending, self.write_as_they_arrive(received));
        let is_slow = self.begun.load(Ordering::Relaxed) == 0
            && !self.context.stop.is_set()
            && self.context.circuit_breakers.state(&self.claim.queue_url) != CircuitState::Open;
        Ok(if is_slow { Progress::Slow } else { Progress::Some })
    }

    /// Sends rows one after the other, and stops at a row that holds the rows behind it.
    async fn send(&self, line: Line, begin_until: Deadline, results: &mpsc::UnboundedSender<RowResult>) {
        for mut row in line {
            if self.context.stop.is_set()
                || begin_until.is_over()
                || !self.context.circuit_breakers.may_send(&row.queue_url)
            {
                return;
            }
            self.begun.fetch_add(1, Ordering::Relaxed);
            let Some(message) = row.message.take() else { continue };
            let attempt = match message {
                Ok(message) => self.producer.send(message).await,
                Err(error) => Err(error),
            };
            self.context.circuit_breakers.record(&row.queue_url, &attempt);
            let policy = &self.context.settings.policy;
            let result = policy.judge(&row, attempt);
            let goes_on = policy.goes_on_after(&result);
            log(&row, &result);
            // The receiver lives as long as this future.
            let _ = results.send(result);
            if !goes_on {
                return;
            }
        }
    }

    fn part_of_lease(&self, part: f64) -> Deadline {
        Deadline::after(self.claimed, self.context.settings.lease.mul_f64(part))
    }

    /// Writes results as they arrive, so that few messages are sent again if this process dies.
    async fn write_as_they_arrive(&self, mut results: mpsc::UnboundedReceiver<RowResult>) {
        let mut written = Vec::new();
        while results.recv_many(&mut written, self.context.settings.rows).await > 0 {
            self.write(&written).await;
            written.clear();
        }
    }

    /// Tries while the lease holds. Messages without a written result are sent again.
    async fn write(&self, results: &[RowResult]) {
        let mut failed = 0;
        let unwritten = loop {
            match DB::write_results(&self.context.access, &self.claim, results).await {
                Ok(true) => return,
                Ok(false) => {
                    break "the lease was over, and another relay has claimed some of its partitions".to_owned();
                }
                Err(error) if self.part_of_lease(1.0).is_over() => break error.to_string(),
                Err(error) => {
                    failed += 1;
                    tracing::warn!(%error, "the outbox's database failed; the results of sent messages are written again");
                    sleep(write_backoff().delay(failed)).await;
                }
            }
        };
        let sent = results.iter().filter(|result| result.is_sent()).count();
        tracing::warn!(
            error = unwritten,
            sent,
            "a relay could not write the results of all sent messages; the rest is sent again under the same ids"
        );
    }
}

fn write_backoff() -> Backoff {
    Backoff::exponential(Duration::from_millis(50)..Duration::from_secs(2))
}

/// Returns how many messages are in flight at a time: enough to fill all calls, and to fill the next ones meanwhile.
const fn in_flight(calls: usize) -> usize {
    2 * 10 * calls
}

fn log(row: &Row, result: &RowResult) {
    let (row, queue_url, key) = (row.id, &*row.queue_url, row.order_key.as_deref());
    if let Some(error) = result.parked_for() {
        tracing::error!(row, queue_url, key, error, "SQS refuses a message of the outbox; the message is parked");
    } else if let Some(error) = result.failed_for() {
        tracing::warn!(row, queue_url, error, "a message of the outbox was not sent; it is tried again");
    }
}

/// The relay's producers, one for each queue.
pub(super) struct Producers {
    client: Client,
    calls: usize,
    retry_for: Duration,
    has_send_id: bool,
    of: Mutex<HashMap<Arc<str>, Producer>>,
}

/// How many producers are kept. A relay with more queues creates some producers again.
const MAX_QUEUES: usize = 100;

/// A producer waits less than by default, because the pass already has the messages that fill its calls.
const LINGER: Duration = Duration::from_millis(2);

impl Producers {
    pub(super) fn new(client: Client, settings: &Settings) -> Self {
        // A retry that starts at the last moment, and its call, still end before the lease.
        let retry_for = settings.lease / 6;
        let own = client.config().timeout_config().and_then(TimeoutConfig::operation_attempt_timeout);
        let client = with_attempt_timeout(&client, own.map_or(retry_for, |own| own.min(retry_for)));
        let has_send_id = settings.has_send_id;
        Self { client, calls: settings.calls, retry_for, has_send_id, of: Mutex::default() }
    }

    fn of(&self, queue_url: &Arc<str>) -> Producer {
        // Each change leaves the map consistent, so a poisoned lock does no harm.
        let mut of = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        if of.len() >= MAX_QUEUES && !of.contains_key(queue_url) {
            // Running passes have their own clones.
            of.clear();
        }
        let make = || {
            let producer = Producer::builder(self.client.clone(), &**queue_url).linger(LINGER);
            let producer = producer.concurrency(self.calls).retry_for(self.retry_for);
            let producer = if self.has_send_id { producer } else { producer.without_send_id() };
            // A message keeps the trace context of the transaction that wrote it, if there is one.
            producer.trace_context(TraceContext::default).build()
        };
        of.entry(queue_url.clone()).or_insert_with(make).clone()
    }
}

/// Limits the memory of all passes. A pass first reserves as much as it may read, then keeps only what it has read.
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
        // The semaphore is never closed, and the request is never larger than it.
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
    use std::sync::atomic::AtomicBool;

    use aws_sdk_sqs::config::interceptors::BeforeTransmitInterceptorContextRef;
    use aws_sdk_sqs::config::{ConfigBag, Intercept, RuntimeComponents};
    use aws_sdk_sqs::error::BoxError;
    use aws_sdk_sqs::types::QueueAttributeName::FifoQueue;
    use redrive::Outgoing;
    use redrive::internals::set_wall_clock_ahead;
    use redrive_local::Sqs;
    use sqlx::sqlite::SqlitePoolOptions;

    use super::*;
    use crate::{Outbox, Relay};

    /// Suspends the process for an hour while its first call is under way.
    #[derive(Debug, Default)]
    struct SuspendOnce(AtomicBool);

    impl Intercept for SuspendOnce {
        fn name(&self) -> &'static str {
            "SuspendOnce"
        }

        fn read_before_transmit(
            &self,
            _: &BeforeTransmitInterceptorContextRef<'_>,
            _: &RuntimeComponents,
            _: &mut ConfigBag,
        ) -> Result<(), BoxError> {
            if !self.0.swap(true, Ordering::Relaxed) {
                set_wall_clock_ahead(Duration::from_secs(3_600));
            }
            Ok(())
        }
    }

    #[tokio::test]
    async fn round_ends_when_a_suspend_outlasts_its_lease() {
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
        let all_sent = async { while Outbox::status(&pool).await.unwrap().pending > 0 {} };
        let config = sqs.client().config().to_builder().interceptor(SuspendOnce::default()).build();
        Relay::new(pool.clone(), Client::from_conf(config)).run_until(all_sent).await.unwrap();
        let claims = sqlx::query_scalar::<_, i64>("select max(claims) from redrive_outbox_lane");
        assert_eq!(claims.fetch_one(&pool).await.unwrap(), 2, "the second message is sent under another lease");
    }
}
