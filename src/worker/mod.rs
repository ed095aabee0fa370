//! The same handler as a worker, which polls its queue itself.
//!
//! ```text
//! permits -> poll -> triage -> received: the engine, with a lease a message -> settler (deletes, visibility)
//! ```
//!
//! [`shared`] has what all of these share, [`pollers`] says how many polls there are at a time.

mod environment;
mod fault;
mod handle;
mod health;
mod idle;
mod lease;
mod permits;
mod poll;
mod pollers;
mod queue;
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

/// A consumer that polls its queue itself, wherever it runs: in a container, on a server, on a laptop.
///
/// [`Consumer::worker`] makes one. It does with the messages what the consumer does with records on Lambda, and beside that
/// what Lambda would do around it:
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
/// [`redrive::run`](crate::run()) does this with the queue of `REDRIVE_QUEUE_URL`, and SIGTERM and SIGINT as the shutdown. What a
/// worker promises, and what it needs, is in [the chapter on it](crate::docs::worker).
#[must_use = "a worker does nothing until it runs"]
pub struct Worker<K> {
    consumer: Consumer<K>,
    client: Client,
    queue_url: String,
    settings: Settings,
}

/// What can be set on a worker, and what holds where nothing is set.
#[derive(Debug)]
struct Settings {
    visibility_timeout: Option<Duration>,
    wait_time: Duration,
    drain_timeout: Duration,
    messages_per_second: Option<f64>,
    handle: WorkerHandle,
    /// Where probes of its health come.
    health: Option<TcpListener>,
    /// Where handlers run, if that is not where the worker does.
    handlers: Option<Handle>,
    /// Held for as long as anything of the worker is left: handlers that block their thread outlive it.
    held: Option<mpsc::Sender<Infallible>>,
}

impl Default for Settings {
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

/// The most that SQS waits for a message.
const MAX_WAIT_TIME: Duration = Duration::from_secs(20);

/// Kubernetes and ECS kill what has not ended 30 s after the signal.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(25);

/// What is left of the drain timeout, at least, when the last poll ends: time for its messages to run and to be settled.
const RUN_TIME_AFTER_LAST_POLL: Duration = Duration::from_secs(5);

/// SQS waits for whole seconds. To round down could make a long poll one that does not wait.
fn whole_seconds(time: Duration) -> Duration {
    Duration::from_secs(time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0)))
}

impl Settings {
    /// Returns how long a poll waits: no poll is broken off at a shutdown, so each has to end within the drain timeout.
    fn poll_wait(&self) -> Duration {
        let run_time = RUN_TIME_AFTER_LAST_POLL.min(self.drain_timeout / 2);
        let longest = Duration::from_secs(self.drain_timeout.saturating_sub(run_time).as_secs());
        self.wait_time.min(longest)
    }
}

impl<K> Consumer<K> {
    /// Returns a worker that polls this queue with this client.
    ///
    /// A URL of AWS says the region of its queue, and calls are made there whatever the client's own region is. An endpoint that the
    /// client was given stays as it is.
    #[cfg_attr(docsrs, doc(cfg(feature = "worker")))]
    pub fn worker(self, client: Client, queue_url: impl Into<String>) -> Worker<K> {
        Worker { consumer: self, client, queue_url: queue_url.into(), settings: Settings::default() }
    }
}

impl<K: handler::Kind> Worker<K> {
    /// For how long a message is hidden from others when it is received, and whenever a heartbeat extends that, in whole
    /// seconds from 5 to 12 hours. What is out of that range is put into it. The default is the queue's own visibility timeout.
    ///
    /// It is not the time that a handler has: as long as the handler runs it is extended. It is how soon the messages of a worker
    /// that has died come back.
    pub fn visibility_timeout(self, timeout: Duration) -> Self {
        self.set(|settings| settings.visibility_timeout = Some(timeout))
    }

    /// Sets how long a poll waits at SQS for a message, in whole seconds from 0 to 20. Fractions are rounded up. The default is 20; less
    /// costs calls.
    ///
    /// With 0 the worker polls an empty queue after a pause, which grows from 50 ms to one second until a message comes. A shutdown waits
    /// for the poll under way, so a poll waits no longer than the [`drain_timeout`](Self::drain_timeout) leaves time for.
    pub fn wait_time(self, time: Duration) -> Self {
        self.set(|settings| settings.wait_time = whole_seconds(time).min(MAX_WAIT_TIME))
    }

    /// Sets how long a worker goes on after a shutdown, up to the 12 hours for which it can hold a message. It still runs the messages that
    /// it has received, as far as their handlers can end in this time. Handlers that run when it is over are cancelled, and their messages
    /// go back to the queue. The default is 25 s: Kubernetes and ECS kill a container 30 s after they asked it to end.
    ///
    /// With less than 25 s polls wait for less than 20 s: a poll under way at the shutdown must end in time for what it brings to run. From
    /// ten seconds on it waits for 5 s less than this, and for half of it below.
    pub fn drain_timeout(self, timeout: Duration) -> Self {
        self.set(|settings| settings.drain_timeout = timeout.min(MAX_VISIBILITY_TIMEOUT))
    }

    /// The most messages that begin in a second, for a downstream that takes no more. No limit by default. What is not a number above
    /// 0 is none.
    ///
    /// It is that of this worker. After a pause up to a second's worth begins at once.
    pub fn messages_per_second(self, limit: f64) -> Self {
        self.set(|settings| settings.messages_per_second = Some(limit).filter(|limit| *limit > 0.0))
    }

    /// Answers an orchestrator's probes on this listener: `GET /livez` says whether a restart would help, `GET /readyz` whether the
    /// worker does its work. Each answer is 200 or 503, with a line that says why. By default there is none;
    /// [`redrive::run`](crate::run()) listens on the port of `REDRIVE_HEALTH_PORT`.
    ///
    /// ```no_run
    /// # async fn example<K: redrive::Kind>(worker: redrive::Worker<K>) -> Result<(), Box<dyn std::error::Error>> {
    /// let worker = worker.health(tokio::net::TcpListener::bind("0.0.0.0:8080").await?);
    /// # Ok(()) }
    /// ```
    ///
    /// [The chapter on the worker](crate::docs::worker#health) has what the answers mean.
    pub fn health(self, listener: TcpListener) -> Self {
        self.set(|settings| settings.health = Some(listener))
    }

    /// A handle by which the worker is paused and goes on.
    pub fn handle(&self) -> WorkerHandle {
        self.settings.handle.clone()
    }

    fn set(mut self, set: impl FnOnce(&mut Settings)) -> Self {
        set(&mut self.settings);
        self
    }

    /// Runs until the shutdown. Then no poll begins any more, and the worker finishes what it has: the polls under way, what they bring,
    /// and deletes. Messages whose handlers cannot end within the [`drain_timeout`](Self::drain_timeout) go back to the queue.
    ///
    /// A worker whose future is dropped ends as in a crash: its messages come back when their visibility timeout runs out.
    ///
    /// # Errors
    ///
    /// Where it cannot start: there is no such queue, nobody configured credentials, or they do not allow what it needs. Credentials and
    /// networks that are not ready yet are waited for. Once it has polled the queue it goes on, whatever happens to the queue or the
    /// network.
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
