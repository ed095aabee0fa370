//! Why a message is not in the outbox, or an outbox cannot be used.

use std::fmt;

use crate::producer::SendError;

/// What an [`Outbox`](crate::Outbox) or a [`Relay`](crate::Relay) could not do.
#[derive(Debug)]
pub struct OutboxError {
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Message(SendError),
    NoTables,
    Database(sqlx::Error),
}

impl OutboxError {
    pub(super) fn no_tables() -> Self {
        Self { kind: Kind::NoTables }
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
            Kind::Database(error) => Some(error),
            _ => None,
        }
    }

    /// The tables of the outbox are not there, or are of an older version.
    pub fn is_no_tables(&self) -> bool {
        matches!(self.kind, Kind::NoTables)
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
            Kind::Database(error) => write!(f, "the outbox's database: {error}"),
        }
    }
}

impl std::error::Error for OutboxError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.kind {
            Kind::Message(_) | Kind::NoTables => None,
            Kind::Database(error) => Some(error),
        }
    }
}
