//! SQS on this machine: the queue, the event source mapping, and the functions it invokes.

mod clock;
mod connector;
mod faults;
#[cfg_attr(not(test), expect(dead_code, unused_imports, reason = "the command that runs processes is yet to come"))]
mod function;
mod kit;
mod mapping;
mod poller;
mod queue;
mod server;
mod sqs;
mod wire;

pub use self::faults::Faults;
pub use self::kit::{DeadLetter, Delivery, Kit, Mapping, QueueBuilder, TestQueue};
pub use self::sqs::Sqs;
