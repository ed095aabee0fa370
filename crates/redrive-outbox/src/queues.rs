//! Serves each queue that has messages separately, so that no queue waits for another.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use redrive::Backoff;
use sqlx::Error;
use tokio::time::{Instant, sleep, sleep_until};

use super::OutboxDatabase;
use super::circuit_breaker::CircuitState;
use super::notify::{LISTEN_EVERY, Notifications};
use super::pass::{PARTITIONS_PER_CLAIM, Pass, Progress, RelayContext};
use super::row;
use super::settings::WhenIdle;

/// The limit of queues that are served at a time.
const SERVED: usize = 128;
/// The limit of probes among them: queues whose pause is over and that send one message ahead. Each probe may hang.
const PROBED: usize = 64;
/// The shortest time between two looks for queues, however often the database notifies.
const LOOK_GAP: Duration = Duration::from_millis(10);

pub(super) struct Queues<'a, DB: OutboxDatabase> {
    context: &'a RelayContext<'a, DB>,
    notifications: &'a Notifications,
    running: FuturesUnordered<BoxFuture<'a, Served>>,
    served: HashMap<Arc<str>, Service>,
    when_idle: WhenIdle,
    /// Queues that have no more messages, for a relay that ends when it is idle.
    done: HashSet<Arc<str>>,
    /// The queue that was started last. The next queue in order follows it.
    last: Option<Arc<str>>,
    /// Failures of the database in a row.
    failed: u32,
    /// A queue ended after it had missed a notification.
    has_missed: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Service {
    is_probe: bool,
    /// A notification arrived while the queue was served, perhaps after its last look.
    has_news: bool,
}

/// A queue that has nothing more to send now.
struct Served {
    queue_url: Arc<str>,
    result: Result<(), Error>,
}

/// The reason for a look for queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    /// A notification arrived, or the poll interval is over.
    News,
    Missed,
}

impl<'a, DB: OutboxDatabase> Queues<'a, DB> {
    pub(super) fn new(
        context: &'a RelayContext<'a, DB>,
        notifications: &'a Notifications,
        when_idle: WhenIdle,
    ) -> Self {
        let (running, served, done) = Default::default();
        Self { context, notifications, running, served, when_idle, done, last: None, failed: 0, has_missed: false }
    }

    /// Serves queues until a stop, or until they are empty if the relay ends when it is idle. It finishes what it
    /// started.
    pub(super) async fn serve(mut self) {
        let mut reason = Reason::News;
        while !self.context.stop.is_set() {
            let looked_at = Instant::now();
            let context = self.context;
            let looked = self.while_serving(DB::queues(&context.access)).await;
            match looked {
                Ok(queues) => {
                    let has_begun = self.begin_those_of(queues, reason);
                    if self.when_idle == WhenIdle::End && !has_begun && self.running.is_empty() {
                        return;
                    }
                }
                Err(error) => self.has_failed(&error),
            }
            reason = self.wait(looked_at).await;
        }
        while let Some(served) = self.running.next().await {
            self.has_ended(served);
        }
    }

