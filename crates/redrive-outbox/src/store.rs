//! What is asked of a database, in the same words of each.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use sqlx::Error;

use super::access::{Access, Mode};
use super::hint::Listener;
use super::mark::Mark;
use super::row::{NewRow, Row};

/// One step of the tables' way from version to version.
///
/// Its text holds for itself: it is what [`Outbox::migrate`](crate::Outbox::migrate) runs, and as good in a migration of your own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Migration {
    /// From 1 on, without a gap.
    pub version: i64,
    /// What it brings.
    pub name: &'static str,
    /// The statements.
    pub sql: &'static str,
}

/// What a relay looks for.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Messages for this queue.
    pub(super) queue_url: Arc<str>,
    /// In this many of its lanes at most.
    pub(super) lanes: usize,
    /// This many of them at most.
    pub(super) rows: usize,
    pub(super) lease: Duration,
    /// Whether a parked row holds back those of its key that are behind it.
    pub(super) holds: bool,
    /// Who claims. Lanes that it has claimed without hearing of it are taken again at once.
    pub(super) relay: Arc<str>,
}

/// How a row is written.
#[derive(Clone, Copy, Debug)]
pub struct Insert {
    /// Whether relays are told of it.
    pub(super) notifies: bool,
    /// Whether the connection keeps the statement for the next time.
    pub(super) prepares: bool,
}

/// The database has answered another statement than the one that was asked for.
pub(super) fn another_statement() -> Error {
    Error::Protocol("the database ran another statement than the one that was sent".to_owned())
}

/// SQS drops the second of two messages with a deduplication id within 5 minutes. What a relay that died has sent is sent again after
/// its lease.
pub(super) const LONGEST_LEASE: Duration = Duration::from_secs(120);

/// What has longer to go than this is no lease: it was one before the database's clock was set back. Clocks are put right by a few
/// seconds, and that ends none.
pub(super) const NO_LEASE: Duration = Duration::from_secs(130);

/// A round has its messages in memory: of large ones it takes fewer.
pub(super) const MAX_BYTES: i64 = 16 << 20;

/// Lanes of one queue that one relay has to itself, for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Of this claim alone. What is written under it counts as long as the lanes have it.
    pub(super) token: i64,
    pub(super) lanes: usize,
    pub(super) queue_url: Arc<str>,
}

impl Claim {
    /// Returns how many rows each lane contributes to this many of all: a key with many rows leaves room for the other lanes.
    pub(super) fn share(&self, rows: usize) -> usize {
        rows.div_ceil(self.lanes.max(1))
    }
}

/// How the outbox is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutboxStatus {
    /// Messages that are to be sent.
    pub pending: u64,
    /// Messages that wait behind a parked one of their group.
    pub held: u64,
    /// Messages that SQS has refused too often: [`Outbox::parked`](crate::Outbox::parked) has them.
    pub parked: u64,
    /// How long the oldest pending message has been there.
    pub lag: Option<Duration>,
}

/// A message that SQS has refused too often.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ParkedMessage {
    /// Of its row.
    pub id: i64,
    /// Where it was to go.
    pub queue_url: String,
    /// Its group.
    pub group: Option<String>,
    /// By which its receiver would know it.
    pub message_id: String,
    /// How often it was sent.
    pub attempts: u64,
    /// What SQS said last.
    pub error: String,
    /// How long ago it was written.
    pub age: Duration,
}

/// The statements, in a database's own words. What they bind, and what they bring, is the same.
pub(super) struct Sql {
    pub(super) lock_migrations: &'static str,
    pub(super) tables: &'static str,
    pub(super) version: &'static str,
    pub(super) insert: &'static str,
    pub(super) insert_and_notify: &'static str,
    /// The queues that have rows to be sent. It must not go through their rows.
    pub(super) queues: &'static str,
    pub(super) add_lanes: &'static str,
    pub(super) claim: &'static str,
    pub(super) lock: &'static str,
    pub(super) hold: &'static str,
    pub(super) read: &'static str,
    pub(super) mark_sent: &'static str,
    pub(super) mark_failed: &'static str,
    pub(super) release: &'static str,
    pub(super) clean: &'static str,
    pub(super) status: &'static str,
    pub(super) parked: &'static str,
    pub(super) retry: &'static str,
    pub(super) release_held: &'static str,
    pub(super) notify: &'static str,
}

