//! What goes wrong with SQS now and then, on demand and from a seed.

use std::time::Duration;

use super::queue::{Code, Failed, SqsError};

/// How often calls to the queue go wrong, each as a probability from 0 to 1. None does where nothing is said.
///
/// Which call goes wrong is decided by the seed of the queue, and by the order of the calls.
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
    /// Nothing goes wrong.
    pub fn none() -> Self {
        Self::default()
    }

    /// A call is refused with `RequestThrottled`, and nothing is done.
    pub fn throttles(self, probability: f64) -> Self {
        Self { throttles: probability, ..self }
    }

    /// The connection breaks before the call arrives, and nothing is done.
    pub fn lost_requests(self, probability: f64) -> Self {
        Self { lost_requests: probability, ..self }
    }

    /// The connection breaks before the answer arrives: what was asked for is done, and the caller does not know.
    pub fn lost_answers(self, probability: f64) -> Self {
        Self { lost_answers: probability, ..self }
    }

    /// A call takes some time more, up to that.
    pub fn slow_calls(self, probability: f64, up_to: Duration) -> Self {
        Self { slow_calls: probability, slowest: up_to, ..self }
    }

    /// A message that was received from a standard queue stays visible, and is soon received by somebody else as well.
    pub fn duplicates(self, probability: f64) -> Self {
        Self { duplicates: probability, ..self }
    }

    /// An entry of a batch call fails with `SenderFault` false: it may succeed another time.
    pub fn failed_entries(self, probability: f64) -> Self {
        Self { failed_entries: probability, ..self }
    }

    /// An entry of a batch call fails with `SenderFault` true: it will never succeed.
    pub fn refused_entries(self, probability: f64) -> Self {
        Self { refused_entries: probability, ..self }
    }
}

/// Decides what goes wrong.
#[derive(Debug)]
pub(super) struct Dice {
    faults: Faults,
    rng: fastrand::Rng,
}

/// What goes wrong with one call.
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

    /// How an entry of a batch fails, if it does.
    pub(super) fn entry(&mut self, id: &str) -> Option<Failed> {
        let (refused, failed) = (self.faults.refused_entries, self.faults.failed_entries);
        let error = if self.comes(refused) {
            SqsError::new(Code::InvalidParameterValue, "This entry is refused: a fault that was asked for.")
        } else if self.comes(failed) {
            SqsError::new(Code::InternalFailure, "This entry failed: a fault that was asked for.")
        } else {
            return None;
        };
        Some(Failed::new(id.to_owned(), error))
    }

    pub(super) fn duplicates(&mut self) -> bool {
        let probability = self.faults.duplicates;
        self.comes(probability)
    }

    /// Nothing is drawn for what never comes: a run without faults is the same as one before there were any.
    fn comes(&mut self, probability: f64) -> bool {
        probability > 0.0 && self.rng.f64() < probability
    }
}
