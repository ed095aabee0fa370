//! Who sends what is committed.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use aws_sdk_sqs::Client;
use redrive::Backoff;
use redrive::internals::random_id;
use sqlx::Pool;
use tokio::sync::watch;
use tokio::time::timeout;

use super::OutboxDatabase;
use super::access::{Access, DATABASE_TIMEOUT, SHORTEST_DATABASE_TIMEOUT};
use super::chores::Chores;
use super::error::OutboxError;
use super::hint::{Words, listen};
use super::mark::{Policy, WhenParked};
use super::pauses::Pauses;
use super::queues::Queues;
use super::round::{Common, Memory, Producers};
use super::store::LONGEST_LEASE;

/// Sends the messages of an outbox, whichever queues they are for.
///
/// As many relays as wanted may run, on as many machines: each leases a part of the messages for a short while, and a part whose relay
/// has died is another's when the lease is over.
///
/// ```no_run
/// use redrive_outbox::Relay;
///
/// # async fn example(pool: sqlx::PgPool) -> Result<(), redrive_outbox::OutboxError> {
/// let client = aws_sdk_sqs::Client::new(&aws_config::load_from_env().await);
/// let shutdown = async { tokio::signal::ctrl_c().await.unwrap_or(()) };
/// Relay::new(pool, client).run_until(shutdown).await
/// # }
/// ```
///
/// It uses up to four connections of the pool at a time (one with SQLite), another one for its chores, and with PostgreSQL one outside of
/// the pool, on which it hears of new messages. One connection in the pool is enough. On the queues it needs `sqs:SendMessage`. `redrive outbox relay` is this, as a process of its own.
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
    pub(super) has_send_id: bool,
    pub(super) poll_interval: Duration,
    pub(super) keep_sent: Duration,
    drain_timeout: Duration,
    database_timeout: Duration,
}

impl Settings {
    /// With a shorter lease there is less time to read rows, and to write down what became of them.
    fn database_limit(&self) -> Duration {
        self.database_timeout.min(self.lease / 3)
    }
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
            has_send_id: true,
            poll_interval: Duration::from_secs(1),
            keep_sent: Duration::from_secs(3_600),
            // Kubernetes and ECS kill what has not ended 30 s after the signal.
            drain_timeout: Duration::from_secs(25),
            database_timeout: DATABASE_TIMEOUT,
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

    /// Sets how many calls are under way at a time for each queue. The default is 10.
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

    /// Sends messages without the attribute `redrive.id`, for consumers that do not want it; by default messages have it. Without it a
    /// consumer of a standard queue cannot tell a copy of a message from another message. On FIFO queues the deduplication id stays.
    pub fn without_send_id(self) -> Self {
        self.set(|settings| settings.has_send_id = false)
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

    /// Sets how long the relay waits for the database: for a connection of the pool, and as long again for a transaction, with its statements
    /// and its commit. The default is 10 s, the minimum 100 ms, and the maximum a third of the lease.
    ///
    /// A connection that does not answer in time is closed, with a warning in the log, and the relay goes on with another one. Where a commit was not
    /// answered, messages may be sent again under the same ids. The chores of a relay (it counts messages and deletes old rows) have 60 s.
    pub fn database_timeout(self, timeout: Duration) -> Self {
        self.set(|settings| settings.database_timeout = timeout.max(SHORTEST_DATABASE_TIMEOUT))
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
        let stop = Stop::new();
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
        let access = Access::once(&self.pool, self.settings.database_limit());
        let newest = DB::MIGRATIONS.last().map_or(0, |migration| migration.version);
        if DB::version(&access).await? < newest { Err(OutboxError::no_tables()) } else { Ok(()) }
    }

    /// Serves one queue beside the other, for as long as nobody says stop.
    async fn work(&self, stop: &Stop, when_idle: WhenIdle) {
        let settings = &self.settings;
        let pauses = Pauses::new(settings.policy.backoff.clone());
        let common = Common {
            access: Access::new(&self.pool, settings.database_limit(), DB::CONNECTIONS),
            settings,
            stop,
            pauses: &pauses,
            producers: Producers::new(self.client.clone(), settings),
            memory: Memory::new(),
            relay: random_id().into(),
        };
        let words = Words::default();
        let mut chores = Chores::new(&self.pool);
        match when_idle {
            WhenIdle::End => {
                tokio::join!(Queues::new(&common, &words, when_idle).serve(), chores.do_all(settings, stop));
            }
            WhenIdle::Wait => {
                let listening = async {
                    match DB::LISTENS {
                        true => listen(&common.access, &words).await,
                        false => std::future::pending().await,
                    }
                };
                tokio::select! {
                    () = Queues::new(&common, &words, when_idle).serve() => {}
                    () = listening => {}
                    () = chores.go_on(settings, stop) => {}
                }
            }
        }
    }

    fn set(mut self, set: impl FnOnce(&mut Settings)) -> Self {
        set(&mut self.settings);
        self
    }
}

/// What a relay does that has nothing to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WhenIdle {
    Wait,
    End,
}

/// That no more is to be begun.
#[derive(Debug)]
pub(super) struct Stop(watch::Sender<bool>);

impl Stop {
    fn new() -> Self {
        Self(watch::Sender::new(false))
    }

    fn set(&self) {
        self.0.send_replace(true);
    }

    pub(super) fn is_set(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until no more is to be begun.
    pub(super) async fn is_said(&self) {
        // The sender is here.
        let _ = self.0.subscribe().wait_for(|is_set| *is_set).await;
    }

    /// Waits for that, but no longer than there is reason to go on.
    pub(super) async fn unless_set(&self, wait: impl Future<Output = ()>) {
        tokio::select! {
            () = wait => {}
            () = self.is_said() => {}
        }
    }
}
