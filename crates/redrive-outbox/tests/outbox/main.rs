//! Tests the outbox on real databases, with the local queue.

mod account;
mod backlog;
mod database;
mod doom;
mod enqueue;
mod fair;
mod guards;
mod isolation;
mod kills;
mod kit;
mod latch;
mod on_postgres;
mod parked;
mod pooler;
mod proxy;
mod relay;
mod silent;
mod simulation;
mod small_queues;
mod tap;
mod upgrade;

#[path = "../../../../tests/support/calls.rs"]
mod calls;
#[path = "../../../../tests/support/postgres/mod.rs"]
mod postgres;
#[path = "../../../../tests/support/queue.rs"]
mod queue;
#[path = "../../../../tests/support/setting.rs"]
mod setting;
