//! The relay's way to its database: every transaction has a time limit, an explicit isolation level, and retries after conflicts.

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

/// How long a relay waits for its database: for a connection of the pool, and then for a transaction with all its statements.
pub(super) const DATABASE_TIMEOUT: Duration = Duration::from_secs(10);
pub(super) const SHORTEST_DATABASE_TIMEOUT: Duration = Duration::from_millis(100);
/// The same for `Outbox::status`, `parked` and `retry`, and for the relay's chores: they may go through all rows.
pub(super) const WHOLE_TABLE_TIMEOUT: Duration = Duration::from_secs(60);
/// The same for `Outbox::migrate`: an index over millions of rows takes minutes.
pub(super) const MIGRATION_TIMEOUT: Duration = Duration::from_secs(600);
/// A connection that lies idle answers a ping within this time, or is closed.
const PING_TIMEOUT: Duration = Duration::from_secs(2);

/// Another transaction was in the way this many times in a row: that is reported.
const CONFLICTS: u32 = 8;

/// A pool, and how long to wait for it.
#[derive(Debug)]
pub struct Access<DB: Store> {
    pool: Pool<DB>,
    limit: Duration,
    /// One for each connection that may be used at a time: the pool is the application's too.
    connections: Arc<Semaphore>,
}

impl<DB: Store> Clone for Access<DB> {
    fn clone(&self) -> Self {
        Self { pool: self.pool.clone(), limit: self.limit, connections: self.connections.clone() }
    }
}

/// What a transaction does to the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Read,
    Write,
}

impl<DB: Store> Access<DB> {
    pub(super) fn new(pool: &Pool<DB>, limit: Duration, connections: usize) -> Self {
        Self { pool: pool.clone(), limit, connections: Arc::new(Semaphore::new(connections)) }
    }

    /// For one transaction.
    pub(super) fn once(pool: &Pool<DB>, limit: Duration) -> Self {
        Self::new(pool, limit, 1)
    }

    pub(super) fn pool(&self) -> &Pool<DB> {
        &self.pool
    }

    /// Does the work in a transaction of its own, again where another transaction was in the way. The work ends though its caller is
    /// dropped: what a relay has sent is written down.
    ///
    /// # Errors
    ///
    /// Where the database fails or does not answer in time. What a commit has done that was not answered in time is unknown.
    pub(super) async fn transact<T, W>(&self, purpose: &'static str, mode: Mode, work: W) -> Result<T, Error>
    where
        T: Send + 'static,
        W: for<'c> Fn(&'c mut DB::Connection) -> BoxFuture<'c, Result<T, Error>> + Send + Sync + 'static,
    {
        let access = self.clone();
        to_its_end(async move {
            // It is never closed.
            let _permit = access.connections.acquire().await.map_err(|_| Error::PoolClosed)?;
            let mut conflicts = 0;
            loop {
                match access.transact_once(purpose, mode, &work).await {
                    Err(error) if is_conflict(&error) && conflicts < CONFLICTS => {
                        conflicts += 1;
                        tracing::debug!(%error, purpose, "another transaction was in the way; this one begins again");
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
                    // A connection that fails here is closed below.
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
                // Dropped with its statement under way: it is closed, and no one else gets it.
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
            "the outbox's database did not answer in time; the connection is closed, and others that lie idle are tested"
        );
        tokio::spawn(test_idle(self.pool.clone()));
        Error::Io(io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {limit_s} s ({purpose}, {stage})")))
    }
}

fn conflict_backoff() -> Backoff {
    Backoff::exponential(Duration::from_millis(10)..Duration::from_secs(1))
}

/// Whether the database has ended the transaction for the sake of another one. It may succeed the next time.
fn is_conflict(error: &Error) -> bool {
    const SERIALIZATION_FAILURE: &str = "40001";
    const DEADLOCK_DETECTED: &str = "40P01";
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| [SERIALIZATION_FAILURE, DEADLOCK_DETECTED].contains(&&*code))
}

/// Whether the database has answered with this error, so that nothing is under way on the connection.
fn is_answer(error: &Error) -> bool {
    !matches!(error, Error::Io(_) | Error::Tls(_) | Error::Protocol(_) | Error::WorkerCrashed)
}

/// A connection that goes back to its pool only by `give_back`. In all other cases it is closed: a pool waits without a limit for the end
/// of a statement that is under way on a returned connection.
struct Held<DB: Store> {
    connection: Option<PoolConnection<DB>>,
}

impl<DB: Store> Held<DB> {
    fn connection(&mut self) -> Result<&mut DB::Connection, Error> {
        self.connection.as_deref_mut().ok_or(Error::PoolClosed)
    }

    /// The pool tests a connection that is given back, and would wait for ever where it has just gone silent.
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

/// Where one connection is silent, others mostly are too. Each would cost somebody a time limit.
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

/// Ends the work though its caller is dropped meanwhile.
async fn to_its_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Error> {
    match tokio::spawn(work).await {
        Ok(result) => result,
        // It panicked, or its runtime has ended.
        Err(_) => Err(Error::WorkerCrashed),
    }
}
