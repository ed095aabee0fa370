//! The outbox in PostgreSQL, from version 12 on.
//!
//! All times are the server's: relays on many machines agree on when a lease is over.

use std::time::Duration;

use sqlx::postgres::{PgListener, Postgres};
use sqlx::{Error, Pool};

use super::hint::Hint;
use super::implement::{implement_store, to_its_end};
use super::mark::{self, Mark};
use super::row::{NewRow, Row};
use super::store::{self, Claim, Migration, OutboxStatus, ParkedMessage, Sql, Store, columns};

/// Where a transaction that has written a row is heard of when it is committed.
const CHANNEL: &str = "redrive_outbox";

const SQL: Sql = Sql {
    begin: "begin",
    // Whoever comes second waits, and finds all done. The number is ours alone, as far as one can tell.
    lock_migrations: "select pg_advisory_xact_lock(7237395863)",
    tables: "select to_regclass('redrive_outbox_migration') is not null",
    version: "select coalesce(max(version), 0) from redrive_outbox_migration",
    insert: "insert into redrive_outbox
        (message_id, queue_url, group_id, order_key, lane, body, attributes, delay_seconds, trace_header)
        values ($1, $2, $3, $4, $5, $6, $7::jsonb, $8, $9)",
    // In the same round trip.
    insert_and_notify: "with row as (insert into redrive_outbox
        (message_id, queue_url, group_id, order_key, lane, body, attributes, delay_seconds, trace_header)
        values ($1, $2, $3, $4, $5, $6, $7::jsonb, $8, $9) returning 1)
        select pg_notify('redrive_outbox', '') from row",
    // Who waits for a lock on a lane would find it taken: there are others.
    claim: "with fence as materialized (select nextval('redrive_outbox_fence') as token),
        free as materialized (
            select lane from redrive_outbox_lane l
            where leased_until <= clock_timestamp() and exists (
                select from redrive_outbox o
                where o.lane = l.lane and o.state = 'pending' and o.next_attempt_at <= clock_timestamp())
            order by leased_until, lane limit $1 for update skip locked)
        update redrive_outbox_lane l
        set token = fence.token, leased_until = clock_timestamp() + $2 * interval '1 ms'
        from fence, free where l.lane = free.lane
        returning l.token",
    // Until the end of the transaction nobody else takes these lanes, and nobody has parked rows of theirs go on.
    lock: "select lane::bigint from redrive_outbox_lane
        where token = $1 and leased_until > clock_timestamp() for share",
    hold: "update redrive_outbox o set state = 'held'
        from (select distinct p.order_key from redrive_outbox p join redrive_outbox_lane l using (lane)
            where l.token = $1 and p.state = 'parked' and p.order_key is not null) parked
        where o.order_key = parked.order_key and o.state = 'pending'",
    read: "select o.id, o.queue_url, o.group_id, o.order_key, o.message_id, o.body, o.attributes::text,
            o.delay_seconds::bigint, o.trace_header, o.attempts::bigint, o.refusals::bigint
        from redrive_outbox_lane l cross join lateral (
            select * from redrive_outbox o
            where o.lane = l.lane and o.state = 'pending' and o.next_attempt_at <= now() and (
                o.order_key is null or not exists (
                    select from redrive_outbox head
                    where head.order_key = o.order_key and head.id < o.id
                        and head.state = 'pending' and head.next_attempt_at > now()))
            order by o.id limit $2) o
        where l.token = $1 order by o.id limit $3",
    mark_sent: "update redrive_outbox o
        set state = 'sent', sent_at = now(), attempts = o.attempts + 1, last_error = null, sqs_message_id = m.message_id
        from jsonb_to_recordset($2::jsonb) m(id bigint, message_id text)
        where o.id = m.id and o.state = 'pending'
            and o.lane in (select lane from redrive_outbox_lane where token = $1)",
    mark_failed: "update redrive_outbox o
        set state = m.state, attempts = o.attempts + 1, refusals = o.refusals + m.refusals, last_error = m.error,
            next_attempt_at = now() + m.delay_ms * interval '1 ms'
        from jsonb_to_recordset($2::jsonb) m(id bigint, state text, refusals integer, error text, delay_ms bigint)
        where o.id = m.id and o.state = 'pending'
            and o.lane in (select lane from redrive_outbox_lane where token = $1)",
    release: "update redrive_outbox_lane set leased_until = clock_timestamp() where token = $1",
    clean: "delete from redrive_outbox where id in (
        select id from redrive_outbox where state = 'sent' and sent_at <= now() - $1 * interval '1 ms'
        order by sent_at limit $2 for update skip locked)",
    status: "select p.count, a.held, a.parked, (extract(epoch from now() - p.oldest) * 1000)::bigint
        from (select count(*), min(enqueued_at) as oldest from redrive_outbox where state = 'pending') p,
            (select count(*) filter (where state = 'held') as held, count(*) filter (where state = 'parked') as parked
            from redrive_outbox where state in ('held', 'parked')) a",
    parked: "select id, queue_url, group_id, message_id, attempts::bigint, last_error,
            (extract(epoch from now() - enqueued_at) * 1000)::bigint
        from redrive_outbox where state = 'parked' order by id limit $1",
    lock_parked: "select lane::bigint from redrive_outbox_lane where lane in (
            select lane from redrive_outbox where state = 'parked'
                and ($1::text is null or id in (select jsonb_array_elements_text($1::jsonb)::bigint)))
        order by lane for update",
    retry: "update redrive_outbox set state = 'pending', refusals = 0, next_attempt_at = now()
        where state = 'parked' and ($1::text is null or id in (select jsonb_array_elements_text($1::jsonb)::bigint))",
    release_held: "update redrive_outbox o set state = 'pending'
        where o.state = 'held' and not exists (
            select from redrive_outbox p where p.order_key = o.order_key and p.state = 'parked')",
};

implement_store!(Postgres);

const MIGRATIONS: &[Migration] = &[Migration { version: 1, name: "outbox", sql: include_str!("0001_outbox.sql") }];

async fn listen(pool: &Pool<Postgres>) -> Result<Hint, Error> {
    // It keeps a connection to itself, and of one alone nothing would be left.
    if pool.options().get_max_connections() < 2 {
        return Ok(Hint::none());
    }
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen(CHANNEL).await?;
    Ok(Hint::of(listener))
}
