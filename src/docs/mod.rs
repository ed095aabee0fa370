//! Chapters: what does not belong to one type.

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

/// The README, whose program compiles.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
mod readme {}
