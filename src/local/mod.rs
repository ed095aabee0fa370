//! SQS on this machine: the queue, the event source mapping, and the functions it invokes.
//!
//! [`Kit`] is the way to test a consumer; [`Sqs`] is the queue alone, for clients of the AWS SDK and behind a socket. The
//! chapter [`docs::local`](crate::docs::local) has how to use them, and where they differ from AWS.

mod callers;
#[cfg_attr(not(feature = "cli"), expect(dead_code, unused_imports, reason = "the command is what checks"))]
pub(crate) mod check;
mod clock;
mod connector;
mod faults;
#[cfg_attr(not(feature = "cli"), allow(dead_code, unused_imports, reason = "the command runs processes"))]
pub(crate) mod function;
mod kit;
pub(crate) mod mapping;
#[cfg_attr(not(feature = "cli"), allow(dead_code, reason = "the command says more of what is planned"))]
pub(crate) mod plan;
pub(crate) mod poller;
pub(crate) mod queue;
mod server;
mod sqs;
#[cfg_attr(not(feature = "cli"), allow(dead_code, reason = "the command reads more of templates than the kit does"))]
pub(crate) mod template;
mod wire;

pub use self::callers::Callers;
pub use self::faults::Faults;
pub use self::kit::{DeadLetter, Delivery, Kit, Mapping, QueueBuilder, Stack, TemplateBuilder, TestQueue};
pub use self::sqs::Sqs;
