//! The databases that each test of the outbox runs on, for real.

use std::env;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use redrive::{Outbox, OutboxDatabase};
use sqlx::postgres::PgPoolOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions};
use sqlx::{AssertSqlSafe, Pool, Postgres, Sqlite};

use crate::postgres::Server;

/// A database with tables for an outbox, and what a test wants to know of it.
pub(crate) trait TestDatabase: OutboxDatabase {
    /// Keeps the database for as long as it is there.
    type Keeper: Send + Sync;

    async fn fresh() -> (Pool<Self>, Self::Keeper);
    async fn execute(pool: &Pool<Self>, sql: &str);
    async fn numbers(pool: &Pool<Self>, sql: &str) -> Vec<i64>;
    async fn texts(pool: &Pool<Self>, sql: &str) -> Vec<String>;
    /// As if their time had come.
    async fn end_leases(pool: &Pool<Self>);
}

macro_rules! queries {
    () => {
        async fn execute(pool: &Pool<Self>, sql: &str) {
            sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(pool).await.unwrap();
        }

        async fn numbers(pool: &Pool<Self>, sql: &str) -> Vec<i64> {
            sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_all(pool).await.unwrap()
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
}

/// A new database of that server.
pub(crate) async fn postgres(server: &Server) -> Pool<Postgres> {
    let name = format!("t{}", fastrand::u64(..));
    let options = || PgPoolOptions::new().acquire_timeout(Duration::from_secs(60));
    let first = options().max_connections(1).connect(&server.url("postgres")).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(format!("create database {name}"))).execute(&first).await.unwrap();
    first.close().await;
    let pool = options().max_connections(10).connect(&server.url(&name)).await.unwrap();
    Outbox::migrate(&pool).await.unwrap();
    pool
}

/// A file, and those beside it.
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
        let file = env::temp_dir().join(format!("redrive-{}-{}.db", std::process::id(), fastrand::u64(..)));
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
