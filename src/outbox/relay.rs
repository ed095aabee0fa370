//! Who sends what is committed.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aws_sdk_sqs::Client;
use sqlx::Pool;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use super::error::OutboxError;
use super::hint::Hints;
use super::mark::{Policy, WhenParked};
use super::pauses::Pauses;
use super::round::{Producers, Progress, Round};
use super::store::LONGEST_LEASE;
use super::{OutboxDatabase, row};
use crate::sqs::Backoff;

/// Sends the messages of an outbox, whichever queues they are for.
///
/// As many relays as wanted may run, on as many machines: each leases a part of the messages for a short while, and a part whose relay
/// has died is another's when the lease is over.
///
/// ```no_run
/// use redrive::Relay;
///
/// # async fn example(pool: sqlx::PgPool) -> Result<(), redrive::OutboxError> {
/// let client = aws_sdk_sqs::Client::new(&aws_config::load_from_env().await);
/// let shutdown = async { tokio::signal::ctrl_c().await.unwrap_or(()) };
/// Relay::new(pool, client).run_until(shutdown).await
/// # }
/// ```
///
/// It needs a connection of the pool, and with PostgreSQL one more beside the pool's, on which it hears of new messages. On the queues
/// it needs `sqs:SendMessage`. `redrive outbox relay` is this, as a process of its own.
#[must_use = "a relay does nothing until it runs"]
#[derive(Debug)]
pub struct Relay<DB: OutboxDatabase> {
    pool: Pool<DB>,
    client: Client,
    settings: Settings,
}

#[derive(Debug)]
pub(super) struct Settings {
    pub(super) lease: Duration,
    pub(super) rows: usize,
    pub(super) calls: usize,
    pub(super) policy: Policy,
    poll_interval: Duration,
    keep_sent: Duration,
    drain_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(60),
            rows: 1_000,
            calls: 10,
            policy: Policy {
                backoff: Backoff::exponential(Duration::from_secs(1)..Duration::from_secs(60)),
                park_after: 5,
                when_parked: WhenParked::default(),
            },
            poll_interval: Duration::from_secs(1),
            keep_sent: Duration::from_secs(3_600),
            // Kubernetes and ECS kill what has not ended 30 s after the signal.
            drain_timeout: Duration::from_secs(25),
        }
    }
}

/// An attempt has a sixth of it, and in that a connection is made, by TLS and to another region where need be.
const SHORTEST_LEASE: Duration = Duration::from_secs(10);

impl<DB: OutboxDatabase> Relay<DB> {
    /// A relay of that database's outbox, with the usual settings.
    pub fn new(pool: Pool<DB>, client: Client) -> Self {
        Self { pool, client, settings: Settings::default() }
    }

    /// How many calls are under way at a time, 10 by default.
    pub fn concurrency(self, calls: usize) -> Self {
        self.set(|settings| settings.calls = calls.max(1))
    }

    /// For how long a part of the messages is this relay's, from 10 s to 2 minutes; 60 s by default. So long the messages wait of a relay
    /// that has died. A call to SQS that is not answered within a sixth of it is made again.
    pub fn lease(self, lease: Duration) -> Self {
        self.set(|settings| settings.lease = lease.clamp(SHORTEST_LEASE, LONGEST_LEASE))
    }

    /// How often messages are looked for that nobody told of, every second by default.
    pub fn poll_interval(self, interval: Duration) -> Self {
        self.set(|settings| settings.poll_interval = interval)
    }

    /// How long a message that fails waits for its next attempt; up to 1 s at first, and up to 60 s in the end by default.
    pub fn backoff(self, backoff: Backoff) -> Self {
        self.set(|settings| settings.policy.backoff = backoff)
    }

    /// How often SQS may refuse a message before it is parked, 5 times by default. What is no fault of the message is not counted:
    /// throttles, a network that is down, a queue that is not there, a permission that is missing.
    pub fn park_after(self, refusals: u32) -> Self {
        self.set(|settings| settings.policy.park_after = refusals.max(1))
    }

