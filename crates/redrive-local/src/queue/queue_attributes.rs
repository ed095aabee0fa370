//! Implements GetQueueAttributes and SetQueueAttributes. The attributes that a caller can set are in `settings`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::account::{Account, Queue};
use super::error::{Code, SqsError};
use super::settle::Nothing;
use super::time::Time;

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct GetQueueAttributes {
    pub queue_url: String,
    pub attribute_names: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct QueueAttributes {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<&'static str, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct SetQueueAttributes {
    pub queue_url: String,
    pub attributes: BTreeMap<String, String>,
}

/// All attribute names of SQS, including those for which a queue has no value.
const NAMES: [&str; 21] = [
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesDelayed",
    "ApproximateNumberOfMessagesNotVisible",
    "ContentBasedDeduplication",
    "CreatedTimestamp",
    "DeduplicationScope",
    "DelaySeconds",
    "FifoQueue",
    "FifoThroughputLimit",
    "KmsDataKeyReusePeriodSeconds",
    "KmsMasterKeyId",
    "LastModifiedTimestamp",
    "MaximumMessageSize",
    "MessageRetentionPeriod",
    "Policy",
    "QueueArn",
    "ReceiveMessageWaitTimeSeconds",
    "RedriveAllowPolicy",
    "RedrivePolicy",
    "SqsManagedSseEnabled",
    "VisibilityTimeout",
];

impl Account {
    pub fn get_queue_attributes(
        &mut self,
        request: GetQueueAttributes,
        now: Time,
    ) -> Result<QueueAttributes, SqsError> {
        let queue = self.queue(&request.queue_url, now)?;
        let names = &request.attribute_names;
        let is_known = |name: &str| name == "All" || NAMES.contains(&name);
        if let Some(unknown) = names.iter().find(|name| !is_known(name)) {
            return Err(SqsError::new(Code::InvalidAttributeName, format!("Unknown Attribute {unknown}.")));
        }
        let is_wanted = |name: &str| names.iter().any(|wanted| wanted == "All" || wanted == name);
        let mut attributes = queue.attributes();
        attributes.retain(|name, _| is_wanted(name));
        Ok(QueueAttributes { attributes })
    }

    pub fn set_queue_attributes(&mut self, request: SetQueueAttributes, now: Time) -> Result<Nothing, SqsError> {
        let queue = self.queue(&request.queue_url, now)?;
        if request.attributes.is_empty() {
            return Err(SqsError::missing("Attribute.Name"));
        }
        let settings = queue.settings.with(&request.attributes)?;
        let (arn, fifo) = (queue.arn.clone(), queue.is_fifo());
        // The check runs only for a new policy. The dead-letter queue of an old policy may be deleted by now.
        if request.attributes.contains_key("RedrivePolicy") {
            self.check_redrive(&arn, fifo, &settings)?;
        }
        let queue = self.queue(&request.queue_url, now)?;
        if fifo && settings.delay != queue.settings.delay {
            queue.store.set_delay(settings.delay);
        }
        queue.settings = settings;
        queue.modified = now;
        let id = queue.id;
        self.has_changed(id);
        Ok(Nothing {})
    }
}

impl Queue {
    fn attributes(&self) -> BTreeMap<&'static str, String> {
        let mut attributes = self.settings.to_attributes();
        let counts = self.store.counts();
        attributes.extend([
            ("QueueArn", self.arn.to_string()),
            ("CreatedTimestamp", self.created.as_secs().to_string()),
            ("LastModifiedTimestamp", self.modified.as_secs().to_string()),
            ("ApproximateNumberOfMessages", counts.visible.to_string()),
            ("ApproximateNumberOfMessagesNotVisible", counts.in_flight.to_string()),
            ("ApproximateNumberOfMessagesDelayed", counts.delayed.to_string()),
        ]);
        attributes
    }
}
