-- Version 2 of redrive's outbox. Each queue gets its own partitions (lanes), so that no queue waits for another.
--
-- Stop relays of older versions first: after this step they report an error and send nothing. Programs that write rows need no change.

-- Finds the next row of a queue and a partition without reading rows of other queues.
create index redrive_outbox_due on redrive_outbox (queue_url, lane, id) where state = 'pending';
drop index redrive_outbox_pending;

drop index redrive_outbox_parked;
create index redrive_outbox_parked on redrive_outbox (queue_url, lane, order_key) where state = 'parked';

create table redrive_outbox_lane_of_queue (
    queue_url text not null,
    lane integer not null,
    token integer not null default 0,
    leased_until integer not null default 0,
    -- The relay that claimed the partition last.
    relay text,
    -- How often the partition was claimed. A relay that does not count claims is older than this table.
    claims integer not null default 0,
    primary key (queue_url, lane)
) strict;

-- Messages that an older relay is sending keep their lease. Partitions of other queues are added when they are needed.
insert into redrive_outbox_lane_of_queue (queue_url, lane, token, leased_until)
select queue.url, lane, token, leased_until
from redrive_outbox_lane, (select distinct queue_url as url from redrive_outbox where state <> 'sent') queue;

drop table redrive_outbox_lane;
alter table redrive_outbox_lane_of_queue rename to redrive_outbox_lane;
create index redrive_outbox_token on redrive_outbox_lane (token);

create trigger redrive_outbox_old_relay before update of token, leased_until on redrive_outbox_lane
when new.token <> old.token and new.leased_until <> old.leased_until and new.claims = old.claims
begin
    select raise(abort, 'this relay is older than the outbox''s tables and would send messages twice; update the relay');
end;

insert into redrive_outbox_migration (version) values (2);
