-- Version 2 of redrive's outbox. Each queue gets its own partitions (lanes), so that no queue waits for another.
--
-- Stop relays of older versions first: after this step they report an error and send nothing. Programs that write rows need no change.
-- The new index covers the rows that are not sent yet. Programs that write to the outbox wait while it is built.

-- Finds the next row of a queue and a partition without reading rows of other queues.
create index redrive_outbox_due on redrive_outbox (queue_url, lane, id) where state = 'pending';
drop index redrive_outbox_pending;

drop index redrive_outbox_parked;
create index redrive_outbox_parked on redrive_outbox (queue_url, lane, order_key) where state = 'parked';

-- A relay that does not know the partitions of queues must not claim any. It fails because it does not find this sequence.
alter sequence redrive_outbox_fence rename to redrive_outbox_claim;

alter table redrive_outbox_lane drop constraint redrive_outbox_lane_pkey;
alter table redrive_outbox_lane add column queue_url text;
-- The relay that claimed the partition last.
alter table redrive_outbox_lane add column relay text;

-- Messages that an older relay is sending keep their lease. Partitions of other queues are added when they are needed.
insert into redrive_outbox_lane (queue_url, lane, token, leased_until)
select queue.url, lane, token, leased_until
from redrive_outbox_lane, (select distinct queue_url as url from redrive_outbox where state <> 'sent') queue;

delete from redrive_outbox_lane where queue_url is null;
alter table redrive_outbox_lane alter column queue_url set not null;
alter table redrive_outbox_lane add primary key (queue_url, lane);

insert into redrive_outbox_migration (version) values (2);