    /// What happens to the messages of a FIFO group behind a parked one; they wait by default.
    pub fn when_parked(self, when_parked: WhenParked) -> Self {
        self.set(|settings| settings.policy.when_parked = when_parked)
    }

    /// How long rows of sent messages are kept, an hour by default.
    pub fn keep_sent(self, time: Duration) -> Self {
        self.set(|settings| settings.keep_sent = time)
    }

    /// How long what is being sent has after a shutdown, 25 s by default. What is not known to be sent by then is sent again by another
    /// relay.
    pub fn drain_timeout(self, timeout: Duration) -> Self {
        self.set(|settings| settings.drain_timeout = timeout)
    }

    /// Sends what is there and what comes, until that future is ready; then finishes what it has begun.
    ///
    /// # Errors
    ///
    /// Where it cannot begin: the database fails, or has no tables for an outbox. What fails later is logged, and tried again.
    pub async fn run_until(self, shutdown: impl Future<Output = ()>) -> Result<(), OutboxError> {
        self.run(shutdown, WhenIdle::Wait).await
    }

    /// Sends what is there, and ends once there is nothing more to send now, or when that future is ready; then it finishes what it has
    /// begun. For whoever is called now and then, as a function on a schedule is.
    ///
    /// What waits for its next try is left for the next time.
    ///
    /// # Errors
    ///
    /// As for [`run_until`](Self::run_until).
    pub async fn drain_until(self, shutdown: impl Future<Output = ()>) -> Result<(), OutboxError> {
        self.run(shutdown, WhenIdle::End).await
    }

    async fn run(self, shutdown: impl Future<Output = ()>, when_idle: WhenIdle) -> Result<(), OutboxError> {
        self.check_tables().await?;
        let stop = Stop::default();
        let mut work = pin!(self.work(&stop, when_idle));
        tokio::select! {
            () = &mut work => return Ok(()),
            () = shutdown => stop.set(),
        }
        if timeout(self.settings.drain_timeout, work).await.is_err() {
            tracing::warn!(
                "not all that was being sent is known to have arrived; it is sent again when its lease is over"
            );
        }
        Ok(())
    }

    async fn check_tables(&self) -> Result<(), OutboxError> {
        let newest = DB::MIGRATIONS.last().map_or(0, |migration| migration.version);
        if DB::version(&self.pool).await? < newest { Err(OutboxError::no_tables()) } else { Ok(()) }
    }

    /// One round after the other, for as long as nobody says stop.
    async fn work(&self, stop: &Stop, when_idle: WhenIdle) {
        let mut producers = Producers::new(self.client.clone(), &self.settings);
        let pauses = Pauses::new(self.settings.policy.backoff.clone());
        let (mut hints, mut chores, mut looking) = (Hints::none(), Chores::new(), Looking::default());
        while !stop.is_set() {
            let progress = Round::run(&self.pool, &self.settings, stop, &mut producers, &pauses).await;
            match looking.after(progress) {
                Next::Round => hints.drain().await,
                Next::Word if when_idle == WhenIdle::End => stop.set(),
                // What came before it listened is looked for.
                Next::Word if hints.begin_to_listen(&self.pool).await => {}
                Next::Word => stop.unless_set(hints.word_within(self.settings.poll_interval)).await,
                Next::Wait(delay) => stop.unless_set(sleep(delay)).await,
            }
            chores.do_those_due(&self.pool, &self.settings).await;
        }
    }

    fn set(mut self, set: impl FnOnce(&mut Settings)) -> Self {
        set(&mut self.settings);
        self
    }
}

/// What a relay does that has nothing to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WhenIdle {
    Wait,
    End,
}

/// What comes after a round.
enum Next {
    Round,
    /// The next one is when there is a word, or it is time to look.
    Word,
    Wait(Duration),
}

