//! Messages that are written in the transaction that they belong to, and sent once it is committed.
//!
//! ```text
//! enqueue -> row -> relay: claim (lanes) -> read -> lines -> producer -> mark -> release
//! ```
//!
//! A row is sent at least once. It is marked after that, so whoever dies in between has it sent again, under the same id.

mod access;
mod chores;
mod error;
mod hint;
mod implement;
mod mark;
mod pauses;
mod postgres;
mod queues;
mod relay;
mod round;
mod row;
mod sqlite;
mod store;

use redrive::internals::{Stored, TraceSource};
use redrive::{IntoOutgoing, TraceContext};
use sqlx::{Pool, Postgres, Sqlite, Transaction};

pub use self::error::OutboxError;
pub use self::mark::WhenParked;
pub use self::relay::Relay;
pub use self::store::{Migration, OutboxStatus, ParkedMessage};

use self::access::{Access, MIGRATION_TIMEOUT, WHOLE_TABLE_TIMEOUT};
use self::row::NewRow;
use self::store::{Insert, Store};

#[doc = include_str!("docs.md")]
pub mod docs {}

/// Writes messages for one queue into a database, in the transactions that they belong to.
///
/// What is committed is sent, and what is rolled back never was. A [`Relay`] sends it.
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
/// [The chapter on the outbox](crate::docs) has what order holds, what happens to messages that SQS refuses, and what it takes
/// to operate one.
#[derive(Clone, Debug)]
#[must_use = "an outbox writes nothing until a message is enqueued"]
pub struct Outbox {
    queue_url: String,
    is_fifo: bool,
    notifies: bool,
    prepares: bool,
    trace_context: TraceSource,
}

/// A database that can have an outbox: [`Postgres`] and [`Sqlite`] can.
pub trait OutboxDatabase: Store {}

impl OutboxDatabase for Postgres {}
impl OutboxDatabase for Sqlite {}

impl Outbox {
    /// An outbox for messages to that queue.
    pub fn new(queue_url: impl Into<String>) -> Self {
        let queue_url = queue_url.into();
        let is_fifo = queue_url.ends_with(".fifo");
        Self { queue_url, is_fifo, notifies: true, prepares: true, trace_context: TraceSource::default() }
    }

    /// Leaves out PostgreSQL's `NOTIFY`. A relay then finds the messages when it looks for them, every second by default.
    ///
    /// Commits of transactions that notify wait for one another. Where thousands of them a second are wanted, it is better left out.
    pub fn without_notify(self) -> Self {
        Self { notifies: false, ..self }
    }

    /// Writes without a prepared statement, for a database behind a pooler in transaction mode, as PgBouncer is with
    /// `pool_mode = transaction`. Each message then takes two round trips to the database in place of one.
    ///
    /// By default the connection keeps the statement prepared. Such a pooler gives each transaction another connection of the server, where
    /// the statement is unknown, or another one has its name: `enqueue` fails then, with an error that names this method
    /// ([`OutboxError::is_pooled`]). A relay never prepares statements, and needs no setting.
    pub fn without_prepared_statements(self) -> Self {
        Self { prepares: false, ..self }
    }

    /// Where the trace of a message comes from, as for [a producer](redrive::ProducerBuilder::trace_context).
    pub fn trace_context(self, context: impl Fn() -> TraceContext + Send + Sync + 'static) -> Self {
        Self { trace_context: TraceSource::new(context), ..self }
    }

    /// Writes a message, to be sent when the transaction is committed. Returns the id that its receiver knows it by
    /// ([`SendId`](redrive::SendId)): the message's own deduplication id, or a new one.
    ///
    /// It takes one round trip to the database. Messages of a FIFO group are sent in the order in which they were written, and where
    /// two transactions write at the same time, in the order in which these are seen: whoever needs one order of both locks something
    /// first, as the row that both are about.
    ///
    /// The transaction is the caller's, and so are its time limits: a caller that must not wait for a database that has gone silent puts the
    /// whole transaction into a [`timeout`](tokio::time::timeout), and closes the connection after that.
    ///
    /// # Errors
    ///
    /// Where SQS would refuse the message, or the database fails.
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

/// What is done to the outbox of a database, whatever queues its messages are for.
impl Outbox {
    /// The steps to the tables as they are to be, oldest first.
    pub fn migrations<DB: OutboxDatabase>() -> &'static [Migration] {
        DB::MIGRATIONS
    }

    /// Takes the steps that the database has not taken yet. Several at a time wait for one another.
    ///
    /// It ends after 10 minutes at most. For a table on which an index takes longer, run the SQL of [`migrations`](Self::migrations) yourself.
    ///
    /// # Errors
    ///
    /// Where the database fails; nothing has changed then.
    pub async fn migrate<DB: OutboxDatabase>(pool: &Pool<DB>) -> Result<(), OutboxError> {
        Ok(DB::migrate(&Access::once(pool, MIGRATION_TIMEOUT)).await?)
    }

    /// How many messages are there, and for how long. It counts them, so it is for looking now and then. A database that does not answer
    /// within 60 s is an error ([`OutboxError::is_timeout`]), as for [`parked`](Self::parked) and [`retry`](Self::retry).
    ///
    /// # Errors
    ///
    /// Where the database fails.
    pub async fn status<DB: OutboxDatabase>(pool: &Pool<DB>) -> Result<OutboxStatus, OutboxError> {
        Ok(DB::status(&Access::once(pool, WHOLE_TABLE_TIMEOUT)).await?)
    }

    /// Up to so many of the messages that SQS has refused too often, oldest first.
    ///
    /// # Errors
    ///
    /// Where the database fails.
    pub async fn parked<DB: OutboxDatabase>(pool: &Pool<DB>, limit: usize) -> Result<Vec<ParkedMessage>, OutboxError> {
        Ok(DB::parked(&Access::once(pool, WHOLE_TABLE_TIMEOUT), limit).await?)
    }

    /// Has parked messages sent again, all of them or those with these ids, and then what waits behind them. Says how many were parked.
    ///
    /// # Errors
    ///
    /// Where the database fails.
    pub async fn retry<DB: OutboxDatabase>(pool: &Pool<DB>, ids: Option<&[i64]>) -> Result<u64, OutboxError> {
        Ok(DB::retry(&Access::once(pool, WHOLE_TABLE_TIMEOUT), ids).await?)
    }
}
