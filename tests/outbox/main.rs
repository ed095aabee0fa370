//! The outbox, on real databases, in front of the local queue.

mod database;
mod enqueue;
mod kills;
mod kit;
mod on_postgres;
#[path = "../support/postgres/mod.rs"]
mod postgres;
mod proxy;
#[path = "../producer/kit.rs"]
mod queue;
mod relay;
mod simulation;
