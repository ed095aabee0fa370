//! Runs a handler as a worker, which polls its queue itself.
//!
//! ```text
//! permits -> poll -> triage -> received: the engine, one lease per message -> settler (deletes, visibility)
//! ```
//!
//! [`shared`] holds the state that all of these share. [`pollers`] decides how many polls run at a time.

mod environment;
mod handle;
mod health;
mod idle;
mod lease;
mod permits;
mod poll;
mod pollers;
mod queue;
mod queue_error;
mod rate_limit;
mod received;
mod recently_seen;
mod run_times;
mod settler;
mod shared;
#[cfg(test)]
mod suspended;
mod triage;

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_sqs::Client;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::Instant;

pub(crate) use self::environment::{queue_url, run};
pub use self::handle::WorkerHandle;

use self::health::Health;
use self::pollers::Pollers;
use self::shared::Shared;
use crate::error::Error;
use crate::handler::{self, Consumer};
use crate::sqs::visibility::MAX_VISIBILITY_TIMEOUT;

/// A consumer that polls its queue itself, in a container, on a server or on a laptop.
///
/// [`Consumer::worker`] returns one. It processes messages as the consumer processes records on Lambda, and does the
/// work that Lambda would do around it: polling, heartbeats, deletes and releases.
///
/// ```no_run
/// use redrive::Json;
///
/// # #[derive(serde::Deserialize)] struct Order { order_id: String }
/// async fn place(Json(order): Json<Order>) -> anyhow::Result<()> { /* ... */ Ok(()) }
///
/// # async fn example() -> Result<(), redrive::Error> {
/// let client = aws_sdk_sqs::Client::new(&aws_config::load_from_env().await);
/// let queue_url = "https://sqs.eu-west-1.amazonaws.com/123456789012/orders";
/// let shutdown = async { tokio::signal::ctrl_c().await.unwrap_or(()) };
/// redrive::handler(place).worker(client, queue_url).run_until(shutdown).await
/// # }
/// ```
///
/// [`redrive::run`](crate::run()) does the same with the queue of `REDRIVE_QUEUE_URL`, and takes SIGTERM and SIGINT as
/// the shutdown. [The chapter on the worker](crate::docs::worker) lists its guarantees and requirements.
#[must_use = "a worker does nothing until it runs"]
pub struct Worker<K> {
    consumer: Consumer<K>,
    client: Client,
    queue_url: String,
    settings: WorkerSettings,
}

/// The settings of a worker and their defaults.
#[derive(Debug)]
struct WorkerSettings {
    visibility_timeout: Option<Duration>,
    wait_time: Duration,
    drain_timeout: Duration,
    messages_per_second: Option<f64>,
    handle: WorkerHandle,
    /// The listener for probes of the worker's health.
    health: Option<TcpListener>,
    /// The runtime for handlers, if it differs from the worker's.
    handlers: Option<Handle>,
    /// Dropped with the last part of the worker. Handlers that block their thread outlive the worker, and the receiver
    /// sees that.
    held: Option<mpsc::Sender<Infallible>>,
}

impl Default for WorkerSettings {
    fn default() -> Self {
        Self {
            visibility_timeout: None,
            wait_time: MAX_WAIT_TIME,
            drain_timeout: DRAIN_TIMEOUT,
            messages_per_second: None,
            handle: WorkerHandle::default(),
            health: None,
            handlers: None,
            held: None,
        }
    }
}

/// The longest time that SQS waits for a message.
const MAX_WAIT_TIME: Duration = Duration::from_secs(20);

/// The default drain timeout. Kubernetes and ECS kill a process 30 s after their signal.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(25);

/// The time of the drain timeout that is left after the last poll, for its messages to run and to be settled.
const RUN_TIME_AFTER_LAST_POLL: Duration = Duration::from_secs(5);

/// Rounds up to whole seconds, the unit of SQS. Rounding down could turn a long poll into one that does not wait.
fn whole_seconds(time: Duration) -> Duration {
    Duration::from_secs(time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0)))
}

impl WorkerSettings {
    /// Returns how long a poll waits. A shutdown interrupts no poll, so each poll has to end within the drain timeout.
    fn poll_wait(&self) -> Duration {
        let run_time = RUN_TIME_AFTER_LAST_POLL.min(self.drain_timeout / 2);
        let longest = Duration::from_secs(self.drain_timeout.saturating_sub(run_time).as_secs());
        self.wait_time.min(longest)
    }
}

impl<K> Consumer<K> {
    /// Returns a worker that polls this queue with this client.
    ///
    /// A queue URL of AWS names the queue's region. Calls go to that region, whatever region the client has. An
    /// endpoint that is set on the client stays unchanged.
    #[cfg_attr(docsrs, doc(cfg(feature = "worker")))]
    pub fn worker(self, client: Client, queue_url: impl Into<String>) -> Worker<K> {
        Worker { consumer: self, client, queue_url: queue_url.into(), settings: WorkerSettings::default() }
    }
}

