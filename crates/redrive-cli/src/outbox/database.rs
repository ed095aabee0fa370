//! The outbox's database.

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

/// A pool of connections to a database.
pub(super) enum Database {
    Postgres(PgPool),
    Sqlite(SqlitePool),
}

/// Runs the same code with either database.
macro_rules! with_pool {
    ($database:expr, $pool:ident => $work:expr) => {
        match $database {
            Database::Postgres($pool) => $work,
            Database::Sqlite($pool) => $work,
        }
    };
}
pub(super) use with_pool;

/// The connections of a relay: four at a time, and one for its chores.
const CONNECTIONS: u32 = 5;
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// How long to wait while another process writes.
const BUSY_LIMIT: Duration = Duration::from_secs(10);

impl DatabaseArguments {
    pub(super) async fn connect(&self) -> Result<Database, String> {
        let url = &*self.database_url;
        // The URL may contain a password, so errors do not show it.
        let problem = |error: sqlx::Error| format!("cannot connect to the database of --database-url: {error}");
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            // Most poolers refuse this parameter, which only affects floating-point numbers. An outbox has none.
            let options = PgConnectOptions::from_str(url).map_err(problem)?.extra_float_digits(None);
            let pool = PgPoolOptions::new().max_connections(CONNECTIONS).acquire_timeout(CONNECT_LIMIT);
            Ok(Database::Postgres(pool.connect_with(options).await.map_err(problem)?))
        } else if url.starts_with("sqlite:") {
            let options = SqliteConnectOptions::from_str(url).map_err(problem)?.busy_timeout(BUSY_LIMIT);
            let pool = SqlitePoolOptions::new().max_connections(CONNECTIONS).acquire_timeout(CONNECT_LIMIT);
            Ok(Database::Sqlite(pool.connect_with(options).await.map_err(problem)?))
        } else {
            Err("--database-url begins with neither postgres:// nor sqlite:; an outbox needs one of these databases"
                .to_owned())
        }
    }
}
