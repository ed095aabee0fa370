//! By what a message is known that comes twice.

use std::fmt;

/// One of ours becomes a text when its message leaves: until then it takes no memory of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Id {
    Given(String),
    Random([u64; 2]),
}

/// The digits of a random one.
const DIGITS: usize = 32;

impl Id {
    pub(crate) fn random() -> Self {
        Self::Random([fastrand::u64(..), fastrand::u64(..)])
    }

    /// As it was given.
    pub(super) fn given(&self) -> Option<&str> {
        match self {
            Self::Given(text) => Some(text),
            Self::Random(_) => None,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.given().map_or(DIGITS, str::len)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Given(text) => f.write_str(text),
            Self::Random([high, low]) => write!(f, "{high:016x}{low:016x}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_random_one_is_of_its_length_and_no_other_is_it() {
        let (id, other) = (Id::random(), Id::random());
        assert_eq!((id.to_string().len(), Id::Random([0, 1]).to_string().len()), (id.len(), DIGITS));
        assert_ne!(id.to_string(), other.to_string());
    }
}
