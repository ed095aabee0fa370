//! The real databases that each test of the outbox runs on.

use std::env;
use std::future::Future;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use redrive_outbox::{Outbox, OutboxDatabase};
use sqlx::postgres::PgPoolOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePoolOptions};
use sqlx::{AssertSqlSafe, Pool, Postgres, Sqlite};

use crate::doom::Doom;
use crate::kit::in_time;
use crate::postgres::Server;
use crate::proxy::Proxy;

/// A database with the outbox's tables, and the operations that tests need.
pub(crate) trait TestDatabase: OutboxDatabase {
    /// Keeps the database alive while it is held.
    type Keeper: Send + Sync;

    async fn fresh() -> (Pool<Self>, Self::Keeper);
    async fn execute(pool: &Pool<Self>, sql: &str);
    async fn numbers(pool: &Pool<Self>, sql: &str) -> Vec<i64>;
    /// Returns numbers, or the error of a database that is down.
    async fn try_numbers(pool: &Pool<Self>, sql: &str) -> Result<Vec<i64>, sqlx::Error>;
    async fn texts(pool: &Pool<Self>, sql: &str) -> Vec<String>;
    /// Ends all leases now.
    async fn end_leases(pool: &Pool<Self>);
    /// Sets the database's clock back by this many seconds.
    async fn set_clock_back(pool: &Pool<Self>, seconds: u32);

    /// The address at which the doomed relay finds the database.
    type Door: Send + 'static;

    async fn door(pool: &Pool<Self>, doom: Doom) -> Self::Door;
    /// Creates a pool for the relay alone.
    fn enter(door: Self::Door) -> impl Future<Output = Pool<Self>> + Send;
    /// Waits until the database has closed the sessions of dead clients.
    async fn settle(pool: &Pool<Self>);
}

macro_rules! queries {
    () => {
        async fn execute(pool: &Pool<Self>, sql: &str) {
            sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(pool).await.unwrap();
        }

        async fn numbers(pool: &Pool<Self>, sql: &str) -> Vec<i64> {
            Self::try_numbers(pool, sql).await.unwrap()
        }

        async fn try_numbers(pool: &Pool<Self>, sql: &str) -> Result<Vec<i64>, sqlx::Error> {
            sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_all(pool).await
        }

        async fn texts(pool: &Pool<Self>, sql: &str) -> Vec<String> {
            sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_all(pool).await.unwrap()
        }
    };
}

impl TestDatabase for Postgres {
    type Keeper = Arc<Server>;

    async fn fresh() -> (Pool<Self>, Arc<Server>) {
        let server = tokio::task::spawn_blocking(Server::shared).await.unwrap();
        let pool = postgres(&server).await;
        (pool, server)
    }

    queries!();

    async fn end_leases(pool: &Pool<Self>) {
        Self::execute(pool, "update redrive_outbox_lane set leased_until = '-infinity'").await;
    }

    async fn set_clock_back(pool: &Pool<Self>, seconds: u32) {
        let by = format!("interval '{seconds} s'");
        Self::execute(pool, &format!("update redrive_outbox_lane set leased_until = leased_until + {by}")).await;
        let rows = format!("enqueued_at = enqueued_at + {by}, next_attempt_at = next_attempt_at + {by}");
        Self::execute(pool, &format!("update redrive_outbox set {rows}")).await;
    }

    type Door = String;

    async fn door(pool: &Pool<Self>, doom: Doom) -> String {
        let name = Self::texts(pool, "select current_database()::text").await.remove(0);
        let server = Self::numbers(pool, "select inet_server_port()::bigint").await.remove(0);
        let proxy = Proxy::with_gate(u16::try_from(server).unwrap(), doom).await;
        format!("postgres://redrive@127.0.0.1:{}/{name}?application_name=doomed", proxy.port)
    }

    async fn enter(url: String) -> Pool<Self> {
        PgPoolOptions::new().max_connections(4).connect_lazy(&url).unwrap()
    }