    /// Runs the work, and handles queues that end meanwhile.
    async fn while_serving<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                Some(served) = self.running.next() => self.has_ended(served),
            }
        }
    }

    /// Waits until there is a reason to look again.
    async fn wait(&mut self, looked_at: Instant) -> Reason {
        let context = self.context;
        let gap = sleep_until(looked_at + LOOK_GAP);
        self.while_serving(context.stop.unless_set(gap)).await;
        let wait = match self.failed {
            0 => self.poll_interval(),
            failed => database_backoff().delay(failed),
        };
        let mut until = std::pin::pin!(sleep_until(looked_at + wait));
        loop {
            let is_full = self.served.len() >= SERVED;
            if self.has_missed && self.failed == 0 {
                self.has_missed = false;
                return Reason::Missed;
            }
            tokio::select! {
                biased;
                () = context.stop.is_said() => return Reason::News,
                Some(served) = self.running.next() => {
                    self.has_ended(served);
                    if self.failed > 0 {
                        let again = Instant::now() + database_backoff().delay(self.failed);
                        let sooner = until.deadline().min(again);
                        until.as_mut().reset(sooner);
                    }
                    // Either a place is free now, or nothing is left to wait for.
                    if is_full || (self.when_idle == WhenIdle::End && self.running.is_empty()) {
                        return Reason::News;
                    }
                }
                () = self.notifications.notified(), if self.failed == 0 => return Reason::News,
                () = &mut until => return Reason::News,
            }
        }
    }

    fn poll_interval(&self) -> Duration {
        let interval = self.context.settings.poll_interval;
        if DB::LISTENS && !self.notifications.listens() { interval.min(LISTEN_EVERY) } else { interval }
    }

    /// Starts queues in order after the last one. Returns whether it started any.
    fn begin_those_of(&mut self, queues: Vec<String>, reason: Reason) -> bool {
        self.context.circuit_breakers.forget();
        let mut queues: Vec<Arc<str>> = queues.into_iter().map(Arc::from).collect();
        let behind_last = queues.partition_point(|queue| self.last.as_ref().is_some_and(|last| queue <= last));
        queues.rotate_left(behind_last);
        let mut has_begun = false;
        for queue_url in queues {
            if let Some(service) = self.served.get_mut(&queue_url) {
                service.has_news |= reason == Reason::News;
            } else if !self.done.contains(&queue_url) && self.may_begin(&queue_url) {
                has_begun = true;
                self.begin(queue_url);
            }
        }
        has_begun
    }

    fn may_begin(&self, queue_url: &str) -> bool {
        let probed = || self.served.values().filter(|service| service.is_probe).count();
        self.served.len() < SERVED
            && match self.context.circuit_breakers.state(queue_url) {
                CircuitState::Closed => true,
                CircuitState::Open => false,
                CircuitState::HalfOpen => probed() < PROBED,
            }
    }

    fn begin(&mut self, queue_url: Arc<str>) {
        let is_probe = self.context.circuit_breakers.state(&queue_url) != CircuitState::Closed;
        self.served.insert(queue_url.clone(), Service { is_probe, has_news: false });
        self.last = Some(queue_url.clone());
        let context = self.context;
        self.running.push(Box::pin(async move {
            let result = serve_queue(context, &queue_url).await;
            Served { queue_url, result }
        }));
    }

    fn has_ended(&mut self, Served { queue_url, result }: Served) {
        let service = self.served.remove(&queue_url).unwrap_or_default();
        self.has_missed |= service.has_news;
        match result {
            Ok(()) => {
                self.failed = 0;
                if self.when_idle == WhenIdle::End {
                    self.done.insert(queue_url);
                }
            }
            Err(error) => self.has_failed(&error),
        }
    }

    fn has_failed(&mut self, error: &Error) {
        self.failed = self.failed.saturating_add(1);
        tracing::warn!(%error, "the outbox's database failed; the relay tries again later");
    }
}

fn database_backoff() -> Backoff {
    Backoff::exponential(Duration::from_millis(100)..Duration::from_secs(10))
}

/// Sends the queue's messages in passes until there is nothing more to send now.
async fn serve_queue<DB: OutboxDatabase>(context: &RelayContext<'_, DB>, queue_url: &Arc<str>) -> Result<(), Error> {
    DB::add_partitions(&context.access, queue_url).await?;
    // Counts passes in a row that claimed partitions without a row to send. After one turn through all partitions,
    // other queues get their turn.
    let (mut in_vain, mut slow) = (0, 0);
    while !context.stop.is_set() && context.circuit_breakers.state(queue_url) != CircuitState::Open {
        match Pass::run(context, queue_url).await? {
            Progress::Some => (in_vain, slow) = (0, 0),
            Progress::NoRow if in_vain + 1 < row::PARTITIONS.div_ceil(PARTITIONS_PER_CLAIM) => in_vain += 1,
            Progress::NoRow | Progress::NoPartition => break,
            Progress::Slow => {
                slow += 1;
                tracing::warn!(
                    queue_url = &**queue_url,
                    "reading the outbox took longer than half of the lease; set a longer lease"
                );
                context.stop.unless_set(sleep(database_backoff().delay(slow))).await;
            }
        }
    }
    Ok(())
}
