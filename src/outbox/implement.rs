//! [`Store`](super::store::Store) for a database whose module has its `SQL`, its `MIGRATIONS` and its `listen`.
//!
//! A macro, because sqlx says what a database can do with bounds that would have to stand again at each generic function.

use std::future::Future;

use sqlx::Error;

macro_rules! implement_store {
    ($database:ty) => {
        impl Store for $database {
            const MIGRATIONS: &'static [Migration] = MIGRATIONS;

            async fn version(pool: &Pool<Self>) -> Result<i64, Error> {
                version(&mut *pool.acquire().await?).await
            }

            async fn migrate(pool: &Pool<Self>) -> Result<(), Error> {
                let mut transaction = pool.begin_with(SQL.begin).await?;
                sqlx::query(SQL.lock_migrations).execute(&mut *transaction).await?;
                let version = version(&mut *transaction).await?;
                for migration in MIGRATIONS.iter().filter(|migration| migration.version > version) {
                    sqlx::raw_sql(migration.sql).execute(&mut *transaction).await?;
                }
                transaction.commit().await
            }

            async fn insert(connection: &mut Self::Connection, row: &NewRow<'_>, notify: bool) -> Result<(), Error> {
                let insert = if notify { SQL.insert_and_notify } else { SQL.insert };
                let insert = sqlx::query(insert).bind(row.message_id).bind(row.queue_url).bind(row.group_id);
                let insert = insert.bind(row.order_key.as_deref()).bind(row.lane).bind(row.body);
                let insert = insert.bind(&row.attributes).bind(row.delay_seconds).bind(row.trace_header);
                insert.execute(connection).await.map(drop)
            }

            async fn claim(
                pool: &Pool<Self>,
                lanes: usize,
                lease: Duration,
                wanted: &Wanted,
            ) -> Result<Option<Claim>, Error> {
                let (pool, wanted) = (pool.clone(), wanted.clone());
                to_its_end(async move {
                    let claim = sqlx::query_scalar(SQL.claim).bind(store::rows(lanes)).bind(store::millis(lease));
                    let claim = claim.bind(wanted.not_for).bind(store::millis(store::NO_LEASE));
                    let tokens: Vec<i64> = claim.fetch_all(&pool).await?;
                    Ok(tokens.first().map(|&token| Claim { token, lanes: tokens.len() }))
                })
                .await
            }

            async fn read(pool: &Pool<Self>, claim: Claim, wanted: &Wanted) -> Result<Vec<Row>, Error> {
                let (pool, Wanted { rows, holds, not_for }) = (pool.clone(), wanted.clone());
                to_its_end(async move {
                    let mut transaction = pool.begin_with(SQL.begin).await?;
                    lock_lanes(&mut *transaction, claim).await?;
                    if holds {
                        sqlx::query(SQL.hold).bind(claim.token).execute(&mut *transaction).await?;
                    }
                    let read = sqlx::query_as(SQL.read).bind(claim.token);
                    let read = read.bind(store::rows(claim.share(rows))).bind(store::rows(rows));
                    let read = read.bind(store::MAX_BYTES).bind(holds).bind(not_for);
                    let rows: Vec<columns::Row> = read.fetch_all(&mut *transaction).await?;
                    transaction.commit().await?;
                    Ok(rows.into_iter().map(Row::from).collect())
                })
                .await
            }

            async fn mark(pool: &Pool<Self>, claim: Claim, marks: &[Mark]) -> Result<bool, Error> {
                let (pool, (sent, failed)) = (pool.clone(), mark::as_json(marks));
                to_its_end(async move {
                    let mut transaction = pool.begin_with(SQL.begin).await?;
                    let are_all_there = lock_lanes(&mut *transaction, claim).await? == claim.lanes;
                    for (statement, marks) in [(SQL.mark_sent, sent), (SQL.mark_failed, failed)] {
                        let Some(marks) = marks else { continue };
                        sqlx::query(statement).bind(claim.token).bind(marks).execute(&mut *transaction).await?;
                    }
                    transaction.commit().await?;
                    Ok(are_all_there)
                })
                .await
            }

            async fn release(pool: &Pool<Self>, claim: Claim) -> Result<(), Error> {
                let pool = pool.clone();
                let release = async move { sqlx::query(SQL.release).bind(claim.token).execute(&pool).await.map(drop) };
                to_its_end(release).await
            }

            async fn clean(pool: &Pool<Self>, keep: Duration, rows: usize) -> Result<u64, Error> {
                let pool = pool.clone();
                to_its_end(async move {
                    let clean = sqlx::query(SQL.clean).bind(store::millis(keep)).bind(store::rows(rows));
                    Ok(clean.execute(&pool).await?.rows_affected())
                })
                .await
            }

            async fn status(pool: &Pool<Self>) -> Result<OutboxStatus, Error> {
                let pool = pool.clone();
                to_its_end(async move {
                    let status: columns::Status = sqlx::query_as(SQL.status).fetch_one(&pool).await?;
                    Ok(status.into())
                })
                .await
            }

            async fn parked(pool: &Pool<Self>, rows: usize) -> Result<Vec<ParkedMessage>, Error> {
                let parked = sqlx::query_as(SQL.parked).bind(store::rows(rows));
                let parked: Vec<columns::Parked> = parked.fetch_all(pool).await?;
                Ok(parked.into_iter().map(ParkedMessage::from).collect())
            }

            async fn retry(pool: &Pool<Self>, ids: Option<&[i64]>) -> Result<u64, Error> {
                let ids = ids.map(|ids| format!("{ids:?}"));
                let mut transaction = pool.begin_with(SQL.begin).await?;
                let retried = sqlx::query(SQL.retry).bind(&ids).execute(&mut *transaction).await?;
                sqlx::query(SQL.release_held).bind(true).execute(&mut *transaction).await?;
                transaction.commit().await?;
                Ok(retried.rows_affected())
            }

            async fn release_held(pool: &Pool<Self>, holds: bool) -> Result<(), Error> {
                let pool = pool.clone();
                let release = async move { sqlx::query(SQL.release_held).bind(holds).execute(&pool).await.map(drop) };
                to_its_end(release).await
            }

            async fn listen(pool: &Pool<Self>) -> Result<Hint, Error> {
                let pool = pool.clone();
                to_its_end(async move { listen(&pool).await }).await
            }
        }

        async fn version(connection: &mut Connection) -> Result<i64, Error> {
            let tables: bool = sqlx::query_scalar(SQL.tables).fetch_one(&mut *connection).await?;
            match tables {
                true => sqlx::query_scalar(SQL.version).fetch_one(connection).await,
                false => Ok(0),
            }
        }

        /// Nobody else takes the claim's lanes until the transaction has ended. Says how many nobody else has taken before: as long as
        /// nobody has, it does no harm that the lease may be over.
        async fn lock_lanes(connection: &mut Connection, claim: Claim) -> Result<usize, Error> {
            let lanes: Vec<i64> = sqlx::query_scalar(SQL.lock).bind(claim.token).fetch_all(connection).await?;
            Ok(lanes.len())
        }

        type Connection = <$database as sqlx::Database>::Connection;
    };
}
pub(super) use implement_store;

/// What a relay asks of the database is answered, though the relay be dropped meanwhile: a connection that is left in the middle of an
/// answer may be lost to its pool, which is the application's.
pub(super) async fn to_its_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Error> {
    match tokio::spawn(work).await {
        Ok(result) => result,
        // It panicked, or its runtime has ended.
        Err(_) => Err(Error::WorkerCrashed),
    }
}
