-- Version 1 of redrive's outbox. Copy it into your own migrations, or let `redrive outbox migrate` run it; never both.
-- Times are milliseconds since 1970.

create table redrive_outbox_migration (
    version integer primary key,
    applied_at integer not null default (cast(unixepoch('now', 'subsec') * 1000 as integer))
) strict;

create table redrive_outbox (
    -- An id is never used twice, even after the largest one is deleted: the order of ids is the order of messages.
    id integer primary key autoincrement,
    -- The deduplication id, and the id that a receiver gets.
    message_id text not null,
    queue_url text not null,
    group_id text,
    -- Rows of the same key are sent one after the other, in the order of their ids. Only FIFO queues have keys.
    order_key text,
    -- The partition of its queue. A relay leases partitions, and all rows of a key are in one.
    lane integer not null check (lane between 0 and 255),
    body text not null,
    -- The format of the events that Lambda functions get: {"name": {"dataType": "String", "stringValue": "..."}}
    attributes text not null default '{}',
    delay_seconds integer,
    trace_header text,
    -- pending: to send. held: waits behind a parked row of its key. parked: SQS refused it too often. sent: SQS has it.
    state text not null default 'pending' check (state in ('pending', 'held', 'parked', 'sent')),
    enqueued_at integer not null default (cast(unixepoch('now', 'subsec') * 1000 as integer)),
    -- A new row is due whatever the clock says, which may be set back.
    next_attempt_at integer not null default 0,
    attempts integer not null default 0,
    refusals integer not null default 0,
    last_error text,
    sent_at integer,
    sqs_message_id text
) strict;

create index redrive_outbox_pending on redrive_outbox (lane, id) where state = 'pending';
create index redrive_outbox_order on redrive_outbox (order_key, id) where state = 'pending' and order_key is not null;
create index redrive_outbox_aside on redrive_outbox (order_key, id) where state in ('held', 'parked') and order_key is not null;
create index redrive_outbox_parked on redrive_outbox (lane, order_key) where state = 'parked';
create index redrive_outbox_sent on redrive_outbox (sent_at) where state = 'sent';

-- Each claim has its own number, larger than earlier ones. A relay's results count while its partitions still
-- have that number.
create table redrive_outbox_lane (
    lane integer primary key,
    token integer not null default 0,
    leased_until integer not null default 0
) strict;

with recursive lanes (lane) as (select 0 union all select lane + 1 from lanes where lane < 255)
insert into redrive_outbox_lane (lane) select lane from lanes;

insert into redrive_outbox_migration (version) values (1);
