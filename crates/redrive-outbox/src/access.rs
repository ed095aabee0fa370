//! A relay's access to its database: time limits, isolation level, and retries after conflicts.

use std::future::Future;
use std::io;
use std::iter;
use std::ops::DerefMut;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use redrive::Backoff;
use sqlx::pool::PoolConnection;
use sqlx::{AssertSqlSafe, Connection, Error, Pool};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::store::Store;

/// Limits a relay's wait for a connection of the pool, and then for a whole transaction.
pub(super) const DATABASE_TIMEOUT: Duration = Duration::from_secs(10);
pub(super) const SHORTEST_DATABASE_TIMEOUT: Duration = Duration::from_millis(100);
/// Limits `Outbox::status`, `parked` and `retry`, and the relay's chores. They may read all rows.
pub(super) const WHOLE_TABLE_TIMEOUT: Duration = Duration::from_secs(60);
/// Limits `Outbox::migrate`. Building an index over millions of rows takes minutes.
pub(super) const MIGRATION_TIMEOUT: Duration = Duration::from_secs(600);
/// Limits the wait for a ping on an idle connection. A connection that does not answer is closed.
const PING_TIMEOUT: Duration = Duration::from_secs(2);

/// How many conflicts in a row are retried before the error is reported.
const CONFLICTS: u32 = 8;

/// A pool, with a limit for each wait.
#[derive(Debug)]
pub struct Access<DB: Store> {
    pool: Pool<DB>,
    limit: Duration,
    /// One permit for each connection that may be used at a time, because the application shares the pool.
    connections: Arc<Semaphore>,
}

impl<DB: Store> Clone for Access<DB> {
    fn clone(&self) -> Self {
        Self { pool: self.pool.clone(), limit: self.limit, connections: self.connections.clone() }
    }
}

/// Whether a transaction reads or writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Read,
    Write,
}

impl<DB: Store> Access<DB> {
    pub(super) fn new(pool: &Pool<DB>, limit: Duration, connections: usize) -> Self {
        Self { pool: pool.clone(), limit, connections: Arc::new(Semaphore::new(connections)) }
    }

    /// Creates access for one transaction at a time.
    pub(super) fn once(pool: &Pool<DB>, limit: Duration) -> Self {
        Self::new(pool, limit, 1)
    }

    pub(super) fn pool(&self) -> &Pool<DB> {
        &self.pool
    }

    /// Runs the work in its own transaction and repeats it after a conflict. The work continues if its caller is
    /// dropped, because results of sent messages have to be written.
    ///
    /// # Errors
    ///
    /// Returns an error if the database fails or does not answer in time. After a timeout it is unknown whether the
    /// commit succeeded.
    pub(super) async fn transact<T, W>(&self, purpose: &'static str, mode: Mode, work: W) -> Result<T, Error>
    where
        T: Send + 'static,
        W: for<'c> Fn(&'c mut DB::Connection) -> BoxFuture<'c, Result<T, Error>> + Send + Sync + 'static,
    {
        let access = self.clone();
        to_its_end(async move {
            // The semaphore is never closed.
            let _permit = access.connections.acquire().await.map_err(|_| Error::PoolClosed)?;
            let mut conflicts = 0;
            loop {
                match access.transact_once(purpose, mode, &work).await {
                    Err(error) if is_conflict(&error) && conflicts < CONFLICTS => {
                        conflicts += 1;
                        tracing::debug!(%error, purpose, "a transaction conflicted with another one; it is repeated");
                        sleep(conflict_backoff().delay(conflicts)).await;
                    }
                    ended => return ended,
                }
            }
        })
        .await
    }

