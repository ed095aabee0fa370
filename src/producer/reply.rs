//! Reports the outcome of a message to its sender.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};

use super::Sent;
use super::error::SendError;

/// The outcome of a message.
pub(super) type Outcome = Result<Sent, SendError>;

pub(super) enum Teller {
    /// The sender of this message alone.
    Alone(oneshot::Sender<Outcome>),
    /// The sender of this message and others.
    Together(Place),
}

impl Teller {
    pub(super) fn tell(self, outcome: Outcome) {
        let unheard = match self {
            Self::Alone(sender) => sender.send(outcome).err(),
            Self::Together(place) => place.tell(outcome),
        };
        // After its sender was dropped, only the log can report a failure.
        if let Some(Err(error)) = unheard {
            tracing::error!(%error, "a send failed after its caller was dropped");
        }
    }

    /// Records a failed message of that group, so that its sender's later ones are not sent.
    pub(super) fn breaks(&self, group: &Arc<str>) {
        if let Self::Together(place) = self {
            place.all.breaks(group);
        }
    }

    /// Returns whether an earlier message of the same group and sender failed.
    pub(super) fn is_broken(&self, group: &str) -> bool {
        match self {
            Self::Alone(_) => false,
            Self::Together(place) => place.all.is_broken(group),
        }
    }
}

/// The outcomes of messages that one sender waits for. It is woken once for all of them.
pub(super) struct Together(Arc<All>);

#[derive(Default)]
struct All {
    state: Mutex<State>,
    wake: Notify,
    /// Whether any group has failed. Usually none has, and messages skip the lookup of their group.
    has_broken: AtomicBool,
}

#[derive(Default)]
struct State {
    /// Outcomes in the order of the messages.
    outcomes: Vec<Option<Outcome>>,
    open: usize,
    /// The sender is woken when at most this many messages are open.
    wake_at: usize,
    is_left: bool,
    /// Groups with a failed message.
    broken: HashSet<Arc<str>>,
}

impl Together {
    pub(super) fn new() -> Self {
        Self(Arc::default())
    }

    /// Returns the place of the next message. If `most` messages are open, it waits until half as many are.
    pub(super) async fn place(&self, most: usize) -> Place {
        loop {
            if let Some(place) = self.place_below(most) {
                return place;
            }
            self.wait(most / 2).await;
        }
    }

    fn place_below(&self, most: usize) -> Option<Place> {
        let mut state = self.0.state();
        if state.open >= most {
            return None;
        }
        state.outcomes.push(None);
        state.open += 1;
        Some(Place { all: self.0.clone(), index: state.outcomes.len() - 1, is_told: false })
    }

    /// Waits for all outcomes. A message whose teller was dropped has `None`.
    pub(super) async fn outcomes(self) -> Vec<Option<Outcome>> {
        self.wait(0).await;
        std::mem::take(&mut self.0.state().outcomes)
    }

    async fn wait(&self, open: usize) {
        let is_over = || {
            let mut state = self.0.state();
            state.wake_at = open;
            state.open <= open
        };
        // A wake-up may date from before this wait, and from fewer messages.
        while !is_over() {
            self.0.wake.notified().await;
        }
    }
}

impl Drop for Together {
    fn drop(&mut self) {
        self.0.state().is_left = true;
    }
}

impl All {
    fn state(&self) -> MutexGuard<'_, State> {
        // Each change leaves the state consistent, so a poisoned lock does no harm.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn breaks(&self, group: &Arc<str>) {
        self.state().broken.insert(group.clone());
        self.has_broken.store(true, Ordering::Release);
    }

    fn is_broken(&self, group: &str) -> bool {
        self.has_broken.load(Ordering::Acquire) && self.state().broken.contains(group)
    }
}

/// The place of one of the messages that a sender waits for.
pub(super) struct Place {
    all: Arc<All>,
    index: usize,
    is_told: bool,
}

impl Place {
    /// Reports the outcome, or returns it if the sender is gone.
    fn tell(mut self, outcome: Outcome) -> Option<Outcome> {
        // Set here and not on drop, so that the lock is taken once.
        self.is_told = true;
        let mut state = self.all.state();
        state.close(&self.all.wake);
        if state.is_left {
            return Some(outcome);
        }
        let place = state.outcomes.get_mut(self.index)?;
        *place = Some(outcome);
        None
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.is_told {
            self.all.state().close(&self.all.wake);
        }
    }
}

impl State {
    /// Records that one message less is open.
    fn close(&mut self, wake: &Notify) {
        self.open -= 1;
        if self.open == self.wake_at {
            wake.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(text: &str) -> Outcome {
        Err(SendError::failed(text.to_owned()))
    }

    fn place(together: &Together) -> Place {
        together.place_below(usize::MAX).unwrap()
    }

    #[tokio::test]
    async fn outcomes_are_in_the_order_of_places_and_wait_for_the_last() {
        let together = Together::new();
        let (first, second, third) = (place(&together), place(&together), place(&together));
        third.tell(failed("3"));
        drop(second);
        let late = tokio::spawn(async move { first.tell(failed("1")) });
        assert_eq!(together.outcomes().await, [Some(failed("1")), None, Some(failed("3"))]);
        assert!(late.await.unwrap().is_none());
    }

    #[tokio::test]
    async fn early_wake_up_does_not_end_a_later_wait() {
        let together = Together::new();
        place(&together).tell(failed("1"));
        let second = place(&together);
        let waiting = tokio::spawn(together.outcomes());
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        second.tell(failed("2"));
        assert_eq!(waiting.await.unwrap().len(), 2);
    }

    #[tokio::test]
    async fn sender_at_the_limit_waits_until_half_are_settled() {
        let together = Together::new();
        let mut places: Vec<_> = (0..10).map(|_| place(&together)).collect();
        let waiting = tokio::spawn(async move { together.place(10).await });
        for _ in 0..5 {
            tokio::task::yield_now().await;
            assert!(!waiting.is_finished());
            drop(places.pop());
        }
        waiting.await.unwrap();
    }

    #[test]
    fn dropped_sender_gets_no_outcome() {
        let together = Together::new();
        let place = place(&together);
        drop(together);
        assert!(place.tell(failed("1")).is_some());
    }
}
