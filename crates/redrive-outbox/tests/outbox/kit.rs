//! A database, a queue, and the parts between them.

use std::future::Future;
use std::time::Duration;

use redrive::{Backoff, Outgoing};
use redrive_outbox::{Outbox, Relay};
use sqlx::Pool;

use crate::database::TestDatabase;
use crate::queue::Queue;

pub(crate) struct World<DB: TestDatabase> {
    pub(crate) pool: Pool<DB>,
    pub(crate) queue: Queue,
    pub(crate) outbox: Outbox,
    _keeper: DB::Keeper,
}

impl<DB: TestDatabase> World<DB> {
    pub(crate) async fn new(queue: &str) -> Self {
        let (pool, keeper) = DB::fresh().await;
        let queue = Queue::new(queue, 1).await;
        let outbox = Outbox::new(&queue.url);
        Self { pool, queue, outbox, _keeper: keeper }
    }

    /// Writes a message in its own transaction.
    pub(crate) async fn enqueue(&self, message: Outgoing) -> String {
        let mut transaction = self.pool.begin().await.unwrap();
        let id = self.outbox.enqueue(&mut transaction, message).await.unwrap();
        transaction.commit().await.unwrap();
        id
    }

    /// Creates a relay with short intervals.
    pub(crate) fn relay(&self) -> Relay<DB> {
        quick(Relay::new(self.pool.clone(), self.queue.client()))
    }

    /// Runs a relay until everything that can be sent is sent.
    pub(crate) async fn relay_all(&self) {
        self.relay().run_until(self.until(|status| status.pending == 0)).await.unwrap();
    }

    /// Does the same while dead relays still hold partitions, or claim some.
    pub(crate) async fn relay_all_despite_other_leases(&self) {
        let sent = async {
            while Outbox::status(&self.pool).await.unwrap().pending > 0 {
                DB::end_leases(&self.pool).await;
                tokio::time::sleep(MOMENT).await;
            }
        };
        self.relay().run_until(in_time(sent)).await.unwrap();
    }

    /// Waits until the outbox has a certain state.
    pub(crate) async fn until(&self, is_so: impl Fn(&redrive_outbox::OutboxStatus) -> bool) {
        let pool = self.pool.clone();
        let waiting = async {
            while !is_so(&Outbox::status(&pool).await.unwrap()) {
                tokio::time::sleep(MOMENT).await;
            }
        };
        in_time(waiting).await;
    }

    pub(crate) async fn states(&self) -> Vec<String> {
        DB::texts(&self.pool, "select state from redrive_outbox order by id").await
    }
}

pub(crate) fn quick<DB: TestDatabase>(relay: Relay<DB>) -> Relay<DB> {
    relay.poll_interval(MOMENT).backoff(Backoff::exponential(MOMENT..MOMENT * 8))
}

/// The interval of polling. The database's clock cannot be paused, so tests poll for a state.
pub(crate) const MOMENT: Duration = Duration::from_millis(5);

pub(crate) async fn in_time<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(240), work).await.expect("the work ends within 240 s")
}

/// Creates a message of a group.
pub(crate) fn of(group: &str, body: &str) -> Outgoing {
    Outgoing::text(body).group(group)
}

/// Writes these bodies. The first character of a body is its group.
pub(crate) async fn enqueue_all<DB: TestDatabase>(world: &World<DB>, bodies: &[&str]) {
    for body in bodies {
        world.enqueue(of(&body[..1], body)).await;
    }
}
