//! The outbox, on real databases, in front of the local queue.

mod account;
mod database;
mod doom;
mod enqueue;
mod fair;
mod guards;
mod kills;
mod kit;
mod latch;
mod on_postgres;
mod parked;
mod proxy;
mod relay;
mod simulation;
mod tap;

#[path = "../support/calls.rs"]
mod calls;
#[path = "../support/postgres/mod.rs"]
mod postgres;
#[path = "../support/queue.rs"]
mod queue;
#[path = "../support/setting.rs"]
mod setting;
