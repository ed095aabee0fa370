//! The operations that the outbox needs from a database, with the same names for each database.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use sqlx::Error;

use super::access::{Access, Mode};
use super::columns;
use super::notify::Listener;
use super::row::{NewRow, Row};
use super::row_result::RowResult;

/// One migration of the outbox's tables.
///
/// Its SQL is complete. [`Outbox::migrate`](crate::Outbox::migrate) runs it, or you copy it into a migration
/// of your own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Migration {
    /// The version, from 1 on, without gaps.
    pub version: i64,
    /// A short name.
    pub name: &'static str,
    /// The SQL statements.
    pub sql: &'static str,
}

/// The rows that a relay asks for.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The queue whose messages are wanted.
    pub(super) queue_url: Arc<str>,
    /// The limit of partitions to claim.
    pub(super) partitions: usize,
    /// The limit of rows to read.
    pub(super) rows: usize,
    pub(super) lease: Duration,
    /// Whether a parked row holds the rows of its key behind it.
    pub(super) holds: bool,
    /// The relay's name. A relay claims its own partitions again at once if the answer to its claim was lost.
    pub(super) relay: Arc<str>,
}

/// Options for writing a row.
#[derive(Clone, Copy, Debug)]
pub struct Insert {
    /// Whether relays are notified.
    pub(super) notifies: bool,
    /// Whether the connection keeps the statement prepared.
    pub(super) prepares: bool,
}

/// Returns the error for an answer to a statement that was not sent.
pub(super) fn another_statement() -> Error {
    Error::Protocol("the database ran another statement than the one that was sent".to_owned())
}

/// The longest lease. SQS drops copies of a deduplication id for 5 minutes, and after a relay's death its messages are
/// sent again when the lease is over.
pub(super) const LONGEST_LEASE: Duration = Duration::from_secs(120);

/// A lease that ends later than this is invalid: the database's clock was set back. Clock corrections of a few seconds
/// end no lease.
pub(super) const NO_LEASE: Duration = Duration::from_secs(130);

/// The limit of a pass's messages in memory. A pass takes fewer large messages.
pub(super) const MAX_BYTES: i64 = 16 << 20;

/// Partitions of one queue that one relay has claimed for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The number of this claim alone. Results written under it count while the partitions still have it.
    pub(super) token: i64,
    pub(super) partitions: usize,
    pub(super) queue_url: Arc<str>,
}

impl Claim {
    /// Returns each partition's share of this many rows, so that a key with many rows leaves room for other partitions.
    pub(super) fn share(&self, rows: usize) -> usize {
        rows.div_ceil(self.partitions.max(1))
    }
}

/// The number of messages in the outbox, and the age of the oldest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutboxStatus {
    /// Messages to send.
    pub pending: u64,
    /// Messages held behind a parked one of their group.
    pub held: u64,
    /// Messages that SQS has refused too often. [`Outbox::parked`](crate::Outbox::parked) lists them.
    pub parked: u64,
    /// The age of the oldest pending message.
    pub lag: Option<Duration>,
}

/// A message that SQS has refused too often.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ParkedMessage {
    /// The id of its row.
    pub id: i64,
    /// The queue that the message is for.
    pub queue_url: String,
    /// The message's group.
    pub group: Option<String>,
    /// The id that a receiver would get.
    pub message_id: String,
    /// The number of times that the message was sent.
    pub attempts: u64,
    /// The last error from SQS.
    pub error: String,
    /// The time since the message was written.
    pub age: Duration,
}

/// The statements in a database's dialect. Parameters and columns are the same for each database.
pub(super) struct Sql {
    pub(super) lock_migrations: &'static str,
    pub(super) tables: &'static str,
    pub(super) version: &'static str,
    pub(super) insert: &'static str,
    pub(super) insert_and_notify: &'static str,
    /// Lists the queues that have rows to send. It must not read all of their rows.
    pub(super) queues: &'static str,
    pub(super) add_partitions: &'static str,
    pub(super) claim: &'static str,
    pub(super) lock: &'static str,
    pub(super) hold: &'static str,
    pub(super) read: &'static str,
    pub(super) write_sent: &'static str,
    pub(super) write_failed: &'static str,
    pub(super) release: &'static str,
    pub(super) clean: &'static str,
    pub(super) status: &'static str,
    pub(super) parked: &'static str,
    pub(super) retry: &'static str,
    pub(super) release_held: &'static str,
    pub(super) notify: &'static str,
}

