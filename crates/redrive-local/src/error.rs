//! Defines the error of this crate.

use std::fmt;

/// The refusal of a request by the local queue or mapping. It concerns a setting that AWS refuses too, or a queue that
/// already exists.
///
/// `Debug` prints the same text as `Display`, because `main` and tests print it.
pub struct Error(String);

impl Error {
    pub(crate) fn new(problem: impl Into<String>) -> Self {
        Self(problem.into())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Error {}
