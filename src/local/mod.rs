//! SQS on this machine: the queue, the event source mapping, and the functions it invokes.

mod clock;
mod connector;
mod faults;
#[cfg_attr(not(test), expect(dead_code, unused_imports, reason = "the mapping that invokes functions is yet to come"))]
mod function;
#[cfg_attr(not(test), expect(dead_code, reason = "the poller that drives it is not written yet"))]
mod mapping;
mod queue;
mod server;
mod sqs;
mod wire;

pub use self::faults::Faults;
pub use self::sqs::Sqs;
