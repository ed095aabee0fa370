//! The local queue as its users see it: through a client of the AWS SDK, on tokio's paused clock.

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

#[path = "../support/calls.rs"]
mod calls;
#[path = "../support/log.rs"]
mod log;
#[path = "../support/setting.rs"]
mod setting;
#[path = "../support/wire.rs"]
mod wire;
