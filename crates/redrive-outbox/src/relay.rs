//! The relay, which sends committed messages.

use std::future::Future;
use std::time::Duration;

use aws_sdk_sqs::Client;
use redrive::Backoff;
use redrive::internals::random_id;
use sqlx::Pool;
use tokio::time::timeout;

use super::OutboxDatabase;
use super::access::{Access, SHORTEST_DATABASE_TIMEOUT};
use super::chores::Chores;
use super::circuit_breaker::CircuitBreakers;
use super::error::OutboxError;
use super::notify::{Notifications, listen};
use super::pass::{Memory, Producers, RelayContext};
use super::queues::Queues;
use super::row_result::WhenParked;
use super::settings::{Settings, WhenIdle};
use super::stop::Stop;
use super::store::LONGEST_LEASE;

/// Sends the messages of an outbox to all their queues.
///
/// Any number of relays may run, on any number of machines. Each leases a part of the messages for a short time. If a
/// relay dies, another relay takes its part when the lease is over.
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
/// A relay uses up to four connections of the pool at a time (one with SQLite), and one more for its chores. With
/// PostgreSQL it also listens for new messages on one connection outside the pool. A pool of one connection is enough.
/// A relay needs `sqs:SendMessage` on its queues. `redrive outbox relay` runs it as a process of its own.
#[must_use = "a relay does nothing until it runs"]
#[derive(Debug)]
pub struct Relay<DB: OutboxDatabase> {
    pool: Pool<DB>,
    client: Client,
    settings: Settings,
}

/// An attempt gets a sixth of the lease, which has to suffice for a TLS connection to another region.
const SHORTEST_LEASE: Duration = Duration::from_secs(10);

impl<DB: OutboxDatabase> Relay<DB> {
    /// Creates a relay for that database's outbox, with default settings.
    pub fn new(pool: Pool<DB>, client: Client) -> Self {
        Self { pool, client, settings: Settings::default() }
    }

    /// Sets how many calls are under way at a time for each queue. The default is 10.
    pub fn concurrency(self, calls: usize) -> Self {
        self.set(|settings| settings.calls = calls.max(1))
    }

    /// Sets how long a relay leases a part of the messages, from 10 s to 2 minutes. The default is 60 s. If a relay
    /// dies, its messages wait this long. A call to SQS that is not answered within a sixth of the lease is repeated.
    pub fn lease(self, lease: Duration) -> Self {
        self.set(|settings| settings.lease = lease.clamp(SHORTEST_LEASE, LONGEST_LEASE))
    }

    /// Sets how often the relay looks for messages without a notification. The default is 1 s.
    pub fn poll_interval(self, interval: Duration) -> Self {
        self.set(|settings| settings.poll_interval = interval)
    }

    /// Sets the delay before a failed message is tried again. By default it grows from up to 1 s to up to 60 s.
    pub fn backoff(self, backoff: Backoff) -> Self {
        self.set(|settings| settings.policy.backoff = backoff)
    }

    /// Sets how often SQS may refuse a message before it is parked. The default is 5. Throttles, network failures, a
    /// missing queue and a missing permission do not count.
    pub fn park_after(self, refusals: u32) -> Self {
        self.set(|settings| settings.policy.park_after = refusals.max(1))
    }

    /// Sends messages without the attribute `redrive.id`, which they have by default. Without it a consumer of a
    /// standard queue cannot recognize a copy. On FIFO queues the deduplication id stays.
    pub fn without_send_id(self) -> Self {
        self.set(|settings| settings.has_send_id = false)
    }

    /// Sets what happens to the messages of a FIFO group behind a parked one. By default they wait.
    pub fn when_parked(self, when_parked: WhenParked) -> Self {
        self.set(|settings| settings.policy.when_parked = when_parked)
    }

    /// Sets how long rows of sent messages are kept. The default is 1 h.
    pub fn keep_sent(self, time: Duration) -> Self {
        self.set(|settings| settings.keep_sent = time)
    }

