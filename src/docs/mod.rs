//! Chapters: what does not belong to one type.
#![doc = ""]

#[doc = include_str!("lambda.md")]
pub mod lambda {}

#[doc = include_str!("architecture.md")]
pub mod architecture {}
