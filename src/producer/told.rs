//! Who is told what became of a message.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};

use super::Sent;
use super::error::SendError;

/// What became of a message.
pub(super) type Outcome = Result<Sent, SendError>;

pub(super) enum Teller {
    /// Whoever has sent this one.
    Alone(oneshot::Sender<Outcome>),
    /// Whoever has sent this one, and others.
    Together(Place),
}

impl Teller {
    pub(super) fn tell(self, outcome: Outcome) {
        let unheard = match self {
            Self::Alone(sender) => sender.send(outcome).err(),
            Self::Together(place) => place.tell(outcome),
        };
        // Whoever does not wait for it any more learns of a failure from the log alone.
        if let Some(Err(error)) = unheard {
            tracing::error!(%error, "nobody waits for what became of a message");
        }
    }

    /// A message of that group did not go, and what its sender has behind it is not to go before it.
    pub(super) fn breaks(&self, group: &Arc<str>) {
        if let Self::Together(place) = self {
            place.all.breaks(group);
        }
    }

    /// Whether one before this one, of the same group and sender, did not go.
    pub(super) fn is_broken(&self, group: &str) -> bool {
        match self {
            Self::Alone(_) => false,
            Self::Together(place) => place.all.is_broken(group),
        }
    }
}

/// What became of messages that one sender waits for, which is woken once and not for each.
pub(super) struct Together(Arc<All>);

#[derive(Default)]
struct All {
    state: Mutex<State>,
    wake: Notify,
    /// Seldom: most messages are not to look for their group.
    has_broken: AtomicBool,
}

#[derive(Default)]
struct State {
    /// In the order of the messages.
    outcomes: Vec<Option<Outcome>>,
    open: usize,
    /// The sender waits for no more than so many to be open.
    wake_at: usize,
    is_left: bool,
    /// Groups of which a message did not go.
    broken: HashSet<Arc<str>>,
}

impl Together {
    pub(super) fn new() -> Self {
        Self(Arc::default())
    }

    /// That of the next message. Where so many are open, it is there once half as many are.
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

    /// Waits until all are there. One that nobody was told of is `None`.
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
        // It may have been said before there was anyone to hear it, and of fewer messages.
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
        // What is in it is whole at any time.
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

/// One of the messages that one sender waits for.
pub(super) struct Place {
    all: Arc<All>,
    index: usize,
    is_told: bool,
}

impl Place {
    /// Gives the outcome back where nobody is there to hear it.
    fn tell(mut self, outcome: Outcome) -> Option<Outcome> {
        // Here and not when it is dropped: the lock is taken once.
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
    /// One less is open.
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
    async fn that_none_is_open_may_be_said_before_there_are_more() {
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
    async fn who_is_far_ahead_waits_for_half_of_it() {
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
    fn who_is_gone_is_told_nothing() {
        let together = Together::new();
        let place = place(&together);
        drop(together);
        assert!(place.tell(failed("1")).is_some());
    }
}
