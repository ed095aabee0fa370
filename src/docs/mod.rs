//! Chapters on topics that span several types.

#[doc = include_str!("lambda.md")]
pub mod lambda {}

#[cfg(feature = "sqs")]
#[doc = include_str!("effects.md")]
pub mod effects {}

#[cfg(feature = "producer")]
#[doc = include_str!("producer.md")]
pub mod producer {}

#[cfg(feature = "large-messages")]
#[doc = include_str!("large_messages.md")]
pub mod large_messages {}

#[cfg(feature = "worker")]
#[doc = include_str!("worker.md")]
pub mod worker {}

#[doc = include_str!("architecture.md")]
pub mod architecture {}

/// Compiles the programs in the README.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
mod readme {}
