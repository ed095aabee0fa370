//! Tests the producer with the local queue, on tokio's paused clock.

mod answers;
mod batches;
mod bounds;
mod deduplication;
mod order;
mod proxies;
mod retries;
mod simulation;
mod size;
mod traces;
mod unsent;

#[path = "../support/calls.rs"]
mod calls;
#[path = "../support/fake_sqs.rs"]
mod fake_sqs;
#[path = "../support/queue.rs"]
mod kit;
#[path = "../support/setting.rs"]
mod setting;
#[path = "../support/wire.rs"]
#[expect(dead_code, reason = "no connection breaks here")]
mod wire;
