//! The outbox in PostgreSQL, from version 12 on.
//!
//! All times are the server's, so relays on many machines agree on the end of a lease.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::postgres::{PgListener, PgPoolOptions, Postgres};
use sqlx::{Error, Pool};

use super::access::{Access, Mode};
use super::columns;
use super::notify::Listener;
use super::row::{NewRow, Row};
use super::row_result::{self, RowResult};
use super::sql_store::impl_sql_store;
use super::store::{self, Claim, Insert, Migration, OutboxStatus, ParkedMessage, Sql, Store, Wanted};

/// The channel that a commit notifies about new rows.
const CHANNEL: &str = "redrive_outbox";

/// The tables and columns call a partition `lane`, because new names would break tables that exist.
const SQL: Sql = Sql {
    // A concurrent migration waits and then finds all migrations applied. The lock's number was drawn at random.
    lock_migrations: "select pg_advisory_xact_lock(7237395863)",
    tables: "select to_regclass('redrive_outbox_migration') is not null",
    version: "select coalesce(max(version), 0) from redrive_outbox_migration",
    insert: "insert into redrive_outbox
        (message_id, queue_url, group_id, order_key, lane, body, attributes, delay_seconds, trace_header)
        values ($1, $2, $3, $4, $5, $6, $7::jsonb, $8, $9) returning $10::bigint",
    // The notification is part of the same round trip.
    insert_and_notify: "with row as (insert into redrive_outbox
        (message_id, queue_url, group_id, order_key, lane, body, attributes, delay_seconds, trace_header)
        values ($1, $2, $3, $4, $5, $6, $7::jsonb, $8, $9) returning 1)
        select $10::bigint, pg_notify('redrive_outbox', '') from row",
    // The recursion jumps from one queue to the next, however many rows each queue has.
    queues: "with recursive queue (url) as (
            (select queue_url from redrive_outbox where state = 'pending' order by queue_url limit 1)
            union all
            select (select queue_url from redrive_outbox
                where state = 'pending' and queue_url > queue.url order by queue_url limit 1)
            from queue where queue.url is not null)
        select url from queue where url is not null",
    add_partitions: "insert into redrive_outbox_lane (queue_url, lane) select $1, lane from generate_series(0, 255) lane
        on conflict do nothing",
    // `skip locked`: a partition whose lock is awaited would be claimed by then, and there are other partitions. The
    // limit and its order make each partition one index lookup, whatever the planner estimates about the rows.
    claim: "with fence as materialized (select nextval('redrive_outbox_claim') as token),
        free as materialized (
            select l.lane from redrive_outbox_lane l cross join lateral (
                select from redrive_outbox o
                where o.queue_url = l.queue_url and o.lane = l.lane and o.state = 'pending'
                    and o.next_attempt_at <= clock_timestamp()
                order by o.queue_url, o.lane, o.id limit 1) due
            where l.queue_url = $3 and (l.relay = $5
                or l.leased_until <= clock_timestamp() or l.leased_until > clock_timestamp() + $4 * interval '1 ms')
            order by l.token, l.lane limit $1 for update of l skip locked)
        update redrive_outbox_lane l
        set token = fence.token, relay = $5, leased_until = clock_timestamp() + $2 * interval '1 ms'
        from fence, free where l.queue_url = $3 and l.lane = free.lane
        returning l.token",
    lock: "select lane::bigint from redrive_outbox_lane where queue_url = $2 and token = $1 order by lane for share",
    hold: "update redrive_outbox o set state = 'held'
        from (select p.order_key, min(p.id) as id from redrive_outbox p join redrive_outbox_lane l using (queue_url, lane)
            where l.queue_url = $2 and l.token = $1 and p.state = 'parked' and p.order_key is not null group by p.order_key) parked
        where o.order_key = parked.order_key and o.id > parked.id and o.state = 'pending'",
    // A row written while others are being held waits for the same parked row. If parked rows hold nothing (any more),
    // held rows are sent first.
    read: "select id, queue_url, group_id, order_key, message_id, body, attributes::text,
            delay_seconds::bigint, trace_header, attempts::bigint, refusals::bigint
        from (select o.*, sum(octet_length(o.body) + pg_column_size(o.attributes)) over (order by o.id)
                - octet_length(o.body) - pg_column_size(o.attributes) as bytes_before
            from redrive_outbox_lane l cross join lateral (
                select * from redrive_outbox o
                where o.queue_url = l.queue_url and o.lane = l.lane and o.state = 'pending' and o.next_attempt_at <= now()
                    and (o.order_key is null or not exists (
                        select from redrive_outbox head
                        where head.order_key = o.order_key and head.id < o.id
                            and head.state = 'pending' and head.next_attempt_at > now()))
                    and (o.order_key is null or not exists (
                        select from redrive_outbox aside
                        where aside.order_key = o.order_key and aside.id < o.id and aside.state in ('held', 'parked')
                            and ($5 or aside.state = 'held')))
                order by o.queue_url, o.lane, o.id limit $2) o
            where l.queue_url = $6 and l.token = $1 order by o.id limit $3) o
        where bytes_before < $4 order by id",
    // `m.id is null` is never true. It makes the planner find the rows by id and compare their state afterwards. The
    // planner usually sees an outbox without pending rows, and then assumes at most one. Without the condition it would
    // compare each result with all pending rows.
    write_sent: "update redrive_outbox o
        set state = 'sent', sent_at = now(), attempts = o.attempts + 1, last_error = null, sqs_message_id = m.message_id
        from jsonb_to_recordset($2::jsonb) m(id bigint, message_id text)
        where o.id = m.id and (o.state = 'pending' or m.id is null)
            and o.lane in (select lane from redrive_outbox_lane where queue_url = $3 and token = $1)",
    write_failed: "update redrive_outbox o
        set state = m.state, attempts = o.attempts + 1, refusals = o.refusals + m.refusals, last_error = m.error,
            next_attempt_at = now() + m.delay_ms * interval '1 ms'
        from jsonb_to_recordset($2::jsonb) m(id bigint, attempts bigint, state text, refusals integer, error text, delay_ms bigint)
        where o.id = m.id and o.attempts = m.attempts and (o.state = 'pending' or m.id is null)
            and o.lane in (select lane from redrive_outbox_lane where queue_url = $3 and token = $1)",
    release: "update redrive_outbox_lane set leased_until = '-infinity' where queue_url = $2 and token = $1",
    clean: "delete from redrive_outbox where id in (
        select id from redrive_outbox where state = 'sent' and sent_at <= now() - $1 * interval '1 ms'
        order by sent_at limit $2 for update skip locked)",
    status: "select p.count, h.count, a.count, (extract(epoch from now() - p.oldest) * 1000)::bigint
        from (select count(*), min(enqueued_at) as oldest from redrive_outbox where state = 'pending') p,
            (select count(*) from redrive_outbox where state = 'held') h,
            (select count(*) from redrive_outbox where state = 'parked') a",
    parked: "select id, queue_url, group_id, message_id, attempts::bigint, last_error,
            (extract(epoch from now() - enqueued_at) * 1000)::bigint
        from redrive_outbox where state = 'parked' order by id limit $1",
    retry: "update redrive_outbox set state = 'pending', refusals = 0, next_attempt_at = '-infinity'
        where state = 'parked' and ($1::text is null or id in (select jsonb_array_elements_text($1::jsonb)::bigint))",
    release_held: "update redrive_outbox o set state = 'pending'
        where o.state = 'held' and (not $1 or not exists (
            select from redrive_outbox p where p.order_key = o.order_key and p.id < o.id and p.state = 'parked'))",
    notify: "select pg_notify($1, '')",
};

