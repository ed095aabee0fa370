//! `redrive outbox migrate` and `migrations`.

use clap::{Args, ValueEnum};
use redrive_outbox::{Migration, Outbox};
use sqlx::{Postgres, Sqlite};

use super::database::{Database, DatabaseArguments, with_pool};
use crate::Done;

/// Create or upgrade the tables of an outbox
#[derive(Args)]
pub(super) struct MigrateArguments {
    #[command(flatten)]
    database: DatabaseArguments,
}

/// Print the SQL that creates the tables, for migrations of your own
#[derive(Args)]
#[command(after_help = "Example:
  redrive outbox migrations --database postgres > migrations/20260101000000_redrive_outbox.sql")]
pub(super) struct PrintArguments {
    /// The database system
    #[arg(long)]
    database: Kind,
    /// Leave out the steps up to this version, which the database has already
    #[arg(long, value_name = "VERSION", default_value_t = 0)]
    after: i64,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    Postgres,
    Sqlite,
}

pub(super) async fn migrate(arguments: &MigrateArguments) -> Result<Done, String> {
    let migrated = with_pool!(arguments.database.connect().await?, pool => Outbox::migrate(&pool).await);
    migrated.map_err(|error| error.to_string())?;
    Ok(Done { output: "the tables of the outbox are up to date\n".to_owned(), is_good: true })
}

pub(super) fn print(arguments: &PrintArguments) -> Done {
    let migrations = match arguments.database {
        Kind::Postgres => Outbox::migrations::<Postgres>(),
        Kind::Sqlite => Outbox::migrations::<Sqlite>(),
    };
    let missing = migrations.iter().filter(|migration| migration.version > arguments.after);
    let texts: Vec<_> = missing.map(|Migration { sql, .. }| *sql).collect();
    Done { output: texts.join("\n"), is_good: true }
}
