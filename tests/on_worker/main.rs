//! The tests of handlers, on the worker.

mod kit;
mod messages;

#[path = "../handlers/mod.rs"]
mod handlers;
#[path = "../support/records.rs"]
mod records;
