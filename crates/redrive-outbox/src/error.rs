//! Errors of the outbox.

use std::fmt;

use redrive::SendError;

/// The error of an [`Outbox`](crate::Outbox) or a [`Relay`](crate::Relay).
#[derive(Debug)]
pub struct OutboxError {
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Message(SendError),
    NoTables,
    /// A prepared statement was gone, or its name belonged to another one.
    Pooled(sqlx::Error),
    Database(sqlx::Error),
}

impl OutboxError {
    pub(super) fn no_tables() -> Self {
        Self { kind: Kind::NoTables }
    }

    /// Classifies an error of the statement that writes a message, which the connection may have prepared before.
    pub(super) fn of_insert(error: sqlx::Error) -> Self {
        let kind = if is_of_a_pooler(&error) { Kind::Pooled(error) } else { Kind::Database(error) };
        Self { kind }
    }

    /// Returns the reason why SQS would refuse the message. Nothing was written, and the transaction is unchanged.
    pub fn as_send_error(&self) -> Option<&SendError> {
        match &self.kind {
            Kind::Message(error) => Some(error),
            _ => None,
        }
    }

    /// Returns the database's error. The transaction in which it happened is over.
    pub fn as_database_error(&self) -> Option<&sqlx::Error> {
        match &self.kind {
            Kind::Database(error) | Kind::Pooled(error) => Some(error),
            _ => None,
        }
    }

    /// Returns whether the database did not answer in time. It is unknown whether it did the work.
    pub fn is_timeout(&self) -> bool {
        match self.as_database_error() {
            Some(sqlx::Error::Io(error)) => error.kind() == std::io::ErrorKind::TimedOut,
            Some(error) => matches!(error, sqlx::Error::PoolTimedOut),
            None => false,
        }
    }

    /// Returns whether a prepared statement was lost between two transactions, as behind a pooler in transaction mode.
    /// Roll the transaction back. Use
    /// [`Outbox::without_prepared_statements`](crate::Outbox::without_prepared_statements) with such a
    /// database.
    pub fn is_pooled(&self) -> bool {
        matches!(self.kind, Kind::Pooled(_))
    }

    /// Returns whether the outbox's tables are missing or older than this crate.
    pub fn is_no_tables(&self) -> bool {
        matches!(self.kind, Kind::NoTables)
    }
}

/// Returns whether the statement ran on another connection of the server than the one that prepared it.
fn is_of_a_pooler(error: &sqlx::Error) -> bool {
    const DUPLICATE_PREPARED_STATEMENT: &str = "42P05";
    const INVALID_SQL_STATEMENT_NAME: &str = "26000";
    // The other connection has a statement of the same name with other parameters.
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
                "the database has no outbox tables, or older ones; call `Outbox::migrate` or run `redrive outbox migrate` to create them, \
                 or print the SQL for migrations of your own with `redrive outbox migrations`",
            ),
            Kind::Pooled(error) => write!(
                f,
                "the outbox's database has lost a prepared statement ({error}), as behind a pooler in transaction mode; roll the transaction \
                 back, and use `Outbox::without_prepared_statements` and sqlx's `persistent(false)`, or a pooler in session mode"
            ),
            Kind::Database(error) => write!(f, "the outbox's database failed: {error}"),
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
