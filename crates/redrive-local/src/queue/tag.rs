//! Implements TagQueue, UntagQueue and ListQueueTags.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::account::Account;
use super::error::{Code, SqsError};
use super::queues::OfQueue;
use super::settle::Nothing;
use super::time::Time;

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct TagQueue {
    queue_url: String,
    tags: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct UntagQueue {
    queue_url: String,
    tag_keys: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Tags {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    tags: BTreeMap<String, String>,
}

/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-queue-tags.html>
const MAX_TAGS: usize = 50;
const MAX_KEY_CHARS: usize = 128;

impl Account {
    pub fn tag_queue(&mut self, request: TagQueue, now: Time) -> Result<Nothing, SqsError> {
        let queue = self.queue(&request.queue_url, now)?;
        if request.tags.is_empty() {
            return Err(SqsError::missing("Tags"));
        }
        check_keys(request.tags.keys())?;
        let mut tags = queue.tags.clone();
        tags.extend(request.tags);
        if tags.len() > MAX_TAGS {
            let message = format!("Too many tags added for queue {}.", queue.name);
            return Err(SqsError::new(Code::InvalidParameterValue, message));
        }
        queue.tags = tags;
        Ok(Nothing {})
    }

    pub fn untag_queue(&mut self, request: UntagQueue, now: Time) -> Result<Nothing, SqsError> {
        let queue = self.queue(&request.queue_url, now)?;
        if request.tag_keys.is_empty() {
            return Err(SqsError::missing("TagKeys"));
        }
        check_keys(request.tag_keys.iter())?;
        queue.tags.retain(|key, _| !request.tag_keys.contains(key));
        Ok(Nothing {})
    }

    pub fn list_queue_tags(&mut self, request: OfQueue, now: Time) -> Result<Tags, SqsError> {
        Ok(Tags { tags: self.queue(&request.queue_url, now)?.tags.clone() })
    }
}

fn check_keys<'a>(mut keys: impl Iterator<Item = &'a String>) -> Result<(), SqsError> {
    if keys.all(|key| (1..=MAX_KEY_CHARS).contains(&key.chars().count())) {
        return Ok(());
    }
    let message = format!("Tag keys must be between 1 and {MAX_KEY_CHARS} characters in length.");
    Err(SqsError::new(Code::InvalidParameterValue, message))
}
