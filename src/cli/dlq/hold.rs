//! Messages that were received to be looked at, and are to be given back.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use aws_sdk_sqs::types::MessageSystemAttributeName;
use tokio::time::Instant;

use super::counted;
use super::letter::Letter;
use super::place::DeadLetterQueue;
use crate::sqs::coalesce::Coalescer;
use crate::sqs::delete::DeleteMessages;
use crate::sqs::entries::EntryError;
use crate::sqs::visibility::{Change, ChangeVisibility, VisibilityTimeout};

/// For how long a list hides what it looks at, should it never give it back.
pub(super) const SHORT: Duration = Duration::from_secs(30);
/// The same, where each message that is chosen takes two calls more.
pub(super) const LONGEST: Duration = Duration::from_secs(300);

/// SQS asks all of its servers, and so finds what there is, where a receive may wait for a message.
const WAIT_SECONDS: i32 = 1;
const MAX_RECEIVED: usize = 10;
/// Entries in calls at a time: eight calls.
const AT_ONCE: usize = 80;

/// What was received from a queue.
pub(super) struct Hold<'a> {
    queue: &'a DeadLetterQueue,
    timeout: Duration,
    /// Nothing more is received from then on: what came first would soon be visible again, and come a second time.
    ends: Instant,
    /// What is to be given back.
    held: HashMap<String, Received>,
    seen: HashSet<String>,
    visibility: Coalescer<ChangeVisibility>,
    deletes: Coalescer<DeleteMessages>,
}

struct Received {
    receipt_handle: String,
    /// At the earliest.
    visible_at: Instant,
}

impl<'a> Hold<'a> {
    pub(super) fn on(queue: &'a DeadLetterQueue, timeout: Duration) -> Self {
        let (client, queue_url) = (queue.sqs.client.clone(), queue.url.clone());
        Self {
            queue,
            timeout,
            ends: Instant::now() + timeout / 2,
            held: HashMap::new(),
            seen: HashSet::new(),
            visibility: Coalescer::new(ChangeVisibility { client: client.clone(), queue_url: queue_url.clone() }),
            deletes: Coalescer::new(DeleteMessages { client, queue_url }),
        }
    }

    /// Up to so many messages that were not seen yet. None: there is nothing more to be had.
    pub(super) async fn receive(&mut self, limit: usize) -> Result<Vec<Letter>, String> {
        let began = Instant::now();
        if began >= self.ends || limit == 0 {
            return Ok(Vec::new());
        }
        let receive = self.queue.sqs.client.receive_message().queue_url(&self.queue.url);
        let receive = receive
            .max_number_of_messages(limit.min(MAX_RECEIVED) as i32)
            .visibility_timeout(self.timeout.as_secs() as i32)
            .wait_time_seconds(WAIT_SECONDS)
            .message_attribute_names("All")
            .message_system_attribute_names(MessageSystemAttributeName::All);
        let received = receive.send().await;
        let received = received
            .map_err(|error| self.queue.sqs.explained(error, &format!("cannot look into {}", self.queue.name)))?;
        let letters = received.messages.unwrap_or_default().into_iter().filter_map(Letter::of);
        let mut fresh = Vec::new();
        for letter in letters {
            let receipt_handle = letter.receipt_handle.clone();
            self.held.insert(letter.id.clone(), Received { receipt_handle, visible_at: began + self.timeout });
            if self.seen.insert(letter.id.clone()) {
                fresh.push(letter);
            }
        }
        Ok(fresh)
    }

    /// Deletes these. Says of each by its id what was wrong, if something was.
    pub(super) async fn delete(&mut self, ids: &[String]) -> Vec<(String, Result<(), String>)> {
        let mut deleted = Vec::new();
        for ids in ids.chunks(AT_ONCE) {
            let calls: Vec<_> = ids.iter().map(|id| (id.clone(), self.begin_delete(id))).collect();
            for (id, call) in calls {
                let result = match call {
                    Ok(call) => call.await.map_err(|error| error.text().to_owned()),
                    Err(problem) => Err(problem),
                };
                if result.is_ok() {
                    self.held.remove(&id);
                }
                deleted.push((id, result));
            }
        }
        deleted
    }