#[derive(Default)]
struct Looking {
    /// Rounds in a row that have found lanes, and nothing to send in them. Others may have their turn after them.
    in_vain: u32,
    failed: u32,
}

impl Looking {
    fn after(&mut self, progress: Result<Progress, sqlx::Error>) -> Next {
        let in_vain = std::mem::take(&mut self.in_vain) + 1;
        let failed = std::mem::take(&mut self.failed) + 1;
        match progress {
            Ok(Progress::Some) => Next::Round,
            Ok(Progress::NoRow) if in_vain < row::LANES.div_ceil(super::round::LANES) => {
                self.in_vain = in_vain;
                Next::Round
            }
            Ok(Progress::NoRow | Progress::NoLane) => Next::Word,
            Ok(Progress::Slow) => {
                tracing::warn!("to read the outbox took longer than half of the lease; it wants a longer one");
                self.wait(failed)
            }
            Err(error) => {
                tracing::warn!(%error, "the outbox's database failed; the relay goes on");
                self.wait(failed)
            }
        }
    }

    fn wait(&mut self, failed: u32) -> Next {
        self.failed = failed;
        Next::Wait(Backoff::exponential(Duration::from_millis(100)..Duration::from_secs(10)).delay(failed))
    }
}

/// That no more is to be begun.
#[derive(Debug, Default)]
pub(super) struct Stop {
    is_set: AtomicBool,
    set: Notify,
}

impl Stop {
    fn set(&self) {
        self.is_set.store(true, Ordering::SeqCst);
        self.set.notify_one();
    }

    pub(super) fn is_set(&self) -> bool {
        self.is_set.load(Ordering::SeqCst)
    }

    /// Waits for that, but no longer than there is reason to go on.
    async fn unless_set(&self, wait: impl Future<Output = ()>) {
        tokio::select! {
            () = wait => {}
            () = self.set.notified() => {}
        }
    }
}

/// Rows that are deleted at a time. A statement that deletes a million locks them all.
const CLEANED: usize = 1_000;
const CLEAN_EVERY: Duration = Duration::from_secs(10);
/// These go through all rows that wait, or are held.
const TIDY_EVERY: Duration = Duration::from_secs(60);

/// What is to be done now and then.
struct Chores {
    clean_at: Instant,
    tidy_at: Instant,
}

impl Chores {
    fn new() -> Self {
        let now = Instant::now();
        Self { clean_at: now, tidy_at: now }
    }

    async fn do_those_due<DB: OutboxDatabase>(&mut self, pool: &Pool<DB>, settings: &Settings) {
        let now = Instant::now();
        if self.clean_at <= now {
            let cleaned = DB::clean(pool, settings.keep_sent, CLEANED).await;
            // Where there was no end to them, it goes on after the next round.
            let is_all = cleaned.as_ref().map_or(true, |&rows| rows < CLEANED as u64);
            self.clean_at = if is_all { now + CLEAN_EVERY } else { now };
            log_failure(cleaned.map(drop));
        }
        if self.tidy_at <= now {
            self.tidy_at = now + TIDY_EVERY;
            log_failure(DB::release_held(pool, settings.policy.when_parked.holds()).await);
            log_failure(DB::status(pool).await.map(|status| report(&status)));
        }
    }
}

fn report(status: &super::OutboxStatus) {
    let super::OutboxStatus { pending, held, parked, lag } = *status;
    let lag_s = lag.unwrap_or_default().as_secs_f64();
    if parked > 0 {
        tracing::warn!(
            pending,
            held,
            parked,
            lag_s,
            "the outbox has parked messages; `redrive outbox parked` shows them"
        );
    } else {
        tracing::info!(pending, held, parked, lag_s, "the outbox");
    }
}

fn log_failure(result: Result<(), sqlx::Error>) {
    if let Err(error) = result {
        tracing::warn!(%error, "the outbox's database failed; the relay goes on");
    }
}
