//! Reads and writes JSON, as far as a record needs it before the user's type takes over.

#[cfg(feature = "sqs")]
mod body;
mod error;
mod scan;
mod special;
mod string;

#[cfg(feature = "large-messages")]
pub(crate) use self::body::escaped;
#[cfg(feature = "sqs")]
pub use self::body::to_body;
pub use self::error::JsonError;
pub(crate) use self::scan::{Scanner, find};
pub(crate) use self::string::text;