    /// Sets how long running sends may take after a shutdown. The default is 25 s. Another relay repeats a send whose
    /// result is unknown by then.
    pub fn drain_timeout(self, timeout: Duration) -> Self {
        self.set(|settings| settings.drain_timeout = timeout)
    }

    /// Sets how long the relay waits for a connection of the pool, and as long again for a transaction with its commit.
    /// The default is 10 s, the minimum 100 ms, and the maximum a third of the lease.
    ///
    /// After a timeout the relay closes the connection, logs a warning, and continues with another connection. If a
    /// commit was not answered, messages may be sent again under the same ids. The relay's chores, which count messages
    /// and delete old rows, have 60 s.
    pub fn database_timeout(self, timeout: Duration) -> Self {
        self.set(|settings| settings.database_timeout = timeout.max(SHORTEST_DATABASE_TIMEOUT))
    }

    /// Sends messages until that future is ready, then finishes the sends that are running.
    ///
    /// # Errors
    ///
    /// Returns an error if the relay cannot start because the database fails or has no outbox tables. Later failures
    /// are logged and tried again.
    pub async fn run_until(self, shutdown: impl Future<Output = ()>) -> Result<(), OutboxError> {
        self.run(shutdown, WhenIdle::Wait).await
    }

    /// Sends messages until there is nothing more to send now or that future is ready, then finishes the sends that are
    /// running. Use it in a function that runs on a schedule.
    ///
    /// A message that waits for its next attempt is left for the next run.
    ///
    /// # Errors
    ///
    /// Returns an error as [`run_until`](Self::run_until) does.
    pub async fn drain_until(self, shutdown: impl Future<Output = ()>) -> Result<(), OutboxError> {
        self.run(shutdown, WhenIdle::End).await
    }

    async fn run(self, shutdown: impl Future<Output = ()>, when_idle: WhenIdle) -> Result<(), OutboxError> {
        self.check_tables().await?;
        let stop = Stop::new();
        // It takes about 35 KiB. On the heap they do not move with the relay's future.
        let mut work = Box::pin(self.work(&stop, when_idle));
        tokio::select! {
            () = &mut work => return Ok(()),
            () = shutdown => stop.set(),
        }
        if timeout(self.settings.drain_timeout, work).await.is_err() {
            tracing::warn!(
                "the drain timeout ended before all results were written; unwritten messages are sent again after their lease"
            );
        }
        Ok(())
    }

    async fn check_tables(&self) -> Result<(), OutboxError> {
        let access = Access::once(&self.pool, self.settings.database_limit());
        let newest = DB::MIGRATIONS.last().map_or(0, |migration| migration.version);
        if DB::version(&access).await? < newest { Err(OutboxError::no_tables()) } else { Ok(()) }
    }

    /// Serves all queues and runs the chores until a stop.
    async fn work(&self, stop: &Stop, when_idle: WhenIdle) {
        let settings = &self.settings;
        let circuit_breakers = CircuitBreakers::new(settings.policy.backoff.clone());
        let context = RelayContext {
            access: Access::new(&self.pool, settings.database_limit(), DB::CONNECTIONS),
            settings,
            stop,
            circuit_breakers: &circuit_breakers,
            producers: Producers::new(self.client.clone(), settings),
            memory: Memory::new(),
            relay: random_id().into(),
        };
        let notifications = Notifications::default();
        let mut chores = Chores::new(&self.pool);
        match when_idle {
            WhenIdle::End => {
                tokio::join!(Queues::new(&context, &notifications, when_idle).serve(), chores.do_all(settings, stop));
            }
            WhenIdle::Wait => {
                let listening = async {
                    match DB::LISTENS {
                        true => listen(&context.access, &notifications).await,
                        false => std::future::pending().await,
                    }
                };
                tokio::select! {
                    () = Queues::new(&context, &notifications, when_idle).serve() => {}
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
