//! What we do to a queue: visibility, and dead letters with their reason. And what it hands out, as a function gets it.

mod backoff;
pub(crate) mod call_error;
pub(crate) mod client;
pub(crate) mod coalesce;
pub(crate) mod credentials;
mod dead_letter;
mod dead_letter_queues;
pub(crate) mod delete;
mod effects;
pub(crate) mod entries;
#[cfg(feature = "local")]
pub(crate) mod event;
mod failed_runs;
#[cfg(any(feature = "local", feature = "producer", feature = "worker"))]
pub(crate) mod hex;
pub(crate) mod limits;
#[cfg(feature = "local")]
pub(crate) mod message;
pub(crate) mod note;
mod queue;
#[cfg(any(feature = "producer", feature = "worker"))]
pub(crate) mod random;
pub(crate) mod region;
pub(crate) mod safe_text;
pub(crate) mod size_limit;
#[cfg(any(feature = "local", feature = "worker"))]
pub(crate) mod source;
mod split;
pub(crate) mod visibility;

pub use self::backoff::Backoff;
pub use self::effects::Effects;