    /// A receipt handle of a message that has become visible again may delete nothing, and say that it did.
    fn begin_delete(&self, id: &str) -> Result<impl Future<Output = Result<(), EntryError>> + use<>, String> {
        match self.held.get(id) {
            Some(received) if Instant::now() < received.visible_at => {
                Ok(self.deletes.submit(received.receipt_handle.clone()))
            }
            _ => Err("it was hidden no longer by then".to_owned()),
        }
    }

    /// Has all that is held visible again at once. Says what was wrong, if something was.
    pub(super) async fn give_back(self) -> Result<(), String> {
        let now = Instant::now();
        let held: Vec<_> = self.held.into_values().filter(|received| received.visible_at > now).collect();
        let (mut hidden, mut cause) = (0, None);
        for some in held.chunks(AT_ONCE) {
            let change = |received: &Received| Change {
                receipt_handle: received.receipt_handle.clone(),
                timeout: VisibilityTimeout::ZERO,
                not_after: received.visible_at,
            };
            let calls: Vec<_> = some.iter().map(|received| self.visibility.submit(change(received))).collect();
            for call in calls {
                match call.await {
                    // It is visible already: its time was up meanwhile.
                    Err(error) if error.is_too_late() => {}
                    Err(error) if !error.text().contains("MessageNotInflight") => {
                        (hidden, cause) = (hidden + 1, Some(error));
                    }
                    _ => {}
                }
            }
        }
        match cause {
            Some(error) => Err(format!(
                "{}: {} could not be given back, and stay hidden for up to {} s: {}",
                self.queue.name,
                counted(hidden),
                self.timeout.as_secs(),
                error.text()
            )),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::sqs::{Elsewhere, Found};
    use crate::local::Sqs;

    async fn queue(sqs: &Sqs) -> DeadLetterQueue {
        let client = sqs.client();
        let url = client.create_queue().queue_name("dead").send().await.unwrap().queue_url.unwrap();
        let found = Found { sqs: Elsewhere::here(client).unwrap(), name: "dead".to_owned(), url };
        DeadLetterQueue::at(found, true).await.unwrap()
    }

    async fn send(queue: &DeadLetterQueue) {
        queue.sqs.client.send_message().queue_url(&queue.url).message_body("a").send().await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_deleted_by_a_receipt_that_may_be_too_old() {
        let queue = queue(&Sqs::with_seed(1)).await;
        send(&queue).await;
        let mut hold = Hold::on(&queue, SHORT);
        let id = hold.receive(10).await.unwrap().remove(0).id;
        tokio::time::sleep(SHORT).await;
        let deleted = hold.delete(&[id]).await;
        assert!(deleted[0].1.as_ref().unwrap_err().contains("hidden no longer"), "{deleted:?}");
        assert_eq!(queue.counts().await.unwrap().visible, 1);
        hold.give_back().await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_more_is_received_where_the_first_would_soon_come_again() {
        let queue = queue(&Sqs::with_seed(1)).await;
        send(&queue).await;
        let mut hold = Hold::on(&queue, SHORT);
        assert_eq!(hold.receive(10).await.unwrap().len(), 1);
        tokio::time::sleep(SHORT / 2).await;
        send(&queue).await;
        assert!(hold.receive(10).await.unwrap().is_empty());
        hold.give_back().await.unwrap();
        assert_eq!(queue.counts().await.unwrap().visible, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_is_seen_once_and_what_is_deleted_is_not_given_back() {
        let queue = queue(&Sqs::with_seed(1)).await;
        send(&queue).await;
        let mut hold = Hold::on(&queue, Duration::from_secs(3));
        let id = hold.receive(10).await.unwrap().remove(0).id;
        hold.ends += LONGEST;
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert!(hold.receive(10).await.unwrap().is_empty(), "it came again");
        assert!(hold.delete(&[id]).await[0].1.is_ok(), "by its new receipt");
        assert!(hold.held.is_empty());
        hold.give_back().await.unwrap();
        assert_eq!(queue.counts().await.unwrap().visible, 0);
    }
}
