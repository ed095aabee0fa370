//! Reports the result of a message to its sender.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};

use super::Sent;
use super::error::SendError;

/// The result of a message.
pub(super) type SendResult = Result<Sent, SendError>;

/// Replies to the sender of a message.
pub(super) enum ReplySender {
    /// The sender of this message alone.
    Single(oneshot::Sender<SendResult>),
    /// The sender of this message and others.
    Slot(ReplySlot),
}

impl ReplySender {
    pub(super) fn send(self, result: SendResult) {
        let unheard = match self {
            Self::Single(sender) => sender.send(result).err(),
            Self::Slot(slot) => slot.send(result),
        };
        // After its sender was dropped, only the log can report a failure.
        if let Some(Err(error)) = unheard {
            tracing::error!(%error, "a send failed after its caller was dropped");
        }
    }

    /// Records a failed message of that group, so that its sender's later ones are not sent.
    pub(super) fn break_group(&self, group: &Arc<str>) {
        if let Self::Slot(slot) = self {
            slot.replies.break_group(group);
        }
    }

    /// Returns whether an earlier message of the same group and sender failed.
    pub(super) fn is_group_broken(&self, group: &str) -> bool {
        match self {
            Self::Single(_) => false,
            Self::Slot(slot) => slot.replies.is_group_broken(group),
        }
    }
}

/// The results of messages that one sender waits for. It is woken once for all of them.
pub(super) struct Replies(Arc<RepliesInner>);

#[derive(Default)]
struct RepliesInner {
    state: Mutex<RepliesState>,
    wake: Notify,
    /// Whether any group has failed. Usually none has, and messages skip the lookup of their group.
    has_broken_group: AtomicBool,
}

#[derive(Default)]
struct RepliesState {
    /// Results in the order of the messages.
    results: Vec<Option<SendResult>>,
    pending: usize,
    /// The sender is woken when at most this many messages are pending.
    wake_at: usize,
    is_left: bool,
    /// Groups with a failed message.
    broken_groups: HashSet<Arc<str>>,
}

impl Replies {
    pub(super) fn new() -> Self {
        Self(Arc::default())
    }

    /// Returns the slot of the next message. If `most` messages are pending, it waits until half as many are.
    pub(super) async fn slot(&self, most: usize) -> ReplySlot {
        loop {
            if let Some(slot) = self.slot_below(most) {
                return slot;
            }
            self.wait(most / 2).await;
        }
    }

    fn slot_below(&self, most: usize) -> Option<ReplySlot> {
        let mut state = self.0.state();
        if state.pending >= most {
            return None;
        }
        state.results.push(None);
        state.pending += 1;
        Some(ReplySlot { replies: self.0.clone(), index: state.results.len() - 1, is_filled: false })
    }

    /// Waits for all results. A message whose reply was dropped has `None`.
    pub(super) async fn results(self) -> Vec<Option<SendResult>> {
        self.wait(0).await;
        std::mem::take(&mut self.0.state().results)
    }

    async fn wait(&self, pending: usize) {
        let is_over = || {
            let mut state = self.0.state();
            state.wake_at = pending;
            state.pending <= pending
        };
        // A wake-up may date from before this wait, and from fewer messages.
        while !is_over() {
            self.0.wake.notified().await;
        }
    }
}

impl Drop for Replies {
    fn drop(&mut self) {
        self.0.state().is_left = true;
    }
}

impl RepliesInner {
    fn state(&self) -> MutexGuard<'_, RepliesState> {
        // Each change leaves the state consistent, so a poisoned lock does no harm.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn break_group(&self, group: &Arc<str>) {
        self.state().broken_groups.insert(group.clone());
        self.has_broken_group.store(true, Ordering::Release);
    }

    fn is_group_broken(&self, group: &str) -> bool {
        self.has_broken_group.load(Ordering::Acquire) && self.state().broken_groups.contains(group)
    }
}

/// The slot of one of the messages that a sender waits for.
pub(super) struct ReplySlot {
    replies: Arc<RepliesInner>,
    index: usize,
    is_filled: bool,
}

impl ReplySlot {
    /// Reports the result, or returns it if the sender is gone.
    fn send(mut self, result: SendResult) -> Option<SendResult> {
        // Set here and not on drop, so that the lock is taken once.
        self.is_filled = true;
        let mut state = self.replies.state();
        state.close(&self.replies.wake);
        if state.is_left {
            return Some(result);
        }
        let slot = state.results.get_mut(self.index)?;
        *slot = Some(result);
        None
    }
}

impl Drop for ReplySlot {
    fn drop(&mut self) {
        if !self.is_filled {
            self.replies.state().close(&self.replies.wake);
        }
    }
}

impl RepliesState {
    /// Records that one message less is pending.
    fn close(&mut self, wake: &Notify) {
        self.pending -= 1;
        if self.pending == self.wake_at {
            wake.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(text: &str) -> SendResult {
        Err(SendError::failed(text.to_owned()))
    }

    fn slot(replies: &Replies) -> ReplySlot {
        replies.slot_below(usize::MAX).unwrap()
    }

    #[tokio::test]
    async fn results_are_in_the_order_of_slots_and_wait_for_the_last() {
        let replies = Replies::new();
        let (first, second, third) = (slot(&replies), slot(&replies), slot(&replies));
        third.send(failed("3"));
        drop(second);
        let late = tokio::spawn(async move { first.send(failed("1")) });
        assert_eq!(replies.results().await, [Some(failed("1")), None, Some(failed("3"))]);
        assert!(late.await.unwrap().is_none());
    }

    #[tokio::test]
    async fn early_wake_up_does_not_end_a_later_wait() {
        let replies = Replies::new();
        slot(&replies).send(failed("1"));
        let second = slot(&replies);
        let waiting = tokio::spawn(replies.results());
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        second.send(failed("2"));
        assert_eq!(waiting.await.unwrap().len(), 2);
    }

    #[tokio::test]
    async fn sender_at_the_limit_waits_until_half_are_settled() {
        let replies = Replies::new();
        let mut slots: Vec<_> = (0..10).map(|_| slot(&replies)).collect();
        let waiting = tokio::spawn(async move { replies.slot(10).await });
        for _ in 0..5 {
            tokio::task::yield_now().await;
            assert!(!waiting.is_finished());
            drop(slots.pop());
        }
        waiting.await.unwrap();
    }

    #[test]
    fn dropped_sender_gets_no_reply() {
        let replies = Replies::new();
        let slot = slot(&replies);
        drop(replies);
        assert!(slot.send(failed("1")).is_some());
    }
}
