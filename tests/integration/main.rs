//! Tests the public API on Lambda events: given a batch, these records are reported.

mod concurrency;
mod deadline;
mod kit;
mod lambda_runtime;
mod malformed;
mod odd_parts;
mod properties;
mod tracing;
mod ui;
mod whole_batch;

#[path = "../handlers/mod.rs"]
mod handlers;
#[path = "../support/invariants.rs"]
mod invariants;
#[path = "../support/records.rs"]
mod records;
#[path = "../support/runtime_api.rs"]
mod runtime_api;
