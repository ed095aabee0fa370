//! A mixed load for `orders`, and whether each message of it is accounted for.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use aws_sdk_sqs::Client;
use aws_sdk_sqs::error::DisplayErrorContext;
use serde_json::{Value, json};

use crate::local::poller::News;
use crate::local::queue::Happening;

const GOOD: usize = 7;

/// What is sent, and what the README says becomes of it.
fn bodies() -> Vec<String> {
    let order = |id: usize, sku: &str| {
        let items = json!([{"sku": sku, "quantity": 1, "unit_price_cents": 1_999}]);
        json!({"order_id": format!("A-{id}"), "customer": "C-1", "currency": "EUR", "items": items}).to_string()
    };
    let mut bodies: Vec<_> = (1..=GOOD).map(|id| order(id, "BOOK")).collect();
    // In stock from its third delivery on.
    bodies.push(order(8, "BACK-ORDER"));
    // Never in stock: poison.
    bodies.push(order(9, "OUT-OF-STOCK"));
    bodies.push("{\"order_id\": \"A-10\", \"customer\"".to_owned());
    bodies
}

/// Sends the load. Gives back the ids of the messages.
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
        let sent = sent.map_err(|error| format!("cannot send to {queue_url}: {}", DisplayErrorContext(error)))?;
        ids.push(sent.message_id.unwrap_or_default());
    }
    Ok(ids)
}

/// What has become of messages.
#[derive(Default)]
pub(super) struct Account(Mutex<Fates>);

#[derive(Default)]
struct Fates {
    processed: HashSet<String>,
    dead: HashSet<String>,
    retries: usize,
    /// What was wrong with a message last.
    errors: HashMap<String, String>,
}

impl Account {
    fn fates(&self) -> std::sync::MutexGuard<'_, Fates> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn failed(&self, message_id: String, error: String) {
        self.fates().errors.insert(message_id, error);
    }

    pub(super) fn hear(&self, news: &News) {
        let News::Batch(batch) = news else { return };
        let mut fates = self.fates();
        for message in &batch.messages {
            if message.is_deleted {
                fates.processed.insert(message.message_id.clone());
                fates.errors.remove(&message.message_id);
            } else {
                fates.retries += 1;
            }
        }
    }

    pub(super) fn happened(&self, happening: &Happening) {
        let Happening::DeadLettered { message_id, .. } = happening else { return };
        let mut fates = self.fates();
        fates.dead.insert(message_id.clone());
        // Its last receive was not followed by another.
        fates.retries = fates.retries.saturating_sub(1);
    }

    /// Why the message is dead, where that is known.
    pub(super) fn why(&self, happening: &Happening) -> Option<String> {
        let Happening::DeadLettered { message_id, .. } = happening else { return None };
        self.fates().errors.remove(message_id)
    }

    /// What has become of those that were sent, and whether each is accounted for.
    pub(super) fn summary(&self, sent: &[String]) -> (String, Value, bool) {
        let fates = self.fates();
        let count = |of: &HashSet<String>| sent.iter().filter(|id| of.contains(*id)).count();
        let (processed, dead, retried) = (count(&fates.processed), count(&fates.dead), fates.retries);
        let is_missing = |id: &&String| !fates.processed.contains(*id) && !fates.dead.contains(*id);
        let missing: Vec<_> = sent.iter().filter(is_missing).collect();
        let sent = sent.len();
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