    async fn settle(pool: &Pool<Self>) {
        let left = "select count(*) from pg_stat_activity
            where datname = current_database() and application_name = 'doomed'";
        in_time(async {
            while Self::numbers(pool, left).await != [0] {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
    }
}

/// Returns a new number each time, whatever seed a test has set.
fn number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Creates a new database on that server.
pub(crate) async fn postgres(server: &Server) -> Pool<Postgres> {
    let name = format!("t{}", number());
    let options = || PgPoolOptions::new().acquire_timeout(Duration::from_secs(60));
    let first = options().max_connections(1).connect(&server.url("postgres")).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(format!("create database {name}"))).execute(&first).await.unwrap();
    first.close().await;
    let pool = options().max_connections(10).connect(&server.url(&name)).await.unwrap();
    Outbox::migrate(&pool).await.unwrap();
    pool
}

/// A database file, with its journal files.
pub(crate) struct File(PathBuf);

impl Drop for File {
    fn drop(&mut self) {
        for suffix in ["", "-wal", "-shm"] {
            let mut path = self.0.clone().into_os_string();
            path.push(suffix);
            let _ = std::fs::remove_file(path);
        }
    }
}

impl TestDatabase for Sqlite {
    type Keeper = File;

    async fn fresh() -> (Pool<Self>, File) {
        let file = env::temp_dir().join(format!("redrive-{}-{}.db", std::process::id(), number()));
        let options = SqliteConnectOptions::new().filename(&file).create_if_missing(true);
        let options = options.journal_mode(SqliteJournalMode::Wal).busy_timeout(Duration::from_secs(30));
        let pool = SqlitePoolOptions::new().max_connections(4).connect_with(options).await.unwrap();
        Outbox::migrate(&pool).await.unwrap();
        (pool, File(file))
    }

    queries!();

    async fn end_leases(pool: &Pool<Self>) {
        Self::execute(pool, "update redrive_outbox_lane set leased_until = 0").await;
    }

    async fn set_clock_back(pool: &Pool<Self>, seconds: u32) {
        Self::execute(pool, &format!("update redrive_outbox_lane set leased_until = leased_until + {seconds} * 1000"))
            .await;
        let by = format!("{seconds} * 1000");
        let rows = format!("enqueued_at = enqueued_at + {by}, next_attempt_at = next_attempt_at + {by}");
        Self::execute(pool, &format!("update redrive_outbox set {rows}")).await;
    }

    type Door = (SqliteConnectOptions, Doom);

    async fn door(pool: &Pool<Self>, doom: Doom) -> (SqliteConnectOptions, Doom) {
        (pool.connect_options().as_ref().clone(), doom)
    }

    async fn enter((options, doom): (SqliteConnectOptions, Doom)) -> Pool<Self> {
        let pool = SqlitePoolOptions::new().max_connections(4).after_connect(move |connection, _| {
            let doom = doom.clone();
            Box::pin(async move { hook(connection, doom).await })
        });
        pool.connect_lazy_with(options)
    }

    async fn settle(pool: &Pool<Self>) {
        // A commit that is still running holds the lock until it ends.
        pool.begin_with("begin immediate").await.unwrap().rollback().await.unwrap();
    }
}

/// Stops at each commit. A process that dies there leaves an open transaction, or a commit whose result it never
/// learned.
async fn hook(connection: &mut SqliteConnection, doom: Doom) -> Result<(), sqlx::Error> {
    let written = Arc::new(Mutex::new(String::from("nothing")));
    let mut handle = connection.lock_handle().await?;
    let last = written.clone();
    handle.set_update_hook(move |update| *last.lock().unwrap() = update.table.to_owned());
    handle.set_commit_hook(move || {
        let table = std::mem::replace(&mut *written.lock().unwrap(), String::from("nothing"));
        let is_committed = doom.pass_blocking(&format!("a commit of {table} begins")).is_ok();
        if is_committed {
            // The commit succeeded, even if its relay is gone now.
            let _ = doom.pass_blocking(&format!("a commit of {table} is over"));
        }
        is_committed
    });
    Ok(())
}

/// Runs each test on each database.
macro_rules! on_each_database {
    ($($test:ident)*) => {
        mod on_postgres {
            $(#[tokio::test]
            async fn $test() {
                super::$test::<sqlx::Postgres>().await;
            })*
        }
        mod on_sqlite {
            $(#[tokio::test]
            async fn $test() {
                super::$test::<sqlx::Sqlite>().await;
            })*
        }
    };
}
pub(crate) use on_each_database;
