//! Why a message is not in the outbox, or an outbox cannot be used.

use std::fmt;

use redrive::SendError;

/// What an [`Outbox`](crate::Outbox) or a [`Relay`](crate::Relay) could not do.
#[derive(Debug)]
pub struct OutboxError {
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Message(SendError),
    NoTables,
    /// A prepared statement was not there any more, or was another one.
    Pooled(sqlx::Error),
    Database(sqlx::Error),
}

impl OutboxError {
    pub(super) fn no_tables() -> Self {
        Self { kind: Kind::NoTables }
    }

    /// Of the statement that writes a message, which the connection may have prepared before.
    pub(super) fn of_insert(error: sqlx::Error) -> Self {
        let kind = if is_of_a_pooler(&error) { Kind::Pooled(error) } else { Kind::Database(error) };
        Self { kind }
    }

    /// SQS would refuse the message. Nothing was written, and the transaction is as it was.
    pub fn as_send_error(&self) -> Option<&SendError> {
        match &self.kind {
            Kind::Message(error) => Some(error),
            _ => None,
        }
    }

    /// The database has failed. A transaction that it fails in is over.
    pub fn as_database_error(&self) -> Option<&sqlx::Error> {
        match &self.kind {
            Kind::Database(error) | Kind::Pooled(error) => Some(error),
            _ => None,
        }
    }

    /// The database did not answer in time. Whether it has done what it was asked for is unknown.
    pub fn is_timeout(&self) -> bool {
        match self.as_database_error() {
            Some(sqlx::Error::Io(error)) => error.kind() == std::io::ErrorKind::TimedOut,
            Some(error) => matches!(error, sqlx::Error::PoolTimedOut),
            None => false,
        }
    }

    /// A prepared statement was lost between two transactions, as behind a pooler in transaction mode. The transaction must be rolled back.
    /// [`Outbox::without_prepared_statements`](crate::Outbox::without_prepared_statements) is for such a database.
    pub fn is_pooled(&self) -> bool {
        matches!(self.kind, Kind::Pooled(_))
    }

    /// The tables of the outbox are not there, or are of an older version.
    pub fn is_no_tables(&self) -> bool {
        matches!(self.kind, Kind::NoTables)
    }
}

/// What a database answers where the connection of the server is not the one that the statement was prepared on.
fn is_of_a_pooler(error: &sqlx::Error) -> bool {
    const DUPLICATE_PREPARED_STATEMENT: &str = "42P05";
    const INVALID_SQL_STATEMENT_NAME: &str = "26000";
    // A statement of the same name takes other parameters.
    const PROTOCOL_VIOLATION: &str = "08P01";
    const SIGNS: [&str; 3] = [DUPLICATE_PREPARED_STATEMENT, INVALID_SQL_STATEMENT_NAME, PROTOCOL_VIOLATION];
    match error {
        sqlx::Error::Database(error) => error.code().is_some_and(|code| SIGNS.contains(&&*code)),
        sqlx::Error::Protocol(_) => true,
        _ => false,
    }
}

impl From<SendError> for OutboxError {
    fn from(error: SendError) -> Self {
        Self { kind: Kind::Message(error) }
    }
}

impl From<sqlx::Error> for OutboxError {
    fn from(error: sqlx::Error) -> Self {
        Self { kind: Kind::Database(error) }
    }
}

impl fmt::Display for OutboxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Message(error) => error.fmt(f),
            Kind::NoTables => f.write_str(
                "the database has no tables for the outbox, or older ones; `Outbox::migrate` or `redrive outbox migrate` makes them, \
                 and `redrive outbox migrations` prints the SQL for migrations of your own",
            ),
            Kind::Pooled(error) => write!(
                f,
                "the outbox's database has lost a prepared statement ({error}), as behind a pooler in transaction mode; roll the transaction \
                 back, and use `Outbox::without_prepared_statements` and sqlx's `persistent(false)`, or a pooler in session mode"
            ),
            Kind::Database(error) => write!(f, "the outbox's database: {error}"),
        }
    }
}

impl std::error::Error for OutboxError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.kind {
            Kind::Message(_) | Kind::NoTables => None,
            Kind::Database(error) | Kind::Pooled(error) => Some(error),
        }
    }
}
