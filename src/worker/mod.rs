//! The same handler as a worker, which polls its queue itself.
//!
//! ```text
//! desk (permits) -> poll -> batch: the engine, with a lease a message -> settler (deletes, visibility)
//! ```
//!
//! [`hub`] has what all of these share, [`pollers`] says how many polls there are at a time.

mod batch;
mod desk;
mod environment;
mod fault;
mod handle;
mod health;
mod hub;
mod lease;
mod memory;
mod pace;
mod poll;
mod pollers;
mod queue;
mod settler;
mod sorted;

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
use self::hub::Hub;
use self::pollers::Pollers;
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

impl<K> Consumer<K> {
    /// A worker that polls that queue with that client.
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

    /// How long a poll waits for a message, in whole seconds from 0 to 20. The default is 20; less costs calls. A shutdown waits for
    /// the poll under way.
    pub fn wait_time(self, time: Duration) -> Self {
        self.set(|settings| settings.wait_time = time.min(MAX_WAIT_TIME))
    }

    /// How long handlers have after a shutdown, up to the 12 hours for which a message can be theirs. What still runs then is cancelled, and
    /// given back to the queue. The default is 25 s: Kubernetes and ECS kill a container 30 s after they have asked it to end.
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

    /// Runs until the shutdown, and to the end of what it has begun by then: the poll under way, handlers, deletes. What has not
    /// begun is given back at once.
    ///
    /// Whoever drops its future ends it as a crash would: the messages it had come back when their visibility timeout runs out.
    ///
    /// # Errors
    ///
    /// Where it cannot begin: no such queue, no credentials, or not allowed what it needs. Once it has polled the queue it goes on,
    /// whatever happens to the queue or the network.
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
        let hub = tokio::select! {
            hub = Hub::begin(engine, &self.client, self.queue_url, self.settings, health) => hub?,
            () = &mut shutdown => return Ok(()),
        };
        let mut pollers = Pollers::begin(hub);
        let result = pollers.run_until(shutdown).await;
        pollers.end_by(Instant::now() + drain_timeout).await;
        result
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
