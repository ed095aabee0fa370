//! By what a message is known that comes twice.

use std::fmt;

use crate::sqs::hex::hex;
use crate::sqs::random::random;

/// One of ours becomes a text when its message leaves: until then it takes no memory of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Id {
    Given(String),
    Random([u8; 16]),
    /// One of ours that is drawn when its message leaves, with those of the others in the call.
    NotDrawn,
}

/// The digits of a random one.
const DIGITS: usize = 32;

impl Id {
    pub(crate) fn random() -> Self {
        Self::Random(random())
    }

    /// As it was given.
    pub(super) fn given(&self) -> Option<&str> {
        match self {
            Self::Given(text) => Some(text),
            Self::Random(_) | Self::NotDrawn => None,
        }
    }

    /// As it goes to SQS, where it is drawn.
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
    fn a_random_one_is_of_its_length_and_no_other_is_it() {
        let id = Id::random();
        assert_eq!((id.to_string().len(), id.len(), Id::NotDrawn.len()), (DIGITS, DIGITS, DIGITS));
        assert_eq!(Id::Random([1; 16]).text().unwrap(), "01".repeat(16));
    }

    /// As in an application that seeds the generator which it shares with others, or a process that was copied.
    #[test]
    fn another_is_drawn_though_a_seed_is_the_same() {
        let [one, another] = [1, 1].map(|seed| {
            fastrand::seed(seed);
            Id::random()
        });
        assert_ne!(one, another);
    }
}
