//! JSON, as far as a record needs it before a type of the user's takes over; and as a record is written.

#[cfg(any(feature = "large-messages", feature = "local", feature = "producer"))]
mod body;
mod error;
mod scan;
mod special;
mod string;
#[cfg(feature = "local")]
mod write;

#[cfg(feature = "large-messages")]
pub(crate) use self::body::escaped;
#[cfg(any(feature = "local", feature = "producer"))]
pub(crate) use self::body::to_body;
pub use self::error::JsonError;
pub(crate) use self::scan::{Scanner, find};
pub(crate) use self::string::text;
#[cfg(feature = "local")]
pub(crate) use self::write::Object;