impl_sql_store!(Postgres);

const MIGRATIONS: &[Migration] = &[
    Migration { version: 1, name: "outbox", sql: include_str!("0001_outbox.sql") },
    Migration { version: 2, name: "partitions of queues", sql: include_str!("0002_partitions_of_queues.sql") },
];

/// Several queues are served at the same time.
const CONNECTIONS: usize = 4;
const LISTENS: bool = true;
/// A pooler in transaction mode gives each transaction another server connection, which does not know earlier prepared
/// statements. An unnamed statement ends with its transaction.
const PREPARES: bool = false;

/// Sets the isolation level whatever the database's default is, because each statement must see what others have
/// committed. The server ends the transaction of a silent relay, whose locks would otherwise stay for hours.
fn begin(_: Mode, limit: Duration) -> String {
    let limit_ms = columns::millis(limit);
    format!(
        "begin isolation level read committed; set local idle_in_transaction_session_timeout = {limit_ms}; \
         set local statement_timeout = {limit_ms}"
    )
}

/// Limits how long connecting for notifications may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

async fn listen(pool: &Pool<Postgres>) -> Result<Listener, Error> {
    // The listener keeps its connection, so it must not take one from the application's pool.
    let own = PgPoolOptions::new().max_connections(1).acquire_timeout(CONNECT_TIMEOUT);
    let own = own.connect_lazy_with(pool.connect_options().as_ref().clone());
    Listener::new(PgListener::connect_with(&own).await?, CHANNEL).await
}
