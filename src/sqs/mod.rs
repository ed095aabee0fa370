//! Calls to SQS, and the conversion of its messages into Lambda's records.

mod backoff;
#[allow(missing_docs, reason = "a seam")]
pub mod call_error;
#[allow(missing_docs, reason = "a seam")]
pub mod client;
#[allow(missing_docs, reason = "a seam")]
pub mod coalesce;
pub(crate) mod credentials;
mod dead_letter;
mod dead_letter_queues;
#[allow(missing_docs, reason = "a seam")]
pub mod delete;
mod effects;
#[allow(missing_docs, reason = "a seam")]
pub mod entries;
pub(crate) mod error_codes;
mod failed_runs;
#[allow(missing_docs, reason = "a seam")]
pub mod hex;
#[allow(missing_docs, reason = "a seam")]
pub mod limits;
#[allow(missing_docs, reason = "a seam")]
pub mod note;
mod queue;
#[cfg(any(feature = "producer", feature = "worker"))]
pub(crate) mod random;
#[allow(missing_docs, reason = "a seam")]
pub mod region;
#[allow(missing_docs, reason = "a seam")]
pub mod safe_text;
#[allow(missing_docs, reason = "a seam")]
pub mod size_limit;
#[allow(missing_docs, reason = "a seam")]
pub mod source;
mod split;
#[allow(missing_docs, reason = "a seam")]
pub mod visibility;

pub use self::backoff::Backoff;
pub use self::effects::Effects;