/// A database that can have an outbox.
///
/// Each method is a transaction of its own, with a time limit, and over when it returns: none is open while the network is used for
/// something else.
pub trait Store: sqlx::Database {
    const MIGRATIONS: &'static [Migration];
    /// How many connections a relay uses at a time.
    const CONNECTIONS: usize;
    /// Whether the database notifies of new rows.
    const LISTENS: bool;

    /// The statement that begins a transaction, which the database itself ends where nobody hears from its client for that long.
    fn begin(mode: Mode, limit: Duration) -> String;

    /// The version of the tables, 0 where there are none.
    fn version(access: &Access<Self>) -> impl Future<Output = Result<i64, Error>> + Send;

    fn migrate(access: &Access<Self>) -> impl Future<Output = Result<(), Error>> + Send;

    /// Within the transaction of that connection, which is the caller's, with the caller's time limits.
    fn insert(
        connection: &mut Self::Connection,
        row: &NewRow<'_>,
        how: Insert,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// The queues that have rows to be sent, due or not, in the order of their URLs.
    fn queues(access: &Access<Self>) -> impl Future<Output = Result<Vec<String>, Error>> + Send;

    /// Makes sure that the lanes of a queue can be claimed.
    fn add_lanes(access: &Access<Self>, queue_url: &Arc<str>) -> impl Future<Output = Result<(), Error>> + Send;

    /// Takes lanes of the queue that have something to send and that nobody else has.
    fn claim(access: &Access<Self>, wanted: &Wanted) -> impl Future<Output = Result<Option<Claim>, Error>> + Send;

    /// What is to be sent of the claim's lanes, in order, and nothing whose key waits for another row. Where parked rows hold those
    /// behind them, these are put aside first, so that nobody looks at them again and again.
    fn read(
        access: &Access<Self>,
        claim: &Claim,
        wanted: &Wanted,
    ) -> impl Future<Output = Result<Vec<Row>, Error>> + Send;

    /// Writes down what has become of rows, except in lanes that another has claimed since. Returns whether there were none of those.
    /// Marks that were written already change nothing: it may be unknown whether a commit has succeeded.
    fn mark(access: &Access<Self>, claim: &Claim, marks: &[Mark]) -> impl Future<Output = Result<bool, Error>> + Send;

    fn release(access: &Access<Self>, claim: &Claim) -> impl Future<Output = Result<(), Error>> + Send;

    /// Deletes up to so many rows that were sent so long ago. Returns how many.
    fn clean(access: &Access<Self>, keep: Duration, rows: usize) -> impl Future<Output = Result<u64, Error>> + Send;

    fn status(access: &Access<Self>) -> impl Future<Output = Result<OutboxStatus, Error>> + Send;

    fn parked(access: &Access<Self>, rows: usize) -> impl Future<Output = Result<Vec<ParkedMessage>, Error>> + Send;

    /// Sends parked rows again, all or those, and what waits behind them. Returns how many were parked.
    fn retry(access: &Access<Self>, ids: Option<&[i64]>) -> impl Future<Output = Result<u64, Error>> + Send;

    /// Releases the rows that are held for no reason: what was parked before them is not any more, or holds nothing.
    fn release_held(access: &Access<Self>, holds: bool) -> impl Future<Output = Result<(), Error>> + Send;

    /// Listens for new rows, on a connection outside the pool.
    fn listen(access: &Access<Self>) -> impl Future<Output = Result<Listener, Error>> + Send;

    /// Says a word on a channel, for whoever listens.
    fn notify(access: &Access<Self>, channel: &str) -> impl Future<Output = Result<(), Error>> + Send;
}

/// What both databases bring, as they bring it.
pub(super) mod columns {
    pub(crate) type Row =
        (i64, String, Option<String>, Option<String>, String, String, String, Option<i64>, Option<String>, i64, i64);
    pub(crate) type Status = (i64, i64, i64, Option<i64>);
    pub(crate) type Parked = (i64, String, Option<String>, String, i64, Option<String>, i64);
}

/// A hundred years. Databases can reckon with it.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3_600);

pub(super) fn millis(time: Duration) -> i64 {
    i64::try_from(time.min(LONGEST).as_millis()).unwrap_or(i64::MAX)
}

pub(super) fn rows(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
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