impl<K: handler::HandlerKind> Worker<K> {
    /// Sets how long a received message is hidden from other consumers, and how far each heartbeat extends that time.
    /// The range is 5 seconds to 12 hours, in whole seconds. Other values are clamped to it. The default is the queue's
    /// own visibility timeout.
    ///
    /// This does not limit a handler: heartbeats extend the time while the handler runs. It decides how soon the
    /// messages of a crashed worker become visible again.
    pub fn visibility_timeout(self, timeout: Duration) -> Self {
        self.set(|settings| settings.visibility_timeout = Some(timeout))
    }

    /// Sets how long a poll waits at SQS for a message, in whole seconds from 0 to 20. Fractions are rounded up. The
    /// default is 20. A shorter wait causes more calls.
    ///
    /// With 0, the worker pauses between polls of an empty queue. The pause grows from 50 ms to one second and starts
    /// again after a message. A shutdown waits for the poll under way. A poll therefore waits no longer than the
    /// [`drain_timeout`](Self::drain_timeout) allows.
    pub fn wait_time(self, time: Duration) -> Self {
        self.set(|settings| settings.wait_time = whole_seconds(time).min(MAX_WAIT_TIME))
    }

    /// Sets how long a worker continues after a shutdown, up to 12 hours, the longest lease of a message. The default
    /// is 25 s, because Kubernetes and ECS kill a container 30 s after their signal.
    ///
    /// The worker still processes the messages it has received if their handlers are likely to end in this time. When
    /// the time is over, running handlers are cancelled and their messages return to the queue.
    ///
    /// With less than 25 s, polls wait for less than 20 s, so that the messages of the last poll still have time to
    /// run. From 10 s on, a poll waits for 5 s less than this timeout. Below that, it waits for half of this timeout.
    pub fn drain_timeout(self, timeout: Duration) -> Self {
        self.set(|settings| settings.drain_timeout = timeout.min(MAX_VISIBILITY_TIMEOUT))
    }

    /// Limits how many messages begin in a second, for a downstream system with a limited rate. There is no limit by
    /// default. A value that is not above 0 sets no limit.
    ///
    /// The limit is for this worker only. After a pause, up to one second's worth of messages begins at once.
    pub fn messages_per_second(self, limit: f64) -> Self {
        self.set(|settings| settings.messages_per_second = Some(limit).filter(|limit| *limit > 0.0))
    }

    /// Answers an orchestrator's probes on this listener. `GET /livez` tells whether a restart would help. The path
    /// `/readyz` tells whether the worker polls its queue. Each answer has status 200 or 503 and a line with the
    /// reason. By default a worker listens on no port. [`redrive::run`](crate::run()) listens on the port of
    /// `REDRIVE_HEALTH_PORT`.
    ///
    /// ```no_run
    /// # async fn example<K: redrive::HandlerKind>(worker: redrive::Worker<K>) -> Result<(), Box<dyn std::error::Error>> {
    /// let worker = worker.health(tokio::net::TcpListener::bind("0.0.0.0:8080").await?);
    /// # Ok(()) }
    /// ```
    ///
    /// [The chapter on the worker](crate::docs::worker#health) explains the answers.
    pub fn health(self, listener: TcpListener) -> Self {
        self.set(|settings| settings.health = Some(listener))
    }

    /// Returns a handle that pauses and resumes the worker.
    pub fn handle(&self) -> WorkerHandle {
        self.settings.handle.clone()
    }

    fn set(mut self, set: impl FnOnce(&mut WorkerSettings)) -> Self {
        set(&mut self.settings);
        self
    }

    /// Runs the worker until `shutdown` completes. Then no new poll begins, and the worker finishes the polls under
    /// way, their messages and their deletes. Messages whose handlers cannot end within the
    /// [`drain_timeout`](Self::drain_timeout) return to the queue.
    ///
    /// A worker whose future is dropped ends as in a crash: its messages become visible when their visibility timeout
    /// ends.
    ///
    /// # Errors
    ///
    /// Returns an error if the worker cannot start: the queue does not exist, no credentials are configured, or the
    /// credentials lack a permission. The worker waits for credentials and networks that are not ready yet. After its
    /// first answered poll it retries every failure of the queue or the network.
    pub async fn run_until(mut self, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
        let health = Arc::new(Health::new(self.settings.handle.clone()));
        let Some(listener) = self.settings.health.take() else { return self.work_until(shutdown, health).await };
        let handlers = self.settings.handlers.clone().unwrap_or_else(Handle::current);
        tokio::select! {
            result = self.work_until(shutdown, health.clone()) => result,
            never = health.serve(listener, &handlers) => match never {},
        }
    }

    async fn work_until(self, shutdown: impl Future<Output = ()>, health: Arc<Health>) -> Result<(), Error> {
        let mut shutdown = pin!(shutdown);
        let (engine, drain_timeout) = (self.consumer.engine(), self.settings.drain_timeout);
        let shared = tokio::select! {
            shared = Shared::begin(engine, &self.client, self.queue_url, self.settings, health) => shared?,
            () = &mut shutdown => return Ok(()),
        };
        let work = async {
            let mut pollers = Pollers::begin(shared.clone());
            let result = pollers.run_until(shutdown).await;
            pollers.end_by(Instant::now() + drain_timeout).await;
            result
        };
        tokio::select! {
            result = work => result,
            never = shared.notice_suspends() => match never {},
        }
    }
}

impl<K> fmt::Debug for Worker<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker")
            .field("queue_url", &self.queue_url)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
