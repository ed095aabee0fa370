//! SQS on this machine: the queue, the event source mapping, and the functions it invokes.

#[cfg_attr(not(feature = "cli"), expect(dead_code, unused_imports, reason = "the command is what checks"))]
pub(crate) mod check;
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
#[expect(dead_code, reason = "`redrive dev`, which is to start what is read here, is not there yet")]
pub(crate) mod template;
mod wire;

pub use self::faults::Faults;
pub use self::kit::{DeadLetter, Delivery, Kit, Mapping, QueueBuilder, TestQueue};
pub use self::sqs::Sqs;
