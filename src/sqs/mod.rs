//! What we do to a queue: visibility, and dead letters with their reason.

mod backoff;
mod client;
mod coalesce;
mod dead_letter;
mod effects;
pub(crate) mod note;
mod queue;
mod visibility;

pub use self::backoff::Backoff;
pub use self::effects::Effects;
