//! What is asked of a database, in the same words of each.

use std::future::Future;
use std::time::Duration;

use sqlx::{Error, Pool};

use super::hint::Hint;
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
    /// So many at a time.
    pub(super) rows: usize,
    /// Whether a parked row has those of its key wait that are behind it.
    pub(super) holds: bool,
    /// Queues that take nothing for the time being, as a list in JSON.
    pub(super) not_for: String,
}

/// SQS drops the second of two messages with a deduplication id within 5 minutes. What a relay that died has sent is sent again after
/// its lease.
pub(super) const LONGEST_LEASE: Duration = Duration::from_secs(120);

/// What has longer to go than this is no lease: it was one before the database's clock was set back. Clocks are put right by a few
/// seconds, and that ends none.
pub(super) const NO_LEASE: Duration = Duration::from_secs(130);

/// A round has its messages in memory: of large ones it takes fewer.
pub(super) const MAX_BYTES: i64 = 16 << 20;

/// Lanes that one relay has to itself, for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Of this claim alone. What is written under it counts as long as the lanes have it.
    pub(super) token: i64,
    pub(super) lanes: usize,
}

impl Claim {
    /// How many rows of each lane, of so many of all: a key with many is not to leave the other lanes without.
    pub(super) fn share(self, rows: usize) -> usize {
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
    pub(super) begin: &'static str,
    pub(super) lock_migrations: &'static str,
    pub(super) tables: &'static str,
    pub(super) version: &'static str,
    pub(super) insert: &'static str,
    pub(super) insert_and_notify: &'static str,
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
}

/// A database that can have an outbox.
///
/// Each method is a transaction of its own, and over when it returns: none is open while the network is used for something else.
pub trait Store: sqlx::Database {
    const MIGRATIONS: &'static [Migration];

    /// The version of the tables, 0 where there are none.
    fn version(pool: &Pool<Self>) -> impl Future<Output = Result<i64, Error>> + Send;

    fn migrate(pool: &Pool<Self>) -> impl Future<Output = Result<(), Error>> + Send;

    /// Within the transaction of that connection.
    fn insert(
        connection: &mut Self::Connection,
        row: &NewRow<'_>,
        notify: bool,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// Takes so many lanes with something to send, at most, that nobody else has.
    fn claim(
        pool: &Pool<Self>,
        lanes: usize,
        lease: Duration,
        wanted: &Wanted,
    ) -> impl Future<Output = Result<Option<Claim>, Error>> + Send;

    /// What is to be sent of the claim's lanes, in order, and nothing whose key waits for another row. Where parked rows hold those
    /// behind them, these are put aside first, so that nobody looks at them again and again.
    fn read(pool: &Pool<Self>, claim: Claim, wanted: &Wanted) -> impl Future<Output = Result<Vec<Row>, Error>> + Send;

    /// Writes down what has become of rows, but for those of lanes that another has claimed since. Says whether there were none.
    fn mark(pool: &Pool<Self>, claim: Claim, marks: &[Mark]) -> impl Future<Output = Result<bool, Error>> + Send;

    fn release(pool: &Pool<Self>, claim: Claim) -> impl Future<Output = Result<(), Error>> + Send;

    /// Deletes up to so many rows that were sent so long ago. Says how many.
    fn clean(pool: &Pool<Self>, keep: Duration, rows: usize) -> impl Future<Output = Result<u64, Error>> + Send;

    fn status(pool: &Pool<Self>) -> impl Future<Output = Result<OutboxStatus, Error>> + Send;

    fn parked(pool: &Pool<Self>, rows: usize) -> impl Future<Output = Result<Vec<ParkedMessage>, Error>> + Send;

    /// Has parked rows sent again, all or those, and what waits behind them. Says how many were parked.
    fn retry(pool: &Pool<Self>, ids: Option<&[i64]>) -> impl Future<Output = Result<u64, Error>> + Send;

    /// Has the rows go on that are held for no reason: what was parked before them is not any more, or holds nothing.
    fn release_held(pool: &Pool<Self>, holds: bool) -> impl Future<Output = Result<(), Error>> + Send;

    fn listen(pool: &Pool<Self>) -> impl Future<Output = Result<Hint, Error>> + Send;
}

/// What both databases bring, as they bring it.
pub(super) mod columns {
    pub(in crate::outbox) type Row =
        (i64, String, Option<String>, Option<String>, String, String, String, Option<i64>, Option<String>, i64, i64);
    pub(in crate::outbox) type Status = (i64, i64, i64, Option<i64>);
    pub(in crate::outbox) type Parked = (i64, String, Option<String>, String, i64, Option<String>, i64);
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
