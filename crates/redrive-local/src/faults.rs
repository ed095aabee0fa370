//! Injects the occasional faults of SQS on demand, from a seed.

use std::time::Duration;

use super::queue::{BatchResultErrorEntry, Code, SqsError};

/// The probabilities of faults in calls to the queue, each from 0 to 1. The default is 0.
///
/// The queue's seed and the order of calls decide which calls fail.
///
/// ```
/// use std::time::Duration;
/// use redrive_local::Faults;
///
/// let faults = Faults::none().throttles(0.05).lost_answers(0.01).slow_calls(0.1, Duration::from_secs(3));
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Faults {
    throttles: f64,
    lost_requests: f64,
    lost_answers: f64,
    slow_calls: f64,
    slowest: Duration,
    duplicates: f64,
    failed_entries: f64,
    refused_entries: f64,
}

impl Faults {
    /// Returns no faults.
    pub fn none() -> Self {
        Self::default()
    }

    /// Refuses calls with `RequestThrottled`. These calls have no effect.
    pub fn throttles(self, probability: f64) -> Self {
        Self { throttles: probability, ..self }
    }

    /// Breaks the connection before a call arrives. These calls have no effect.
    pub fn lost_requests(self, probability: f64) -> Self {
        Self { lost_requests: probability, ..self }
    }

    /// Breaks the connection before the answer arrives. These calls take effect, and the caller does not know it.
    pub fn lost_answers(self, probability: f64) -> Self {
        Self { lost_answers: probability, ..self }
    }

    /// Delays calls by a random time up to `up_to`.
    pub fn slow_calls(self, probability: f64, up_to: Duration) -> Self {
        Self { slow_calls: probability, slowest: up_to, ..self }
    }

    /// Leaves received messages of a standard queue visible, so that another receive returns them too.
    pub fn duplicates(self, probability: f64) -> Self {
        Self { duplicates: probability, ..self }
    }

    /// Fails entries of batch calls with `SenderFault` false, so that a retry may succeed.
    pub fn failed_entries(self, probability: f64) -> Self {
        Self { failed_entries: probability, ..self }
    }

    /// Fails entries of batch calls with `SenderFault` true, so that a retry will not succeed.
    pub fn refused_entries(self, probability: f64) -> Self {
        Self { refused_entries: probability, ..self }
    }
}

/// Decides which calls fail.
#[derive(Debug)]
pub(super) struct Dice {
    faults: Faults,
    rng: fastrand::Rng,
}

/// The faults of one call.
#[derive(Debug, Default)]
pub(super) struct Fate {
    pub(super) delay: Duration,
    pub(super) loses_request: bool,
    pub(super) is_throttled: bool,
    pub(super) loses_answer: bool,
}

impl Dice {
    pub(super) fn new(faults: Faults, seed: u64) -> Self {
        Self { faults, rng: fastrand::Rng::with_seed(seed) }
    }

    pub(super) fn set(&mut self, faults: Faults) {
        self.faults = faults;
    }

    pub(super) fn call(&mut self) -> Fate {
        let faults = self.faults.clone();
        let slow = self.comes(faults.slow_calls);
        Fate {
            delay: if slow { faults.slowest.mul_f64(self.rng.f64()) } else { Duration::ZERO },
            loses_request: self.comes(faults.lost_requests),
            is_throttled: self.comes(faults.throttles),
            loses_answer: self.comes(faults.lost_answers),
        }
    }

    /// Returns the failure of a batch entry, if it fails.
    pub(super) fn entry(&mut self, id: &str) -> Option<BatchResultErrorEntry> {
        let (refused, failed) = (self.faults.refused_entries, self.faults.failed_entries);
        let error = if self.comes(refused) {
            SqsError::new(Code::InvalidParameterValue, "This entry is refused: an injected fault.")
        } else if self.comes(failed) {
            SqsError::new(Code::InternalFailure, "This entry failed: an injected fault.")
        } else {
            return None;
        };
        Some(BatchResultErrorEntry::new(id.to_owned(), error))
    }

    pub(super) fn duplicates(&mut self) -> bool {
        let probability = self.faults.duplicates;
        self.comes(probability)
    }

    /// Returns whether a fault occurs. A fault with probability 0 draws no number, so it does not change a seed's run.
    fn comes(&mut self, probability: f64) -> bool {
        probability > 0.0 && self.rng.f64() < probability
    }
}
