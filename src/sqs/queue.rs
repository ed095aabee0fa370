//! A queue of records, and its dead-letter queue.

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::QueueAttributeName;
use serde::Deserialize;
use tokio::sync::OnceCell;

use super::coalesce::Coalescer;
use super::delete::DeleteMessages;
use super::region::{in_region, region_of_arn};
use super::safe_text::text_of;
use super::visibility::ChangeVisibility;

/// A queue with the calls that effects make.
pub(super) struct SourceQueue {
    client: Client,
    url: String,
    pub(super) visibility: Coalescer<ChangeVisibility>,
    pub(super) deletes: Coalescer<DeleteMessages>,
    dead_letter_queue_url: OnceCell<String>,
}

impl SourceQueue {
    /// Looks the queue up by its ARN.
    pub(super) async fn find(client: &Client, arn: &str) -> Result<Self, String> {
        let client = &in_region(client, region_of_arn(arn));
        let url = url_of(client, arn).await?;
        let visibility = Coalescer::new(ChangeVisibility { client: client.clone(), queue_url: url.clone() });
        let deletes = Coalescer::new(DeleteMessages { client: client.clone(), queue_url: url.clone() });
        Ok(Self { client: client.clone(), url, visibility, deletes, dead_letter_queue_url: OnceCell::new() })
    }

    /// Returns the URL of the RedrivePolicy's queue. It is looked up once, or again if the queue had none.
    pub(super) async fn dead_letter_queue_url(&self) -> Result<&str, String> {
        let url = self.dead_letter_queue_url.get_or_try_init(async || {
            let arn = self.dead_letter_queue_arn().await?;
            url_of(&self.client, &arn).await
        });
        url.await.map(String::as_str)
    }

    async fn dead_letter_queue_arn(&self) -> Result<String, String> {
        let attributes = self.client.get_queue_attributes().queue_url(&self.url);
        let attributes = attributes.attribute_names(QueueAttributeName::RedrivePolicy).send().await;
        let attributes = attributes.map_err(|error| format!("sqs:GetQueueAttributes: {}", text_of(&error)))?;
        let attributes = attributes.attributes.unwrap_or_default();
        let policy = attributes.get(&QueueAttributeName::RedrivePolicy).ok_or("the queue has no RedrivePolicy")?;
        let policy: RedrivePolicy =
            serde_json::from_str(policy).map_err(|error| format!("its RedrivePolicy cannot be read: {error}"))?;
        Ok(policy.dead_letter_target_arn)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RedrivePolicy {
    dead_letter_target_arn: String,
}

/// Returns the URL of the queue with that ARN. It asks the service, because a custom endpoint has its own URLs.
async fn url_of(client: &Client, arn: &str) -> Result<String, String> {
    let mut parts = arn.splitn(6, ':').skip(4);
    let (Some(account), Some(name)) = (parts.next(), parts.next()) else {
        return Err(format!("{arn} is not the ARN of a queue"));
    };
    let answer = client.get_queue_url().queue_name(name).queue_owner_aws_account_id(account).send().await;
    let answer = answer.map_err(|error| format!("sqs:GetQueueUrl: {}", text_of(&error)))?;
    answer.queue_url.ok_or_else(|| format!("the service returned no URL for {arn}"))
}
