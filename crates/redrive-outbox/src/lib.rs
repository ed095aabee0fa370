//! A transactional outbox: messages are stored in your transaction and sent after its commit.
//!
//! ```text
//! enqueue -> row -> relay: claim (partitions) -> read -> lines -> producer -> results -> release
//! ```
//!
//! A row is sent at least once. It is marked after the send, so a relay that dies in between causes a copy under the
//! same id.
//!
//! # Stability
//!
//! The API contains types of three crates. A breaking version of one of them needs a breaking release of this crate:
//!
//! - `sqlx` 0.9: `Pool`, `Transaction`, `Postgres`, `Sqlite` and `Error`;
//! - `aws-sdk-sqs` 1: `Client`;
//! - `redrive` 0.1: `IntoOutgoing`, `TraceContext`, `Backoff` and `SendError`.
//!
//! None is re-exported. The [policy of `redrive`](redrive#stability) applies otherwise, also to the minimum Rust
//! version. The tables change only through numbered [migrations](Outbox::migrations).

mod access;
mod chores;
mod circuit_breaker;
mod columns;
mod error;
mod notify;
mod pass;
mod postgres;
mod queues;
mod relay;
mod row;
mod row_result;
mod settings;
mod sql_store;
mod sqlite;
mod stop;
mod store;

use redrive::internals::{Stored, TraceSource};
use redrive::{IntoOutgoing, TraceContext};
use sqlx::{Pool, Postgres, Sqlite, Transaction};

pub use self::error::OutboxError;
pub use self::relay::Relay;
pub use self::row_result::WhenParked;
pub use self::store::{Migration, OutboxStatus, ParkedMessage};

use self::access::{Access, MIGRATION_TIMEOUT, WHOLE_TABLE_TIMEOUT};
use self::row::NewRow;
use self::store::{Insert, Store};

#[doc = include_str!("docs.md")]
pub mod docs {}

/// Writes messages for one queue into a database, within your transactions.
///
/// A [`Relay`] sends the messages of committed transactions. Messages of a transaction that is rolled back are never
/// sent.
///
/// ```no_run
/// use redrive::Outgoing;
/// use redrive_outbox::Outbox;
///
/// #[derive(serde::Serialize)]
/// struct Order { order_id: i64, customer: String }
///
/// # async fn example(pool: sqlx::PgPool, order: Order) -> Result<(), Box<dyn std::error::Error>> {
/// let orders = Outbox::new("https://sqs.eu-west-1.amazonaws.com/123456789012/orders.fifo");
///
/// let mut transaction = pool.begin().await?;
/// sqlx::query("insert into orders (id, customer) values ($1, $2)")
///     .bind(order.order_id)
///     .bind(&order.customer)
///     .execute(&mut *transaction)
///     .await?;
/// orders.enqueue(&mut transaction, Outgoing::json(&order)?.group(&order.customer)).await?;
/// transaction.commit().await?;
/// # Ok(()) }
/// ```
///
/// [The chapter on the outbox](crate::docs) describes order, messages that SQS refuses, and operation.
#[derive(Clone, Debug)]
#[must_use = "an outbox writes nothing until a message is enqueued"]
pub struct Outbox {
    queue_url: String,
    is_fifo: bool,
    notifies: bool,
    prepares: bool,
    trace_context: TraceSource,
}

/// A database that can hold an outbox: [`Postgres`] or [`Sqlite`].
pub trait OutboxDatabase: Store {}

impl OutboxDatabase for Postgres {}
impl OutboxDatabase for Sqlite {}

impl Outbox {
    /// Creates an outbox for messages to that queue.
    pub fn new(queue_url: impl Into<String>) -> Self {
        let queue_url = queue_url.into();
        let is_fifo = queue_url.ends_with(".fifo");
        Self { queue_url, is_fifo, notifies: true, prepares: true, trace_context: TraceSource::default() }
    }

    /// Disables PostgreSQL's `NOTIFY`, which is on by default. A relay then finds messages when it looks, every second
    /// by default.
    ///
    /// Commits of transactions that notify wait for one another. Disable it for thousands of commits a second.
    pub fn without_notify(self) -> Self {
        Self { notifies: false, ..self }
    }

