//! Tests the worker against the local queue, on tokio's paused clock.

mod credentials;
mod effects;
mod fifo;
mod health;
mod kit;
mod late_changes;
mod leases;
mod payloads;
mod poison;
mod polling;
mod receives;
mod region;
mod script;
mod shutdown;
mod simulation;
mod start;

#[path = "../support/calls.rs"]
mod calls;
#[path = "../support/fake_sqs.rs"]
mod fake_sqs;
#[path = "../support/log.rs"]
mod log;
#[path = "../support/setting.rs"]
mod setting;
#[path = "../support/wire.rs"]
mod wire;
