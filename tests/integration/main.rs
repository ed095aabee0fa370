//! The crate from outside: given this batch, these records come back.

mod bulk;
mod concurrency;
mod deadline;
mod extractors;
mod fifo;
mod kit;
mod layers;
mod malformed;
mod on_lambda;
mod outcomes;
mod panics;
mod properties;
mod small_batches;
mod tracing;
mod ui;

#[path = "../support/invariants.rs"]
mod invariants;
#[path = "../support/runtime_api.rs"]
mod runtime_api;