    async fn transact_once<T, W>(&self, purpose: &'static str, mode: Mode, work: &W) -> Result<T, Error>
    where
        W: for<'c> Fn(&'c mut DB::Connection) -> BoxFuture<'c, Result<T, Error>>,
    {
        let acquired = timeout(self.limit, self.pool.acquire()).await;
        let connection = acquired.map_err(|_| self.silent(purpose, "waiting for a connection"))??;
        let mut held = Held { connection: Some(connection) };
        let ended = timeout(self.limit, async {
            let connection = held.connection()?;
            let mut transaction = connection.begin_with(AssertSqlSafe(DB::begin(mode, self.limit))).await?;
            match work(transaction.deref_mut()).await {
                Ok(done) => transaction.commit().await.map(|()| done),
                Err(error) => {
                    // If the rollback fails, the connection is closed below.
                    transaction.rollback().await?;
                    Err(error)
                }
            }
        })
        .await;
        match ended {
            Ok(result) => {
                if result.as_ref().map_or_else(is_answer, |_| true) {
                    held.give_back();
                }
                result
            }
            Err(_) => {
                // A statement is still running, so the connection is closed instead of returned.
                drop(held);
                Err(self.silent(purpose, "within a transaction"))
            }
        }
    }

    fn silent(&self, purpose: &'static str, stage: &'static str) -> Error {
        let limit_s = self.limit.as_secs_f64();
        tracing::warn!(
            purpose,
            stage,
            limit_s,
            "the outbox's database did not answer in time; the connection is closed and idle connections are tested"
        );
        tokio::spawn(test_idle(self.pool.clone()));
        Error::Io(io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {limit_s} s ({purpose}, {stage})")))
    }
}

fn conflict_backoff() -> Backoff {
    Backoff::exponential(Duration::from_millis(10)..Duration::from_secs(1))
}

/// Returns whether the database ended the transaction because of a conflict. A second attempt may succeed.
fn is_conflict(error: &Error) -> bool {
    const SERIALIZATION_FAILURE: &str = "40001";
    const DEADLOCK_DETECTED: &str = "40P01";
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| [SERIALIZATION_FAILURE, DEADLOCK_DETECTED].contains(&&*code))
}

/// Returns whether the database answered with this error, so that no statement is running on the connection.
fn is_answer(error: &Error) -> bool {
    !matches!(error, Error::Io(_) | Error::Tls(_) | Error::Protocol(_) | Error::WorkerCrashed)
}

/// A connection that returns to its pool only through `give_back`, and is closed otherwise. A pool waits without a
/// limit for a statement that still runs on a returned connection.
struct Held<DB: Store> {
    connection: Option<PoolConnection<DB>>,
}

impl<DB: Store> Held<DB> {
    fn connection(&mut self) -> Result<&mut DB::Connection, Error> {
        self.connection.as_deref_mut().ok_or(Error::PoolClosed)
    }

    /// Returns the connection with a time limit. The pool pings it first, and that ping has no limit of its own.
    fn give_back(mut self) {
        if let Some(mut connection) = self.connection.take() {
            tokio::spawn(timeout(PING_TIMEOUT, connection.return_to_pool()));
        }
    }
}

impl<DB: Store> Drop for Held<DB> {
    fn drop(&mut self) {
        drop(self.connection.take().map(PoolConnection::detach));
    }
}

/// Tests idle connections after a timeout. If one connection is silent, others usually are too, and each would cost a
/// caller a full time limit.
async fn test_idle<DB: Store>(pool: Pool<DB>) {
    let idle: Vec<_> = iter::from_fn(|| pool.try_acquire()).collect();
    let tested = idle.into_iter().map(|connection| async {
        let mut held = Held { connection: Some(connection) };
        let Ok(connection) = held.connection() else { return };
        if matches!(timeout(PING_TIMEOUT, connection.ping()).await, Ok(Ok(()))) {
            held.give_back();
        }
    });
    join_all(tested).await;
}

/// Runs the work to its end even if the caller is dropped meanwhile.
async fn to_its_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Error> {
    match tokio::spawn(work).await {
        Ok(result) => result,
        // The task panicked, or its runtime has ended.
        Err(_) => Err(Error::WorkerCrashed),
    }
}
