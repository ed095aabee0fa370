//! What one poll has brought, from its receive until all of it is settled.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;

use super::hub::{Hub, Phase};
use super::lease::Leases;
use super::memory::MessageKey;
use super::settler::Receipt;
use crate::batch::{Fate, Invocation, Keeper, Place, Wait};
use crate::event::Event;
use crate::sqs::event::{Record, event};

/// The messages of a poll, by their position in it.
struct Messages {
    hub: Arc<Hub>,
    leases: Leases,
    entries: Vec<Mutex<Entry>>,
}

struct Entry {
    key: MessageKey,
    has_begun: bool,
    /// Given up as soon as the message does not run any more, so that another one can.
    permit: Option<OwnedSemaphorePermit>,
}

/// Runs messages that have just been received, each of which has a permit, and settles them.
pub(super) async fn run(hub: Arc<Hub>, records: Vec<(MessageKey, Record)>, mut permits: OwnedSemaphorePermit) {
    let receipts = records.iter().map(|(_, record)| Receipt::of(record));
    let leases = Leases::new(receipts, hub.queue.lease.as_duration());
    let (keys, records): (Vec<_>, Vec<_>) = records.into_iter().unzip();
    let entry = |key| Mutex::new(Entry { key, has_begun: false, permit: permits.split(1) });
    let entries = keys.into_iter().map(entry).collect();
    // There may be more of them than messages have come.
    drop(permits);
    let messages = Arc::new(Messages { hub: hub.clone(), leases, entries });

    let invocation = Invocation {
        remaining: None,
        origin: Arc::new(()),
        handlers: hub.handlers.clone(),
        keeper: Some(messages.clone()),
    };
    let visibility = hub.queue.visibility();
    let settled = async {
        tokio::select! {
            answer = hub.engine.clone().run(Event::of(event(&records).into_bytes()), invocation) => {
                // Each record is settled by itself. What remains is said of Lambda's answer.
                if let Err(error) = answer {
                    tracing::debug!(%error, "the answer to Lambda would be an error");
                }
            }
            () = messages.give_back_at_the_end() => {}
            () = hub.until(Phase::Cut) => {
                tracing::warn!("the drain timeout is over: what still runs is cancelled, and given back");
            }
        }
        messages.release(0..messages.entries.len()).await;
    };
    // To the very end: a heartbeat that is dropped halfway may still arrive, and hide what was given back.
    tokio::select! {
        () = settled => {}
        () = messages.leases.keep(&visibility) => {}
    }
}

impl Messages {
    fn entry<T>(&self, index: usize, look: impl FnOnce(&mut Entry) -> T) -> T {
        // No user's code runs under this lock.
        look(&mut self.entries[index].lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Gives back what has not begun when the worker closes. Does not end.
    async fn give_back_at_the_end(&self) {
        self.hub.until(Phase::Closing).await;
        let waiting: Vec<_> =
            (0..self.entries.len()).filter(|&index| !self.entry(index, |entry| entry.has_begun)).collect();
        self.release(waiting).await;
        std::future::pending().await
    }

    /// Has those that are still ours visible at once.
    async fn release(&self, indices: impl IntoIterator<Item = usize> + Clone) {
        let receipts = self.leases.take(indices.clone()).await;
        if !receipts.is_empty() {
            drop(self.hub.settler.release(receipts).await);
        }
        indices.into_iter().for_each(|index| self.end(index));
    }

    /// The message does not run, and will not.
    fn end(&self, index: usize) {
        let (key, permit) = self.entry(index, |entry| (entry.key.clone(), entry.permit.take()));
        // Who has given up its permit may have been received anew since.
        if permit.is_some() {
            self.hub.memory().ended(&key);
        }
    }

    /// Has a message that was processed deleted, and its copies. Says whether its line may go on.
    async fn delete(&self, place: &Place) -> bool {
        let hub = &self.hub;
        hub.memory().done(&self.entry(place.index, |entry| entry.key.clone()), tokio::time::Instant::now());
        let all = place.copies.iter().chain([&place.index]);
        let deleted = hub.settler.delete(all.map(|&index| self.leases.receipt(index)).collect()).await;
        if !hub.queue.source.is_fifo() {
            return true;
        }
        // Should this process die when the next one of the group is done, this one must not come back behind it.
        deleted.await
    }
}

impl Keeper for Messages {
    fn admits(&self, index: usize) -> bool {
        let admits = self.hub.is_open() && self.leases.is_ours(index);
        self.entry(index, |entry| entry.has_begun = admits);
        admits
    }

    fn is_ours(&self, index: usize) -> bool {
        self.leases.is_ours(index)
    }

    fn lost(&self, index: usize) -> Wait<'_> {
        Box::pin(self.leases.lost(index))
    }

    fn let_go<'a>(&'a self, place: &'a Place) -> Wait<'a, bool> {
        Box::pin(self.leases.let_go(place.index, &place.copies, &place.behind))
    }

    fn time_left(&self, index: usize) -> Duration {
        self.leases.time_left(index)
    }

    fn longest_delay(&self) -> Duration {
        self.leases.longest_delay()
    }

    fn settle<'a>(&'a self, place: &'a Place, fate: Fate) -> Wait<'a, bool> {
        Box::pin(async move {
            let goes_on = match fate {
                Fate::Done => {
                    self.leases.keep_again(&place.behind);
                    self.delete(place).await
                }
                Fate::ComesBack | Fate::Delayed => false,
            };
            for &index in place.copies.iter().chain([&place.index]) {
                self.end(index);
            }
            match fate {
                _ if goes_on => {}
                // They come back with it, and the queue has been told.
                Fate::Delayed => {
                    self.leases.take(place.behind.iter().copied()).await;
                    place.behind.iter().for_each(|&index| self.end(index));
                }
                Fate::Done | Fate::ComesBack => self.release(place.behind.clone()).await,
            }
            goes_on
        })
    }
}

impl fmt::Debug for Messages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Messages").field("len", &self.entries.len()).finish_non_exhaustive()
    }
}

#[cfg(all(test, feature = "local"))]
mod tests {
    use super::*;
    use crate::local::Sqs;
    use crate::worker::handle::WorkerHandle;
    use crate::worker::health::Health;
    use crate::worker::{Settings, lease::Leases};

    async fn messages() -> Messages {
        let client = Sqs::new().client();
        let url = client.create_queue().queue_name("orders").send().await.unwrap().queue_url.unwrap();
        let engine = crate::handler(|| async {}).engine();
        let health = Arc::new(Health::new(WorkerHandle::default()));
        let hub = Hub::begin(engine, &client, url, Settings::default(), health).await.unwrap();
        let receipt = Receipt { message_id: "m".to_owned(), receipt_handle: "r".to_owned() };
        let entry = Entry { key: MessageKey::of("m"), has_begun: false, permit: None };
        Messages {
            hub,
            leases: Leases::new([receipt].into_iter(), Duration::from_secs(30)),
            entries: vec![Mutex::new(entry)],
        }
    }

    #[tokio::test]
    async fn nothing_begins_while_what_has_not_begun_is_given_back() {
        let messages = messages().await;
        assert!(messages.admits(0));
        messages.hub.enter(Phase::Closing);
        assert!(!messages.admits(0), "it may be on its way back");
    }
}
