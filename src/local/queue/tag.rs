//! TagQueue, UntagQueue and ListQueueTags.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::account::Account;
use super::error::{Code, SqsError};
use super::queues::OfQueue;
use super::settle::Nothing;
use super::time::Time;

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct TagQueue {
    queue_url: String,
    tags: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct UntagQueue {
    queue_url: String,
    tag_keys: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Tags {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    tags: BTreeMap<String, String>,
}

/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-queue-tags.html>
const MAX_TAGS: usize = 50;

impl Account {
    pub(crate) fn tag_queue(&mut self, request: TagQueue, now: Time) -> Result<Nothing, SqsError> {
        let queue = self.queue(&request.queue_url, now)?;
        if request.tags.is_empty() {
            return Err(SqsError::missing("Tags"));
        }
        let mut tags = queue.tags.clone();
        tags.extend(request.tags);
        if tags.len() > MAX_TAGS {
            let message =
                format!("Too many tags added for queue {}: {}, and {MAX_TAGS} at most.", queue.name, tags.len());
            return Err(SqsError::new(Code::InvalidParameterValue, message));
        }
        queue.tags = tags;
        Ok(Nothing {})
    }

    pub(crate) fn untag_queue(&mut self, request: UntagQueue, now: Time) -> Result<Nothing, SqsError> {
        let queue = self.queue(&request.queue_url, now)?;
        if request.tag_keys.is_empty() {
            return Err(SqsError::missing("TagKeys"));
        }
        queue.tags.retain(|key, _| !request.tag_keys.contains(key));
        Ok(Nothing {})
    }

    pub(crate) fn list_queue_tags(&mut self, request: OfQueue, now: Time) -> Result<Tags, SqsError> {
        Ok(Tags { tags: self.queue(&request.queue_url, now)?.tags.clone() })
    }
}
