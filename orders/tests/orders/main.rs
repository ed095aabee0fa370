//! Tests the built program of the function, on Lambda and as a worker.

#[path = "../../../tests/support/records.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod records;
#[path = "../../../tests/support/runtime_api.rs"]
mod runtime_api;

mod on_lambda;
#[cfg(unix)]
mod process;
#[cfg(unix)]
mod under_load;
