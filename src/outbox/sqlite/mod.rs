//! The outbox in SQLite, from version 3.42 on; sqlx brings one with it.
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
use super::store::{self, Claim, Migration, OutboxStatus, ParkedMessage, Sql, Store, columns};

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
            where leased_until <= cast(unixepoch('now', 'subsec') * 1000 as integer) and exists (
                select 1 from redrive_outbox o
                where o.lane = l.lane and o.state = 'pending'
                    and o.next_attempt_at <= cast(unixepoch('now', 'subsec') * 1000 as integer))
            order by leased_until, lane limit ?1)
        returning token",
    lock: "select lane from redrive_outbox_lane
        where token = ?1 and leased_until > cast(unixepoch('now', 'subsec') * 1000 as integer)",
    hold: "update redrive_outbox set state = 'held'
        where state = 'pending' and order_key in (
            select p.order_key from redrive_outbox p join redrive_outbox_lane l using (lane)
            where l.token = ?1 and p.state = 'parked' and p.order_key is not null)",
    read: "select o.id, o.queue_url, o.group_id, o.order_key, o.message_id, o.body, o.attributes,
            o.delay_seconds, o.trace_header, o.attempts, o.refusals
        from redrive_outbox o
        where o.lane in (select lane from redrive_outbox_lane where token = ?1) and o.state = 'pending'
            and o.next_attempt_at <= cast(unixepoch('now', 'subsec') * 1000 as integer) and (
                o.order_key is null or not exists (
                    select 1 from redrive_outbox head
                    where head.order_key = o.order_key and head.id < o.id and head.state = 'pending'
                        and head.next_attempt_at > cast(unixepoch('now', 'subsec') * 1000 as integer)))
        order by o.id limit ?3",
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
    status: "select p.count, a.held, a.parked, cast(unixepoch('now', 'subsec') * 1000 as integer) - p.oldest
        from (select count(*) as count, min(enqueued_at) as oldest from redrive_outbox where state = 'pending') p,
            (select count(*) filter (where state = 'held') as held, count(*) filter (where state = 'parked') as parked
            from redrive_outbox where state in ('held', 'parked')) a",
    parked: "select id, queue_url, group_id, message_id, attempts, last_error,
            cast(unixepoch('now', 'subsec') * 1000 as integer) - enqueued_at
        from redrive_outbox where state = 'parked' order by id limit ?1",
    // The transaction itself keeps all others from writing.
    lock_parked: "select lane from redrive_outbox_lane where ?1 is null and false",
    retry: "update redrive_outbox set state = 'pending', refusals = 0, next_attempt_at = 0
        where state = 'parked' and (?1 is null or id in (select value from json_each(?1)))",
    release_held: "update redrive_outbox set state = 'pending'
        where state = 'held' and not exists (
            select 1 from redrive_outbox p where p.order_key = redrive_outbox.order_key and p.state = 'parked')",
};

implement_store!(Sqlite);

const MIGRATIONS: &[Migration] = &[Migration { version: 1, name: "outbox", sql: include_str!("0001_outbox.sql") }];

/// Nobody says that something was written: it is looked for.
async fn listen(_: &Pool<Sqlite>) -> Result<Hint, Error> {
    Ok(Hint::none())
}
