//! The id by which a copy of a message is recognized.

use std::fmt;

use crate::sqs::hex::hex;
use crate::sqs::random::random;

/// A message's id. A random one becomes text only when its message is sent, so that it takes no memory until then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Id {
    Given(String),
    Random([u8; 16]),
    /// A random id that is drawn when its message is sent, together with those of the call.
    NotDrawn,
}

/// The digits of a random id.
const DIGITS: usize = 32;

impl Id {
    pub(crate) fn random() -> Self {
        Self::Random(random())
    }

    /// Returns an id that the application gave.
    pub(super) fn given(&self) -> Option<&str> {
        match self {
            Self::Given(text) => Some(text),
            Self::Random(_) | Self::NotDrawn => None,
        }
    }

    /// Returns the text for SQS, once the id is drawn.
    pub(super) fn text(&self) -> Option<String> {
        (*self != Self::NotDrawn).then(|| self.to_string())
    }

    pub(super) fn len(&self) -> usize {
        self.given().map_or(DIGITS, str::len)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Given(text) => f.write_str(text),
            Self::Random(bytes) => f.write_str(&hex(u128::from_be_bytes(*bytes))),
            Self::NotDrawn => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_ids_have_a_fixed_length_and_differ() {
        let id = Id::random();
        assert_eq!((id.to_string().len(), id.len(), Id::NotDrawn.len()), (DIGITS, DIGITS, DIGITS));
        assert_eq!(Id::Random([1; 16]).text().unwrap(), "01".repeat(16));
    }

    /// An application may seed the shared generator, and a process may be copied.
    #[test]
    fn random_ids_differ_under_the_same_seed() {
        let [one, another] = [1, 1].map(|seed| {
            fastrand::seed(seed);
            Id::random()
        });
        assert_ne!(one, another);
    }
}
