//! The producer against the local queue, on tokio's paused clock.

mod answers;
mod batches;
mod bounds;
mod order;
mod retries;
mod simulation;
mod traces;

#[path = "../support/calls.rs"]
mod calls;
#[path = "../support/fake_sqs.rs"]
mod fake_sqs;
#[path = "../support/queue.rs"]
mod kit;
#[path = "../support/setting.rs"]
mod setting;