    /// Writes messages without a prepared statement, for a database behind a pooler in transaction mode, such as
    /// PgBouncer with `pool_mode = transaction`. Each message then takes two round trips instead of one.
    ///
    /// By default the connection keeps the statement prepared. Such a pooler gives each transaction another server
    /// connection. There the statement is unknown, or its name belongs to another one. `enqueue` then fails with an
    /// error that names this method ([`OutboxError::is_pooled`]). A relay never prepares statements and needs no
    /// setting.
    pub fn without_prepared_statements(self) -> Self {
        Self { prepares: false, ..self }
    }

    /// Sets the source of each message's trace context, as for [a producer](redrive::ProducerBuilder::trace_context).
    pub fn trace_context(self, context: impl Fn() -> TraceContext + Send + Sync + 'static) -> Self {
        Self { trace_context: TraceSource::new(context), ..self }
    }

    /// Writes a message that is sent after the transaction commits. Returns the id that a receiver gets as
    /// [`SendId`](redrive::SendId): the message's own deduplication id, or a new one.
    ///
    /// It takes one round trip to the database. Messages of a FIFO group are sent in the order in which they were
    /// written. Messages of concurrent transactions are sent in the order in which they become visible. If you need
    /// another order, lock a context row first.
    ///
    /// The transaction is yours, and so are its time limits. If you must not wait for a silent database, put the whole
    /// transaction into a [`timeout`](tokio::time::timeout), and close the connection after a timeout.
    ///
    /// # Errors
    ///
    /// Returns an error if SQS would refuse the message or if the database fails.
    pub async fn enqueue<DB: OutboxDatabase>(
        &self,
        transaction: &mut Transaction<'_, DB>,
        message: impl IntoOutgoing,
    ) -> Result<String, OutboxError> {
        let message = Stored::new(message, self.is_fifo, &self.trace_context)?;
        let row = NewRow::of(&message, &self.queue_url, self.is_fifo);
        let how = Insert { notifies: self.notifies, prepares: self.prepares };
        DB::insert(transaction, &row, how).await.map_err(OutboxError::of_insert)?;
        Ok(message.id)
    }
}

/// Operations on all messages of a database's outbox, for any queue.
impl Outbox {
    /// Returns the migrations of the outbox's tables, oldest first.
    pub fn migrations<DB: OutboxDatabase>() -> &'static [Migration] {
        DB::MIGRATIONS
    }

    /// Applies the migrations that the database does not have yet. Concurrent calls wait for one another.
    ///
    /// It takes 10 minutes at most. If building an index takes longer, run the SQL of [`migrations`](Self::migrations)
    /// yourself.
    ///
    /// # Errors
    ///
    /// Returns an error if the database fails. Nothing has changed then.
    pub async fn migrate<DB: OutboxDatabase>(pool: &Pool<DB>) -> Result<(), OutboxError> {
        Ok(DB::migrate(&Access::once(pool, MIGRATION_TIMEOUT)).await?)
    }

    /// Counts the messages in the outbox and returns the age of the oldest. It reads all rows, so call it seldom. If
    /// the database does not answer within 60 s, it returns an error ([`OutboxError::is_timeout`]), as
    /// [`parked`](Self::parked) and [`retry`](Self::retry) do.
    ///
    /// # Errors
    ///
    /// Returns an error if the database fails.
    pub async fn status<DB: OutboxDatabase>(pool: &Pool<DB>) -> Result<OutboxStatus, OutboxError> {
        Ok(DB::status(&Access::once(pool, WHOLE_TABLE_TIMEOUT)).await?)
    }

    /// Returns parked messages, oldest first, `limit` at most. SQS has refused these messages too often.
    ///
    /// # Errors
    ///
    /// Returns an error if the database fails.
    pub async fn parked<DB: OutboxDatabase>(pool: &Pool<DB>, limit: usize) -> Result<Vec<ParkedMessage>, OutboxError> {
        Ok(DB::parked(&Access::once(pool, WHOLE_TABLE_TIMEOUT), limit).await?)
    }

    /// Retries parked messages, all of them or those with these ids, and then the messages held behind them. Returns
    /// how many parked messages there were.
    ///
    /// # Errors
    ///
    /// Returns an error if the database fails.
    pub async fn retry<DB: OutboxDatabase>(pool: &Pool<DB>, ids: Option<&[i64]>) -> Result<u64, OutboxError> {
        Ok(DB::retry(&Access::once(pool, WHOLE_TABLE_TIMEOUT), ids).await?)
    }
}
