//! The database that an outbox is in.

use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use sqlx::{PgPool, SqlitePool};

#[derive(Args)]
pub(super) struct DatabaseArguments {
    /// The database, as postgres://user@host/name or sqlite:///path/to/file.db
    #[arg(long, value_name = "URL", env = "DATABASE_URL", hide_env_values = true)]
    database_url: String,
}

/// A pool of connections to it.
pub(super) enum Database {
    Postgres(PgPool),
    Sqlite(SqlitePool),
}

/// Does the same with either of them.
macro_rules! with_pool {
    ($database:expr, $pool:ident => $work:expr) => {
        match $database {
            Database::Postgres($pool) => $work,
            Database::Sqlite($pool) => $work,
        }
    };
}
pub(super) use with_pool;

/// A relay uses four at a time, and one for its chores.
const CONNECTIONS: u32 = 5;
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// Another process may be writing.
const BUSY_LIMIT: Duration = Duration::from_secs(10);

impl DatabaseArguments {
    pub(super) async fn connect(&self) -> Result<Database, String> {
        let url = &*self.database_url;
        // The URL may have a password in it: no error shows it.
        let problem = |error: sqlx::Error| format!("cannot reach the database of --database-url: {error}");
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            // A pooler mostly refuses this parameter, which is for numbers that an outbox does not have.
            let options = PgConnectOptions::from_str(url).map_err(problem)?.extra_float_digits(None);
            let pool = PgPoolOptions::new().max_connections(CONNECTIONS).acquire_timeout(CONNECT_LIMIT);
            Ok(Database::Postgres(pool.connect_with(options).await.map_err(problem)?))
        } else if url.starts_with("sqlite:") {
            let options = SqliteConnectOptions::from_str(url).map_err(problem)?.busy_timeout(BUSY_LIMIT);
            let pool = SqlitePoolOptions::new().max_connections(CONNECTIONS).acquire_timeout(CONNECT_LIMIT);
            Ok(Database::Sqlite(pool.connect_with(options).await.map_err(problem)?))
        } else {
            Err("--database-url begins with neither postgres:// nor sqlite:; an outbox is in one of these".to_owned())
        }
    }
}
