//! The outbox in SQLite, from version 3.43 on; sqlx brings one with it.
//!
//! SQLite allows one writer at a time. A writing transaction begins as one and waits, because a later upgrade from
//! reading to writing fails if another transaction wrote in between.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::sqlite::Sqlite;
use sqlx::{Error, Pool};

use super::access::{Access, Mode};
use super::columns;
use super::notify::Listener;
use super::row::{NewRow, Row};
use super::row_result::{self, RowResult};
use super::sql_store::impl_sql_store;
use super::store::{self, Claim, Insert, Migration, OutboxStatus, ParkedMessage, Sql, Store, Wanted};

/// The tables and columns call a partition `lane`, because new names would break tables that exist.
const SQL: Sql = Sql {
    // The transaction itself is the lock.
    lock_migrations: "select 1",
    tables: "select count(*) > 0 from sqlite_master where name = 'redrive_outbox_migration'",
    version: "select coalesce(max(version), 0) from redrive_outbox_migration",
    insert: "insert into redrive_outbox
        (message_id, queue_url, group_id, order_key, lane, body, attributes, delay_seconds, trace_header)
        values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) returning ?10",
    insert_and_notify: "insert into redrive_outbox
        (message_id, queue_url, group_id, order_key, lane, body, attributes, delay_seconds, trace_header)
        values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) returning ?10",
    // The recursion jumps from one queue to the next, however many rows each queue has.
    queues: "with recursive queue (url) as (
            select min(queue_url) from redrive_outbox indexed by redrive_outbox_due where state = 'pending'
            union all
            select (select min(queue_url) from redrive_outbox indexed by redrive_outbox_due
                where state = 'pending' and queue_url > queue.url)
            from queue where queue.url is not null)
        select url from queue where url is not null",
    add_partitions: "with recursive lanes (lane) as (select 0 union all select lane + 1 from lanes where lane < 255)
        insert into redrive_outbox_lane (queue_url, lane) select ?1, lane from lanes where true on conflict do nothing",
    claim: "update redrive_outbox_lane
        set token = (select max(token) + 1 from redrive_outbox_lane), relay = ?5, claims = claims + 1,
            leased_until = cast(unixepoch('now', 'subsec') * 1000 as integer) + ?2
        where queue_url = ?3 and lane in (
            select lane from redrive_outbox_lane l
            where l.queue_url = ?3 and (relay = ?5
                or leased_until <= cast(unixepoch('now', 'subsec') * 1000 as integer)
                or leased_until > cast(unixepoch('now', 'subsec') * 1000 as integer) + ?4) and exists (
                select 1 from redrive_outbox o indexed by redrive_outbox_due
                where o.queue_url = l.queue_url and o.lane = l.lane and o.state = 'pending'
                    and o.next_attempt_at <= cast(unixepoch('now', 'subsec') * 1000 as integer))
            order by token, lane limit ?1)
        returning token",
    // The transaction keeps all others from writing.
    lock: "select lane from redrive_outbox_lane where token = ?1 and queue_url = ?2",
    hold: "update redrive_outbox set state = 'held'
        where id in (
            select o.id from redrive_outbox p join redrive_outbox_lane l using (queue_url, lane) join redrive_outbox o
                on o.order_key = p.order_key and o.id > p.id and o.state = 'pending' and o.order_key is not null
            where l.token = ?1 and l.queue_url = ?2 and p.state = 'parked' and p.order_key is not null)",
    // SQLite uses a partial index only if the statement repeats the index's condition word for word.
    read: "select id, queue_url, group_id, order_key, message_id, body, attributes,
            delay_seconds, trace_header, attempts, refusals
        from (select o.*, sum(octet_length(o.body) + octet_length(o.attributes)) over (order by o.id)
                - octet_length(o.body) - octet_length(o.attributes) as bytes_before
            from redrive_outbox_lane l cross join redrive_outbox o
            where l.token = ?1 and l.queue_url = ?6 and o.id in (
                select c.id from redrive_outbox c indexed by redrive_outbox_due
                where c.queue_url = l.queue_url and c.lane = l.lane and c.state = 'pending'
                    and c.next_attempt_at <= cast(unixepoch('now', 'subsec') * 1000 as integer)
                    and (c.order_key is null or not exists (
                        select 1 from redrive_outbox head
                        where head.order_key = c.order_key and head.id < c.id
                            and head.state = 'pending' and head.order_key is not null
                            and head.next_attempt_at > cast(unixepoch('now', 'subsec') * 1000 as integer)))
                    and (c.order_key is null or not exists (
                        select 1 from redrive_outbox aside
                        where aside.order_key = c.order_key and aside.id < c.id
                            and aside.state in ('held', 'parked') and aside.order_key is not null
                            and (?5 or aside.state = 'held')))
                order by c.id limit ?2)
            order by o.id limit ?3)
        where bytes_before < ?4 order by id",
    write_sent: "update redrive_outbox
        set state = 'sent', sent_at = cast(unixepoch('now', 'subsec') * 1000 as integer), attempts = attempts + 1,
            last_error = null, sqs_message_id = m.value ->> 'message_id'
        from json_each(?2) m
        where redrive_outbox.id = m.value ->> 'id' and state = 'pending'
            and lane in (select lane from redrive_outbox_lane where token = ?1 and queue_url = ?3)",
    write_failed: "update redrive_outbox
        set state = m.value ->> 'state', attempts = attempts + 1, refusals = refusals + (m.value ->> 'refusals'),
            last_error = m.value ->> 'error',
            next_attempt_at = cast(unixepoch('now', 'subsec') * 1000 as integer) + (m.value ->> 'delay_ms')
        from json_each(?2) m
        where redrive_outbox.id = m.value ->> 'id' and attempts = m.value ->> 'attempts' and state = 'pending'
            and lane in (select lane from redrive_outbox_lane where token = ?1 and queue_url = ?3)",
    release: "update redrive_outbox_lane set leased_until = 0 where token = ?1 and queue_url = ?2",
    clean: "delete from redrive_outbox where id in (
        select id from redrive_outbox
        where state = 'sent' and sent_at <= cast(unixepoch('now', 'subsec') * 1000 as integer) - ?1
        order by sent_at limit ?2)",
    status: "select p.count, h.count, a.count, cast(unixepoch('now', 'subsec') * 1000 as integer) - p.oldest
        from (select count(*) as count, min(enqueued_at) as oldest from redrive_outbox where state = 'pending') p,
            (select count(*) as count from redrive_outbox
                where state in ('held', 'parked') and order_key is not null and state = 'held') h,
            (select count(*) as count from redrive_outbox where state = 'parked') a",
    parked: "select id, queue_url, group_id, message_id, attempts, last_error,
            cast(unixepoch('now', 'subsec') * 1000 as integer) - enqueued_at
        from redrive_outbox where state = 'parked' order by +id limit ?1",
    retry: "update redrive_outbox set state = 'pending', refusals = 0, next_attempt_at = 0
        where state = 'parked' and (?1 is null or id in (select value from json_each(?1)))",
    release_held: "update redrive_outbox set state = 'pending'
        where state in ('held', 'parked') and order_key is not null and state = 'held' and (not ?1 or not exists (
            select 1 from redrive_outbox p
            where p.order_key = redrive_outbox.order_key and p.id < redrive_outbox.id
                and p.state in ('held', 'parked') and p.order_key is not null and p.state = 'parked'))",
    notify: "select ?1",
};

impl_sql_store!(Sqlite);

const MIGRATIONS: &[Migration] = &[
    Migration { version: 1, name: "outbox", sql: include_str!("0001_outbox.sql") },
    Migration { version: 2, name: "partitions of queues", sql: include_str!("0002_partitions_of_queues.sql") },
];

/// SQLite allows one writer at a time, so a second connection would only wait.
const CONNECTIONS: usize = 1;
const LISTENS: bool = false;
const PREPARES: bool = true;

fn begin(mode: Mode, _: Duration) -> String {
    let begin = match mode {
        Mode::Read => "begin",
        Mode::Write => "begin immediate",
    };
    begin.to_owned()
}

/// SQLite has no notifications.
async fn listen(_: &Pool<Sqlite>) -> Result<Listener, Error> {
    std::future::pending().await
}
