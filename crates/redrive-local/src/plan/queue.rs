//! Plans queues in the form of CreateQueue.

use std::collections::BTreeMap;

use aws_sdk_sqs::Client;
use redrive::internals::safe_text::text_of;

use crate::template::{self, Problem};

pub struct PlannedQueue {
    /// The logical id of the queue.
    pub id: String,
    pub name: String,
    pub url: String,
    /// All attributes except the RedrivePolicy, because a dead-letter queue has to exist first.
    pub attributes: BTreeMap<&'static str, String>,
    pub redrive_policy: Option<String>,
}

impl PlannedQueue {
    pub(super) fn of(queue: &template::QueueResource) -> Result<Self, Problem> {
        let mut attributes = queue.attributes()?;
        // Messages are not encrypted here, and the key exists only on AWS.
        attributes.remove("KmsMasterKeyId");
        let redrive_policy = attributes.remove("RedrivePolicy");
        Ok(Self { id: queue.id.clone(), name: queue.name.clone(), url: queue.url.clone(), attributes, redrive_policy })
    }
}

/// Creates all queues first and then sets their policies, because these refer to other queues.
pub async fn make_queues(client: &Client, queues: &[PlannedQueue]) -> Result<(), String> {
    for queue in queues {
        let mut create = client.create_queue().queue_name(&queue.name);
        for (&name, value) in &queue.attributes {
            create = create.attributes(name.into(), value);
        }
        let created = create.send().await;
        created.map_err(|error| format!("cannot create the queue {}: {}", queue.name, text_of(&error)))?;
    }
    for queue in queues {
        let Some(policy) = &queue.redrive_policy else { continue };
        let set = client.set_queue_attributes().queue_url(&queue.url).attributes("RedrivePolicy".into(), policy);
        let set = set.send().await;
        set.map_err(|error| format!("cannot set the RedrivePolicy of {}: {}", queue.name, text_of(&error)))?;
    }
    Ok(())
}
