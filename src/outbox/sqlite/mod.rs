//! The outbox in SQLite, from version 3.43 on; sqlx brings one with it.
//!
//! There is one writer at a time. A transaction that writes says so at its beginning, and waits: one that finds out later that another
//! was first fails.

use std::time::Duration;

use sqlx::sqlite::Sqlite;
use sqlx::{Error, Pool};

use super::hint::Hint;
use super::implement::{implement_store, to_its_end};
use super::mark::{self, Mark};
use super::row::{NewRow, Row};
use super::store::{self, Claim, Migration, OutboxStatus, ParkedMessage, Sql, Store, Wanted, columns};

const SQL: Sql = Sql {
    begin: "begin immediate",
    // The transaction is one already.
    lock_migrations: "select 1",
    tables: "select count(*) > 0 from sqlite_master where name = 'redrive_outbox_migration'",
    version: "select coalesce(max(version), 0) from redrive_outbox_migration",
    insert: "insert into redrive_outbox
        (message_id, queue_url, group_id, order_key, lane, body, attributes, delay_seconds, trace_header)
        values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    insert_and_notify: "insert into redrive_outbox
        (message_id, queue_url, group_id, order_key, lane, body, attributes, delay_seconds, trace_header)
        values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    claim: "update redrive_outbox_lane
        set token = (select max(token) + 1 from redrive_outbox_lane),
            leased_until = cast(unixepoch('now', 'subsec') * 1000 as integer) + ?2
        where lane in (
            select lane from redrive_outbox_lane l
            where (leased_until <= cast(unixepoch('now', 'subsec') * 1000 as integer)
                or leased_until > cast(unixepoch('now', 'subsec') * 1000 as integer) + ?4) and exists (
                select 1 from redrive_outbox o
                where o.lane = l.lane and o.state = 'pending'
                    and o.next_attempt_at <= cast(unixepoch('now', 'subsec') * 1000 as integer)
                    and o.queue_url not in (select value from json_each(?3)))
            order by token, lane limit ?1)
        returning token",
    // The transaction keeps all others from writing.
    lock: "select lane from redrive_outbox_lane where token = ?1",
    hold: "update redrive_outbox set state = 'held'
        where id in (
            select o.id from redrive_outbox p join redrive_outbox_lane l using (lane) join redrive_outbox o
                on o.order_key = p.order_key and o.id > p.id and o.state = 'pending' and o.order_key is not null
            where l.token = ?1 and p.state = 'parked' and p.order_key is not null)",
    // A partial index is taken where its own condition stands in the statement, word for word.
    read: "select id, queue_url, group_id, order_key, message_id, body, attributes,
            delay_seconds, trace_header, attempts, refusals
        from (select o.*, sum(octet_length(o.body) + octet_length(o.attributes)) over (order by o.id)
                - octet_length(o.body) - octet_length(o.attributes) as bytes_before
            from redrive_outbox_lane l cross join redrive_outbox o
            where l.token = ?1 and o.id in (
                select c.id from redrive_outbox c
                where c.lane = l.lane and c.state = 'pending'
                    and c.next_attempt_at <= cast(unixepoch('now', 'subsec') * 1000 as integer)
                    and c.queue_url not in (select value from json_each(?6))
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
    mark_sent: "update redrive_outbox
        set state = 'sent', sent_at = cast(unixepoch('now', 'subsec') * 1000 as integer), attempts = attempts + 1,
            last_error = null, sqs_message_id = m.value ->> 'message_id'
        from json_each(?2) m
        where redrive_outbox.id = m.value ->> 'id' and state = 'pending'
            and lane in (select lane from redrive_outbox_lane where token = ?1)",
    mark_failed: "update redrive_outbox
        set state = m.value ->> 'state', attempts = attempts + 1, refusals = refusals + (m.value ->> 'refusals'),
            last_error = m.value ->> 'error',
            next_attempt_at = cast(unixepoch('now', 'subsec') * 1000 as integer) + (m.value ->> 'delay_ms')
        from json_each(?2) m
        where redrive_outbox.id = m.value ->> 'id' and state = 'pending'
            and lane in (select lane from redrive_outbox_lane where token = ?1)",
    release: "update redrive_outbox_lane set leased_until = 0 where token = ?1",
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
};

implement_store!(Sqlite);

const MIGRATIONS: &[Migration] = &[Migration { version: 1, name: "outbox", sql: include_str!("0001_outbox.sql") }];

/// Nobody says that something was written: it is looked for.
async fn listen(_: &Pool<Sqlite>) -> Result<Hint, Error> {
    Ok(Hint::none())
}
