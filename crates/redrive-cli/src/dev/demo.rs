//! Sends a mixed load to `orders`, and checks that each message is accounted for.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use aws_sdk_sqs::Client;
use serde_json::{Value, json};

use redrive::internals::safe_text::text_of;
use redrive_local::poller::News;
use redrive_local::queue::Happening;

const GOOD: usize = 7;

/// Returns the bodies of the load. The README describes their outcomes.
fn bodies() -> Vec<String> {
    let order = |id: usize, sku: &str| {
        let items = json!([{"sku": sku, "quantity": 1, "unit_price_cents": 1_999}]);
        json!({"order_id": format!("A-{id}"), "customer": "C-1", "currency": "EUR", "items": items}).to_string()
    };
    let mut bodies: Vec<_> = (1..=GOOD).map(|id| order(id, "BOOK")).collect();
    // This order is in stock from its third receive on.
    bodies.push(order(8, "BACK-ORDER"));
    // This order is never in stock, so it is poison.
    bodies.push(order(9, "OUT-OF-STOCK"));
    bodies.push("{\"order_id\": \"A-10\", \"customer\"".to_owned());
    bodies
}

/// Sends the load. Returns the ids of the messages.
pub(super) async fn send(client: &Client, queue_url: &str) -> Result<Vec<String>, String> {
    let is_fifo = queue_url.ends_with(".fifo");
    let mut ids = Vec::new();
    for (number, body) in bodies().into_iter().enumerate() {
        let mut send = client.send_message().queue_url(queue_url).message_body(body);
        if is_fifo {
            send =
                send.message_group_id(format!("customer-{number}")).message_deduplication_id(format!("demo-{number}"));
        }
        let sent = send.send().await;
        let sent = sent.map_err(|error| format!("cannot send to {queue_url}: {}", text_of(&error)))?;
        ids.push(sent.message_id.unwrap_or_default());
    }
    Ok(ids)
}

/// The limit of messages whose last error is kept for their dead letters. The oldest are forgotten.
const MAX_ERRORS: usize = 10_000;

/// The outcomes of a demo's messages, and the last error of each message.
#[derive(Default)]
pub(super) struct Account(Mutex<Fates>);

#[derive(Default)]
struct Fates {
    /// The messages of the demo only.
    sent: HashMap<String, Fate>,
    retries: usize,
    errors: Errors,
}

#[derive(Clone, Copy, Default)]
struct Fate {
    is_processed: bool,
    is_dead: bool,
}

/// The last errors of a limited number of messages.
#[derive(Default)]
struct Errors {
    by_message: HashMap<String, String>,
    /// The messages in their order, including some that are already forgotten.
    order: VecDeque<String>,
}

impl Errors {
    fn insert(&mut self, message_id: String, error: String) {
        if let Some(known) = self.by_message.get_mut(&message_id) {
            *known = error;
            return;
        }
        if self.order.len() == MAX_ERRORS
            && let Some(oldest) = self.order.pop_front()
        {
            self.by_message.remove(&oldest);
        }
        self.order.push_back(message_id.clone());
        self.by_message.insert(message_id, error);
    }

    fn remove(&mut self, message_id: &str) -> Option<String> {
        self.by_message.remove(message_id)
    }
}

impl Account {
    fn fates(&self) -> std::sync::MutexGuard<'_, Fates> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Accounts for these messages from now on.
    pub(super) fn expect(&self, sent: &[String]) {
        self.fates().sent = sent.iter().map(|id| (id.clone(), Fate::default())).collect();
    }

    pub(super) fn failed(&self, message_id: String, error: String) {
        self.fates().errors.insert(message_id, error);
    }

    pub(super) fn hear(&self, news: &News) {
        let News::Batch(batch) = news else { return };
        let mut fates = self.fates();
        for message in &batch.messages {
            if message.is_deleted {
                fates.errors.remove(&message.message_id);
                if let Some(fate) = fates.sent.get_mut(&message.message_id) {
                    fate.is_processed = true;
                }
            } else {
                fates.retries += 1;
            }
        }
    }

    pub(super) fn happened(&self, happening: &Happening) {
        let Happening::DeadLettered { message_id, .. } = happening else { return };
        let mut fates = self.fates();
        if let Some(fate) = fates.sent.get_mut(message_id) {
            fate.is_dead = true;
        }
        // No retry followed its last receive.
        fates.retries = fates.retries.saturating_sub(1);
    }

    /// Returns why the message became a dead letter, if known.
    pub(super) fn why(&self, happening: &Happening) -> Option<String> {
        let Happening::DeadLettered { message_id, .. } = happening else { return None };
        self.fates().errors.remove(message_id)
    }

    /// Returns the outcomes of the demo's messages, and whether each one is accounted for.
    pub(super) fn summary(&self) -> (String, Value, bool) {
        let fates = self.fates();
        let count = |is: fn(&Fate) -> bool| fates.sent.values().filter(|fate| is(fate)).count();
        let (processed, dead) = (count(|fate| fate.is_processed), count(|fate| fate.is_dead));
        let is_missing = |fate: &Fate| !fate.is_processed && !fate.is_dead;
        let mut missing: Vec<_> = fates.sent.iter().filter(|(_, fate)| is_missing(fate)).map(|(id, _)| id).collect();
        missing.sort();
        let (sent, retried) = (fates.sent.len(), fates.retries);
        let mut text = format!("{sent} sent, {processed} processed, {retried} retries, {dead} dead-lettered");
        if !missing.is_empty() {
            text.push_str(&format!(", and {} UNACCOUNTED FOR: {missing:?}", missing.len()));
        }
        let json = json!({
            "event": "summary", "sent": sent, "processed": processed, "retries": retried, "dead_lettered": dead,
            "missing": missing,
        });
        (text, json, missing.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use redrive_local::poller::{BatchNews, MessageNews};

    use super::*;

    fn done(message_id: String) -> News {
        let message = MessageNews { message_id, group: None, receive_count: 1, is_deleted: true };
        let batch = BatchNews {
            request_id: String::new(),
            messages: vec![message],
            problems: Vec::new(),
            took: Duration::ZERO,
        };
        News::Batch(batch)
    }

    #[test]
    fn messages_outside_a_demo_are_forgotten() {
        let account = Account::default();
        account.expect(&["mine".to_owned()]);
        for id in 0..100_000 {
            account.failed(id.to_string(), "no".to_owned());
            account.hear(&done((id / 2).to_string()));
        }
        account.hear(&done("mine".to_owned()));
        let fates = account.fates();
        assert_eq!(fates.sent.len(), 1);
        assert!(fates.errors.by_message.len() <= MAX_ERRORS && fates.errors.order.len() <= MAX_ERRORS);
        drop(fates);
        let (text, _, is_good) = account.summary();
        assert!(is_good && text.starts_with("1 sent, 1 processed"), "{text}");
    }

    #[test]
    fn last_error_of_a_message_is_kept() {
        let mut errors = Errors::default();
        for (id, error) in [("a", "first"), ("b", "other"), ("a", "last")] {
            errors.insert(id.to_owned(), error.to_owned());
        }
        assert_eq!((errors.remove("a").as_deref(), errors.remove("a")), (Some("last"), None));
    }
}
