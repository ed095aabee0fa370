//! Implements the calls that create, find, purge and delete queues.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::account::{ACCOUNT_ID, Account, no_such_queue};
use super::deduplication::Deduplication;
use super::error::{Code, SqsError};
use super::number::bounded;
use super::settings::{FIFO_QUEUE, Settings};
use super::settle::Nothing;
use super::time::Time;

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct CreateQueue {
    pub queue_name: String,
    pub attributes: Option<BTreeMap<String, String>>,
    /// The request's only parameter in lower case.
    #[serde(rename = "tags")]
    pub tags: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct GetQueueUrl {
    pub queue_name: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct QueueUrl {
    pub queue_url: String,
}

/// A call whose only parameter is the queue: DeleteQueue, PurgeQueue, ListQueueTags.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct OfQueue {
    pub queue_url: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ListQueues {
    pub queue_name_prefix: Option<String>,
    pub next_token: Option<String>,
    pub max_results: Option<i64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ListDeadLetterSourceQueues {
    pub queue_url: String,
    pub next_token: Option<String>,
    pub max_results: Option<i64>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct QueueUrls {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub queue_urls: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_token: Option<String>,
}

/// Like [`QueueUrls`], but with AWS's other name for the list.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct SourceQueueUrls {
    #[serde(rename = "queueUrls")]
    pub queue_urls: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_token: Option<String>,
}

const MAX_NAME_CHARS: usize = 80;
const MAX_RESULTS: u32 = 1_000;

impl Account {
    pub fn create_queue(&mut self, request: CreateQueue, base_url: &str, now: Time) -> Result<QueueUrl, SqsError> {
        let CreateQueue { queue_name: name, attributes, tags } = request;
        let attributes = attributes.unwrap_or_default();
        let fifo = attributes.get(FIFO_QUEUE).is_some_and(|value| value.eq_ignore_ascii_case("true"));
        check_name(&name, fifo)?;
        let settings = Settings::new(fifo).with(&attributes)?;
        self.check_redrive(&self.arn_of(&name), fifo, &settings)?;
        if let Some(existing) = self.queues.get(&name) {
            if let Some(attribute) = existing.settings.first_that_differs(&attributes)? {
                let message = format!(
                    "A queue already exists with the same name and a different value for attribute {attribute}"
                );
                return Err(SqsError::new(Code::QueueNameExists, message));
            }
        } else {
            self.check_not_deleted(&name, now)?;
            let queue = self.add_queue(name.clone(), settings, now);
            queue.tags = tags.unwrap_or_default();
        }
        Ok(QueueUrl { queue_url: url(base_url, &name) })
    }

    fn check_not_deleted(&mut self, name: &str, now: Time) -> Result<(), SqsError> {
        let settling_time = self.settling_time;
        self.deleted.retain(|_, at| *at + settling_time > now);
        if self.deleted.contains_key(name) {
            let message =
                "You must wait 60 seconds after deleting a queue before you can create another with the same name.";
            return Err(SqsError::new(Code::QueueDeletedRecently, message));
        }
        Ok(())
    }

    /// Checks that the dead-letter queue exists, has the same type, and allows this source queue.
    pub(super) fn check_redrive(&mut self, source_arn: &str, fifo: bool, settings: &Settings) -> Result<(), SqsError> {
        let Some(policy) = &settings.redrive else { return Ok(()) };
        let refused = |reason: &str| Err(SqsError::attribute("RedrivePolicy", reason));
        let Some(target) = self.queue_by_arn(&policy.target_arn) else {
            return refused(&format!("Dead letter target does not exist: {}.", policy.target_arn));
        };
        if &*target.arn == source_arn {
            return refused("A queue cannot be its own dead-letter queue.");
        }
        if target.is_fifo() != fifo {
            return refused(
                "The dead-letter queue of a FIFO queue must be a FIFO queue, and of a standard queue a standard one.",
            );
        }
        if target.settings.redrive_allow.as_ref().is_some_and(|allow| !allow.allows(source_arn)) {
            return refused("The RedriveAllowPolicy of the dead-letter queue does not allow this queue.");
        }
        Ok(())
    }

    pub fn get_queue_url(&self, request: GetQueueUrl, base_url: &str) -> Result<QueueUrl, SqsError> {
        if request.queue_name.is_empty() {
            return Err(SqsError::missing("QueueName"));
        }
        let queue = self.queues.get(&request.queue_name).ok_or_else(no_such_queue)?;
        Ok(QueueUrl { queue_url: url(base_url, &queue.name) })
    }

    pub fn list_queues(&self, request: ListQueues, base_url: &str) -> Result<QueueUrls, SqsError> {
        let prefix = request.queue_name_prefix.unwrap_or_default();
        let names = self.queues.keys().filter(|name| name.starts_with(&prefix));
        let (names, next_token) = page(names, request.next_token.as_deref(), request.max_results)?;
        Ok(QueueUrls { queue_urls: names.iter().map(|name| url(base_url, name)).collect(), next_token })
    }

    pub fn list_dead_letter_source_queues(
        &mut self,
        request: ListDeadLetterSourceQueues,
        base_url: &str,
        now: Time,
    ) -> Result<SourceQueueUrls, SqsError> {
        let arn = self.queue(&request.queue_url, now)?.arn.clone();
        let sources = self
            .queues
            .values()
            .filter(|queue| queue.settings.redrive.as_ref().is_some_and(|policy| *policy.target_arn == *arn));
        let names = sources.map(|queue| &queue.name);
        let (names, next_token) = page(names, request.next_token.as_deref(), request.max_results)?;
        Ok(SourceQueueUrls { queue_urls: names.iter().map(|name| url(base_url, name)).collect(), next_token })
    }

    pub fn delete_queue(&mut self, request: OfQueue, now: Time) -> Result<Nothing, SqsError> {
        let queue = self.queue(&request.queue_url, now)?;
        let (name, id) = (queue.name.clone(), queue.id);
        self.queues.remove(&name);
        self.deleted.insert(name, now);
        self.has_changed(id);
        Ok(Nothing {})
    }

    pub fn purge_queue(&mut self, request: OfQueue, now: Time) -> Result<Nothing, SqsError> {
        let settling_time = self.settling_time;
        let queue = self.queue(&request.queue_url, now)?;
        if queue.purged.is_some_and(|at| at + settling_time > now) {
            let message = format!("Only one PurgeQueue operation on {} is allowed every 60 seconds.", queue.name);
            return Err(SqsError::new(Code::PurgeQueueInProgress, message));
        }
        queue.purged = Some(now);
        queue.store.clear();
        queue.deduplication = Deduplication::default();
        Ok(Nothing {})
    }
}

fn check_name(name: &str, fifo: bool) -> Result<(), SqsError> {
    if name.is_empty() {
        return Err(SqsError::missing("QueueName"));
    }
    let is_stem = |text: &str| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    let stem = if fifo { name.strip_suffix(".fifo") } else { Some(name) };
    if name.len() <= MAX_NAME_CHARS && stem.is_some_and(is_stem) {
        return Ok(());
    }
    let reason = match fifo {
        true => {
            "The name of a FIFO queue can only include alphanumeric characters, hyphens, or underscores, must end with \
             .fifo suffix and be 1 to 80 in length."
        }
        false => "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length",
    };
    Err(SqsError::parameter("QueueName", name, reason))
}

pub(super) fn url(base_url: &str, name: &str) -> String {
    format!("{base_url}/{ACCOUNT_ID}/{name}")
}

/// Returns a page of names, and the name after which the next page begins. Without a number of results AWS returns up
/// to 1,000 names and no token.
fn page<'a>(
    names: impl Iterator<Item = &'a String>,
    token: Option<&str>,
    max_results: Option<i64>,
) -> Result<(Vec<&'a String>, Option<String>), SqsError> {
    let max = bounded("MaxResults", max_results.unwrap_or(MAX_RESULTS.into()), 1..=MAX_RESULTS)?;
    let mut names = names.filter(|name| token.is_none_or(|token| name.as_str() > token));
    let page: Vec<_> = names.by_ref().take(max as usize).collect();
    let more = max_results.is_some() && names.next().is_some();
    let next = page.last().filter(|_| more).map(|name| (*name).clone());
    Ok((page, next))
}
