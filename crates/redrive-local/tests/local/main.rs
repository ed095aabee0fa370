//! Tests the local queue through a client of the AWS SDK, on tokio's paused clock.

mod attributes;
mod consumers;
mod dead_letter_size;
mod effects;
mod faults;
mod fifo;
mod kit;
mod limits;
mod malformed;
mod move_tasks;
mod poison;
mod queues;
mod redrive_policy;
mod served;
mod simulation;
mod standard;
mod template;
mod whole_batch;

#[path = "../../../../tests/support/calls.rs"]
mod calls;
#[path = "../../../../tests/support/log.rs"]
mod log;
#[path = "../../../../tests/support/setting.rs"]
mod setting;
#[path = "../../../../tests/support/wire.rs"]
mod wire;
