//! Runs the tests of handlers on the worker.

mod kit;
mod messages;

#[path = "../support/fake_sqs.rs"]
mod fake_sqs;
#[path = "../handlers/mod.rs"]
mod handlers;
#[path = "../support/records.rs"]
mod records;
