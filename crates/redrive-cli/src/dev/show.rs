//! Shows events in their order, from one task.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use redrive_local::poller::News;
use redrive_local::queue::Happening;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::demo::Account;
use super::screen::{Screen, Told};

/// How long showing an event is delayed. A function's log arrives through a pipe and its answer through a socket, so
/// the log may arrive late but belongs before the answer.
const LOG_DELAY: Duration = Duration::from_millis(20);

/// The limit of messages in waiting events. Further events are dropped and counted.
const MAX_WAITING_MESSAGES: usize = 100_000;

/// An event with its time.
struct Item {
    at: Instant,
    what: What,
}

enum What {
    News(Arc<Told>, News),
    Happening(Happening),
}

/// Accepts events without waiting.
#[derive(Clone)]
pub(super) struct Show {
    sender: mpsc::UnboundedSender<Item>,
    backlog: Arc<Backlog>,
}

/// The task that shows events. It ends when all senders are gone.
pub(super) struct Shower(JoinHandle<()>);

/// The events that wait to be shown.
#[derive(Default)]
struct Backlog {
    messages: AtomicUsize,
    dropped: AtomicU64,
}

impl Show {
    pub(super) fn start(screen: Arc<Screen>, account: Arc<Account>) -> (Self, Shower) {
        let (sender, mut items) = mpsc::unbounded_channel::<Item>();
        let backlog = Arc::<Backlog>::default();
        let shown = backlog.clone();
        let show = async move {
            while let Some(Item { at, what }) = items.recv().await {
                tokio::time::sleep_until(at + LOG_DELAY).await;
                let messages = what.messages();
                match what {
                    What::News(told, news) => screen.news(&told, &news),
                    What::Happening(happening) => screen.happening(&happening, account.why(&happening).as_deref()),
                }
                if let Some(dropped) = shown.show(messages) {
                    screen.dropped(dropped);
                }
            }
        };
        (Self { sender, backlog }, Shower(tokio::spawn(show)))
    }

    pub(super) fn news(&self, told: &Arc<Told>, news: News) {
        self.send(What::News(told.clone(), news));
    }

    pub(super) fn happening(&self, happening: Happening) {
        self.send(What::Happening(happening));
    }

    fn send(&self, what: What) {
        if self.backlog.add(what.messages()) {
            // The task ends after all senders, so the send cannot fail.
            let _ = self.sender.send(Item { at: Instant::now(), what });
        }
    }
}

impl What {
    /// Returns how many messages the event is about, at least one, because the event itself takes memory.
    fn messages(&self) -> usize {
        match self {
            Self::News(_, News::Batch(batch)) => batch.messages.len().max(1),
            Self::News(_, News::Filtered { message_ids }) => message_ids.len().max(1),
            Self::News(_, News::NotReady { .. } | News::PollFailed { .. } | News::DeleteFailed { .. }) => 1,
            Self::Happening(_) => 1,
        }
    }
}

impl Backlog {
    /// Returns whether there is room for an event about that many messages. Without room, the event counts as dropped.
    fn add(&self, messages: usize) -> bool {
        if self.messages.load(Ordering::Relaxed) >= MAX_WAITING_MESSAGES {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        self.messages.fetch_add(messages, Ordering::Relaxed);
        true
    }

    /// Records that an event was shown. Returns how many were dropped before it, if any.
    fn show(&self, messages: usize) -> Option<u64> {
        self.messages.fetch_sub(messages, Ordering::Relaxed);
        let dropped = self.dropped.swap(0, Ordering::Relaxed);
        (dropped > 0).then_some(dropped)
    }
}

impl Shower {
    pub(super) async fn end(self) {
        // If the task panicked, the panic is printed already, and nothing more can be shown.
        let _ = self.0.await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_beyond_the_limit_are_dropped_and_counted() {
        let backlog = Backlog::default();
        let added = (0..1_000_000).filter(|_| backlog.add(10)).count();
        assert_eq!(added, MAX_WAITING_MESSAGES / 10);
        assert_eq!(backlog.messages.load(Ordering::Relaxed), MAX_WAITING_MESSAGES);
        assert_eq!(backlog.show(10), Some(1_000_000 - added as u64));
        assert!(backlog.add(10), "there is room again");
        assert_eq!(backlog.show(10), None);
    }
}
