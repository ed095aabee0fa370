//! Runs SQS, the event source mapping and Lambda functions on this machine.
//!
//! [`Kit`] tests a consumer. [`Sqs`] is the queue alone, for clients of the AWS SDK and behind a socket. The chapter
//! [`docs`] explains how to use them, and where they differ from AWS.
//!
//! # Stability
//!
//! The API contains `Consumer` and `Kind` of `redrive` 0.1, `Client` of `aws-sdk-sqs` 1, `TcpListener` of `tokio` 1,
//! and `Serialize` of `serde` 1. None is re-exported. A breaking version of one of these crates needs a breaking release
//! of this crate. The [policy of `redrive`](redrive#stability) applies otherwise, also to the minimum Rust version. A
//! seed repeats a run only with the same version of this crate: ids, faults and the order of events may change in any
//! release. The hidden modules are for the command `redrive`.

mod callers;
mod clock;
mod connector;
mod error;
#[doc(hidden)]
#[allow(missing_docs, reason = "a seam")]
pub mod event;
mod faults;
#[doc(hidden)]
#[allow(missing_docs, reason = "a seam")]
pub mod function;
mod kit;
#[doc(hidden)]
#[allow(missing_docs, reason = "a seam")]
pub mod mapping;
mod partition;
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
#[doc(hidden)]
pub use self::callers::{RefusedCaller, guarded};
pub use self::error::Error;
pub use self::faults::Faults;
pub use self::kit::{DeadLetter, Delivery, Kit, Mapping, QueueBuilder, Stack, TemplateBuilder, TestQueue};
pub use self::sqs::Sqs;

#[doc = include_str!("docs.md")]
pub mod docs {}
