//! The function as a built program: on Lambda, and as a worker.

#[path = "../../../tests/support/records.rs"]
#[allow(dead_code, reason = "other tests need more of it")]
mod records;
#[path = "../../../tests/support/runtime_api.rs"]
mod runtime_api;

mod on_lambda;
#[cfg(unix)]
mod process;
#[cfg(unix)]
mod under_load;
