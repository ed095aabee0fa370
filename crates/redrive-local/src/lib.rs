//! Runs SQS, the event source mapping and Lambda functions on this machine.
//!
//! [`Kit`] tests a consumer. [`Sqs`] is the queue alone, for clients of the AWS SDK and behind a socket. The chapter
//! [`docs`] explains how to use them, and where they differ from AWS.

mod callers;
mod clock;
mod connector;
mod error;
mod faults;
#[doc(hidden)]
#[allow(missing_docs, reason = "a seam")]
pub mod function;
mod kit;
#[doc(hidden)]
#[allow(missing_docs, reason = "a seam")]
pub mod mapping;
#[doc(hidden)]
#[allow(missing_docs, reason = "a seam")]
pub mod plan;
#[doc(hidden)]
#[allow(missing_docs, reason = "a seam")]
pub mod poller;
#[doc(hidden)]
#[allow(missing_docs, reason = "a seam")]
pub mod queue;
mod server;
mod sqs;
#[doc(hidden)]
#[allow(missing_docs, reason = "a seam")]
pub mod template;
mod wire;

pub use self::callers::Callers;
pub use self::error::Error;
pub use self::faults::Faults;
pub use self::kit::{DeadLetter, Delivery, Kit, Mapping, QueueBuilder, Stack, TemplateBuilder, TestQueue};
pub use self::sqs::Sqs;

#[doc = include_str!("docs.md")]
pub mod docs {}