/// A database that can hold an outbox.
///
/// Each method runs one transaction with a time limit and ends it before it returns. No transaction stays open
/// during other network calls.
pub trait Store: sqlx::Database {
    const MIGRATIONS: &'static [Migration];
    /// How many connections a relay uses at a time.
    const CONNECTIONS: usize;
    /// Whether the database notifies about new rows.
    const LISTENS: bool;

    /// Returns the statement that begins a transaction. The database ends the transaction if its client is silent for
    /// that long.
    fn begin(mode: Mode, limit: Duration) -> String;

    /// Returns the version of the tables, 0 if there are no tables.
    fn version(access: &Access<Self>) -> impl Future<Output = Result<i64, Error>> + Send;

    fn migrate(access: &Access<Self>) -> impl Future<Output = Result<(), Error>> + Send;

    /// Inserts a row in the caller's transaction, under the caller's time limits.
    fn insert(
        connection: &mut Self::Connection,
        row: &NewRow<'_>,
        how: Insert,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// Returns the queues that have rows to send, due or not, in the order of their URLs.
    fn queues(access: &Access<Self>) -> impl Future<Output = Result<Vec<String>, Error>> + Send;

    /// Creates the partitions of a queue if they are missing.
    fn add_partitions(access: &Access<Self>, queue_url: &Arc<str>) -> impl Future<Output = Result<(), Error>> + Send;

    /// Claims partitions of the queue that have something to send and that no other relay holds.
    fn claim(access: &Access<Self>, wanted: &Wanted) -> impl Future<Output = Result<Option<Claim>, Error>> + Send;

    /// Reads the rows to send from the claimed partitions, in order, without rows whose key waits for another row. If
    /// parked rows hold the rows behind them, those are marked as held first, so that later reads skip them.
    fn read(
        access: &Access<Self>,
        claim: &Claim,
        wanted: &Wanted,
    ) -> impl Future<Output = Result<Vec<Row>, Error>> + Send;

    /// Writes the results of rows, except in partitions that another relay has claimed since. Returns whether all
    /// partitions still belonged to the claim. Writing a result twice changes nothing, because a commit's result may be
    /// unknown.
    fn write_results(
        access: &Access<Self>,
        claim: &Claim,
        results: &[RowResult],
    ) -> impl Future<Output = Result<bool, Error>> + Send;

    fn release(access: &Access<Self>, claim: &Claim) -> impl Future<Output = Result<(), Error>> + Send;

    /// Deletes rows that were sent at least that long ago, up to a limit. Returns how many.
    fn clean(access: &Access<Self>, keep: Duration, rows: usize) -> impl Future<Output = Result<u64, Error>> + Send;

    fn status(access: &Access<Self>) -> impl Future<Output = Result<OutboxStatus, Error>> + Send;

    fn parked(access: &Access<Self>, rows: usize) -> impl Future<Output = Result<Vec<ParkedMessage>, Error>> + Send;

    /// Retries parked rows, all or the given ones, and the rows held behind them. Returns how many were parked.
    fn retry(access: &Access<Self>, ids: Option<&[i64]>) -> impl Future<Output = Result<u64, Error>> + Send;

    /// Releases held rows whose parked row is gone, or that no longer have to wait.
    fn release_held(access: &Access<Self>, holds: bool) -> impl Future<Output = Result<(), Error>> + Send;

    /// Listens for new rows on a connection outside the pool.
    fn listen(access: &Access<Self>) -> impl Future<Output = Result<Listener, Error>> + Send;

    /// Sends a notification to all listeners of the channel.
    fn notify(access: &Access<Self>, channel: &str) -> impl Future<Output = Result<(), Error>> + Send;
}

fn count(count: i64) -> u64 {
    u64::try_from(count).unwrap_or_default()
}

fn time(millis: i64) -> Duration {
    Duration::from_millis(count(millis))
}

impl From<columns::Status> for OutboxStatus {
    fn from((pending, held, parked, lag): columns::Status) -> Self {
        Self { pending: count(pending), held: count(held), parked: count(parked), lag: lag.map(time) }
    }
}

impl From<columns::Parked> for ParkedMessage {
    fn from((id, queue_url, group, message_id, attempts, error, age): columns::Parked) -> Self {
        let (attempts, error, age) = (count(attempts), error.unwrap_or_default(), time(age));
        Self { id, queue_url, group, message_id, attempts, error, age }
    }
}
