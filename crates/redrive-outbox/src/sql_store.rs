//! Implements [`Store`](super::store::Store) for a database whose module has `SQL`, `MIGRATIONS` and its own functions.
//!
//! This is a macro because generic functions would have to repeat sqlx's trait bounds at each place.

macro_rules! impl_sql_store {
    ($database:ty) => {
        impl Store for $database {
            const MIGRATIONS: &'static [Migration] = MIGRATIONS;
            const CONNECTIONS: usize = CONNECTIONS;
            const LISTENS: bool = LISTENS;

            fn begin(mode: Mode, limit: Duration) -> String {
                begin(mode, limit)
            }

            async fn version(access: &Access<Self>) -> Result<i64, Error> {
                access
                    .transact("reading the version of the tables", Mode::Read, |connection| {
                        Box::pin(version(connection))
                    })
                    .await
            }

            async fn migrate(access: &Access<Self>) -> Result<(), Error> {
                let migrate = work(|connection| {
                    Box::pin(async move {
                        sqlx::raw_sql(SQL.lock_migrations).execute(&mut *connection).await?;
                        let version = version(connection).await?;
                        for migration in MIGRATIONS.iter().filter(|migration| migration.version > version) {
                            sqlx::raw_sql(migration.sql).execute(&mut *connection).await?;
                        }
                        Ok(())
                    })
                });
                access.transact("migrating the tables", Mode::Write, migrate).await
            }

            async fn insert(connection: &mut Self::Connection, row: &NewRow<'_>, how: Insert) -> Result<(), Error> {
                let insert = if how.notifies { SQL.insert_and_notify } else { SQL.insert };
                let check = i64::from(fastrand::u32(..));
                let insert = sqlx::query_scalar(insert).persistent(how.prepares);
                let insert = insert.bind(row.message_id).bind(row.queue_url).bind(row.group_id);
                let insert = insert.bind(row.order_key.as_deref()).bind(row.partition).bind(row.body);
                let insert = insert.bind(&row.attributes).bind(row.delay_seconds).bind(row.trace_header).bind(check);
                // Behind a pooler, another statement of the same name may have run instead.
                let answer: Option<i64> = insert.fetch_optional(connection).await?;
                if answer == Some(check) { Ok(()) } else { Err(store::another_statement()) }
            }

            async fn queues(access: &Access<Self>) -> Result<Vec<String>, Error> {
                let queues = work(|connection| {
                    let queues = sqlx::query_scalar(SQL.queues).persistent(PREPARES).fetch_all(connection);
                    Box::pin(queues)
                });
                access.transact("looking for queues with messages", Mode::Read, queues).await
            }

            async fn add_partitions(access: &Access<Self>, queue_url: &Arc<str>) -> Result<(), Error> {
                let queue_url = queue_url.clone();
                let add = work(move |connection| {
                    let queue_url = queue_url.clone();
                    Box::pin(async move {
                        let add = sqlx::query(SQL.add_partitions).persistent(PREPARES).bind(&*queue_url);
                        add.execute(connection).await.map(drop)
                    })
                });
                access.transact("adding the partitions of a queue", Mode::Write, add).await
            }

            async fn claim(access: &Access<Self>, wanted: &Wanted) -> Result<Option<Claim>, Error> {
                let wanted = wanted.clone();
                let claim = work(move |connection| {
                    let wanted = wanted.clone();
                    Box::pin(async move {
                        let claim =
                            sqlx::query_scalar(SQL.claim).persistent(PREPARES).bind(columns::rows(wanted.partitions));
                        let claim = claim.bind(columns::millis(wanted.lease)).bind(&*wanted.queue_url);
                        let claim = claim.bind(columns::millis(store::NO_LEASE)).bind(&*wanted.relay);
                        let tokens: Vec<i64> = claim.fetch_all(connection).await?;
                        let queue_url = wanted.queue_url;
                        Ok(tokens.first().map(|&token| Claim { token, partitions: tokens.len(), queue_url }))
                    })
                });
                access.transact("claiming partitions", Mode::Write, claim).await
            }

            async fn read(access: &Access<Self>, claim: &Claim, wanted: &Wanted) -> Result<Vec<Row>, Error> {
                let (claim, Wanted { rows, holds, .. }) = (claim.clone(), wanted.clone());
                let read = work(move |connection| {
                    let claim = claim.clone();
                    Box::pin(async move {
                        lock_partitions(connection, &claim).await?;
                        if holds {
                            let hold = sqlx::query(SQL.hold).persistent(PREPARES).bind(claim.token);
                            hold.bind(&*claim.queue_url).execute(&mut *connection).await?;
                        }
                        let read = sqlx::query_as(SQL.read).persistent(PREPARES).bind(claim.token);
                        let read = read.bind(columns::rows(claim.share(rows))).bind(columns::rows(rows));
                        let read = read.bind(store::MAX_BYTES).bind(holds).bind(&*claim.queue_url);
                        let rows: Vec<columns::PendingRow> = read.fetch_all(connection).await?;
                        Ok(rows.into_iter().map(Row::from).collect())
                    })
                });
                access.transact("reading messages", Mode::Write, read).await
            }

            async fn write_results(access: &Access<Self>, claim: &Claim, results: &[RowResult]) -> Result<bool, Error> {
                let (claim, (sent, failed)) = (claim.clone(), row_result::as_json(results));
                let write = work(move |connection| {
                    let claim = claim.clone();
                    let results = [(SQL.write_sent, sent.clone()), (SQL.write_failed, failed.clone())];
                    Box::pin(async move {
                        let are_all_there = lock_partitions(connection, &claim).await? == claim.partitions;
                        for (statement, results) in results {
                            let Some(results) = results else { continue };
                            let write = sqlx::query(statement).persistent(PREPARES).bind(claim.token).bind(results);
                            write.bind(&*claim.queue_url).execute(&mut *connection).await?;
                        }
                        Ok(are_all_there)
                    })
                });
                access.transact("writing the results of sent messages", Mode::Write, write).await
            }

            async fn release(access: &Access<Self>, claim: &Claim) -> Result<(), Error> {
                let claim = claim.clone();
                let release = work(move |connection| {
                    let claim = claim.clone();
                    Box::pin(async move {
                        let release = sqlx::query(SQL.release).persistent(PREPARES).bind(claim.token);
                        release.bind(&*claim.queue_url).execute(connection).await.map(drop)
                    })
                });
                access.transact("releasing partitions", Mode::Write, release).await
            }

            async fn clean(access: &Access<Self>, keep: Duration, rows: usize) -> Result<u64, Error> {
                let clean = work(move |connection| {
                    Box::pin(async move {
                        let clean = sqlx::query(SQL.clean).persistent(PREPARES).bind(columns::millis(keep));
                        Ok(clean.bind(columns::rows(rows)).execute(connection).await?.rows_affected())
                    })
                });
                access.transact("deleting old rows of sent messages", Mode::Write, clean).await
            }

            async fn status(access: &Access<Self>) -> Result<OutboxStatus, Error> {
                let status = work(|connection| {
                    Box::pin(async move {
                        let status = sqlx::query_as(SQL.status).persistent(PREPARES);
                        let status: columns::Status = status.fetch_one(connection).await?;
                        Ok(status.into())
                    })
                });
                access.transact("counting messages", Mode::Read, status).await
            }

            async fn parked(access: &Access<Self>, rows: usize) -> Result<Vec<ParkedMessage>, Error> {
                let parked = work(move |connection| {
                    Box::pin(async move {
                        let parked = sqlx::query_as(SQL.parked).persistent(PREPARES).bind(columns::rows(rows));
                        let parked: Vec<columns::Parked> = parked.fetch_all(connection).await?;
                        Ok(parked.into_iter().map(ParkedMessage::from).collect())
                    })
                });
                access.transact("reading parked messages", Mode::Read, parked).await
            }

            async fn retry(access: &Access<Self>, ids: Option<&[i64]>) -> Result<u64, Error> {
                let ids = ids.map(|ids| format!("{ids:?}"));
                let retry = work(move |connection| {
                    let ids = ids.clone();
                    Box::pin(async move {
                        let retry = sqlx::query(SQL.retry).persistent(PREPARES).bind(ids);
                        let retried = retry.execute(&mut *connection).await?;
                        let release = sqlx::query(SQL.release_held).persistent(PREPARES).bind(true);
                        release.execute(connection).await?;
                        Ok(retried.rows_affected())
                    })
                });
                access.transact("retrying parked messages", Mode::Write, retry).await
            }

            async fn release_held(access: &Access<Self>, holds: bool) -> Result<(), Error> {
                let release = work(move |connection| {
                    Box::pin(async move {
                        let release = sqlx::query(SQL.release_held).persistent(PREPARES).bind(holds);
                        release.execute(connection).await.map(drop)
                    })
                });
                access.transact("releasing held messages", Mode::Write, release).await
            }

            async fn listen(access: &Access<Self>) -> Result<Listener, Error> {
                listen(access.pool()).await
            }

            async fn notify(access: &Access<Self>, channel: &str) -> Result<(), Error> {
                let channel = channel.to_owned();
                let notify = work(move |connection| {
                    let channel = channel.clone();
                    Box::pin(async move {
                        let notify = sqlx::query(SQL.notify).persistent(PREPARES).bind(channel);
                        notify.execute(connection).await.map(drop)
                    })
                });
                access.transact("testing notifications", Mode::Read, notify).await
            }
        }

        /// Gives the closure's argument a lifetime for any borrow, which inference alone does not find.
        fn work<T, W>(work: W) -> W
        where
            W: for<'c> Fn(&'c mut Connection) -> BoxFuture<'c, Result<T, Error>>,
        {
            work
        }

        async fn version(connection: &mut Connection) -> Result<i64, Error> {
            let tables = sqlx::query_scalar(SQL.tables).persistent(PREPARES);
            let tables: bool = tables.fetch_one(&mut *connection).await?;
            match tables {
                true => sqlx::query_scalar(SQL.version).persistent(PREPARES).fetch_one(connection).await,
                false => Ok(0),
            }
        }

        /// Locks the claim's partitions until the transaction ends. Returns how many partitions still belong to the
        /// claim: an expired lease does no harm until another relay claims the partition.
        async fn lock_partitions(connection: &mut Connection, claim: &Claim) -> Result<usize, Error> {
            let lock = sqlx::query_scalar(SQL.lock).persistent(PREPARES).bind(claim.token);
            let partitions: Vec<i64> = lock.bind(&*claim.queue_url).fetch_all(connection).await?;
            Ok(partitions.len())
        }

        type Connection = <$database as sqlx::Database>::Connection;
    };
}
pub(super) use impl_sql_store;
