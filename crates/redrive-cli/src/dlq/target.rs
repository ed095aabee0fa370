//! Finds the dead-letter queue that the user names.

use aws_sdk_sqs::types::QueueAttributeName as Name;
use clap::Args;
use serde::Deserialize;

use crate::sqs::{Elsewhere, Found, Target, variable};

/// The dead-letter queue on the command line.
#[derive(Args)]
pub(super) struct TargetArguments {
    /// The dead-letter queue, or a queue whose RedrivePolicy names it: the name or the URL
    queue: String,
    /// The SQS that has the queue; the default is that of the queue's URL, or AWS_ENDPOINT_URL_SQS, or
    /// http://127.0.0.1:9324, where `redrive dev` serves
    #[arg(long, value_name = "URL")]
    endpoint_url: Option<String>,
    /// Continue even if the queue is no queue's dead-letter queue, or if its own RedrivePolicy moves messages on that
    /// are looked at too often
    #[arg(long)]
    force: bool,
}

/// A dead-letter queue.
pub(super) struct DeadLetterQueue {
    pub(super) sqs: Elsewhere,
    pub(super) name: String,
    pub(super) url: String,
    pub(super) arn: String,
    /// The URLs of the queues whose RedrivePolicy names it.
    pub(super) sources: Vec<String>,
    /// Its own RedrivePolicy.
    policy: Option<RedrivePolicy>,
    is_forced: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RedrivePolicy {
    dead_letter_target_arn: String,
    /// A number, or a number in quotes.
    max_receive_count: serde_json::Value,
}

/// The approximate counts of SQS.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) visible: usize,
    pub(super) hidden: usize,
}

impl TargetArguments {
    /// Finds the dead-letter queue. A queue that others name in their RedrivePolicy is taken itself, any other queue
    /// stands for its own dead-letter queue.
    pub(super) async fn find(&self) -> Result<DeadLetterQueue, String> {
        let found = Target::of(&self.queue, self.endpoint_url.as_deref(), variable)?.find(variable).await?;
        let queue = DeadLetterQueue::at(found, self.force).await?;
        let queue = match &queue.policy {
            Some(policy) if queue.sources.is_empty() => {
                let arn = policy.dead_letter_target_arn.clone();
                let url = queue.sqs.url_of_arn(&arn).await?;
                let name = name_in(&arn).to_owned();
                DeadLetterQueue::at(Found { sqs: queue.sqs, name, url }, self.force).await?
            }
            _ => queue,
        };
        if queue.sources.is_empty() && !self.force {
            return Err(format!(
                "{0} is not a dead-letter queue: no RedrivePolicy names it, and it has none of its own. Its consumers would miss the \
                 messages that this command receives; pass --force to use {0} anyway",
                queue.name
            ));
        }
        Ok(queue)
    }
}

impl DeadLetterQueue {
    pub(super) async fn at(Found { sqs, name, url }: Found, is_forced: bool) -> Result<Self, String> {
        let mut attributes = sqs.attributes_of(&url, &name, &[Name::QueueArn, Name::RedrivePolicy]).await?;
        let arn = attributes.remove(&Name::QueueArn);
        let arn =
            arn.ok_or_else(|| format!("{} returned no ARN for {name}, so it is not an SQS", sqs.endpoint.url()))?;
        let policy = attributes.get(&Name::RedrivePolicy).filter(|policy| !policy.is_empty());
        let policy = policy.map(|policy| serde_json::from_str(policy)).transpose();
        let policy = policy.map_err(|error| format!("the RedrivePolicy of {name} cannot be read: {error}"))?;
        let sources = sources_of(&sqs, &url, &name).await?;
        Ok(Self { sqs, name, url, arn, sources, policy, is_forced })
    }

    pub(super) fn is_fifo(&self) -> bool {
        self.name.ends_with(".fifo")
    }

    /// Returns an error if receiving would move messages on.
    pub(super) fn check_receivable(&self) -> Result<(), String> {
        match &self.policy {
            Some(policy) if !self.is_forced => Err(format!(
                "{} has a RedrivePolicy of its own. Looking at a message means receiving it, and SQS moves a message to {2} after {1} \
                 receives; pass --force to look anyway",
                self.name,
                policy.max_receive_count.to_string().trim_matches('"'),
                name_in(&policy.dead_letter_target_arn)
            )),
            _ => Ok(()),
        }
    }

    pub(super) async fn counts(&self) -> Result<Counts, String> {
        let names = [Name::ApproximateNumberOfMessages, Name::ApproximateNumberOfMessagesNotVisible];
        let attributes = self.sqs.attributes_of(&self.url, &self.name, &names).await?;
        let [visible, hidden] =
            names.map(|name| attributes.get(&name).and_then(|count| count.parse().ok()).unwrap_or(0));
        Ok(Counts { visible, hidden })
    }

    /// Returns the error for a missing id.
    pub(super) fn lacks(&self, id: &str) -> String {
        let hint = if self.is_fifo() {
            "it may be hidden, or behind ten others of its group, of which a FIFO queue shows the first ten"
        } else {
            "it may be hidden for now, or gone"
        };
        format!("{}: message {id} was not found: {hint}", self.name)
    }

    /// Returns the URL of the source with that ARN. A source has the same account and region as its dead-letter queue.
    pub(super) fn source_url(&self, arn: &str) -> Option<&str> {
        let (prefix, name) = arn.rsplit_once(':')?;
        let (own_prefix, _) = self.arn.rsplit_once(':')?;
        let account = prefix.rsplit(':').next().filter(|_| prefix == own_prefix)?;
        let end = format!("/{account}/{name}");
        self.sources.iter().find(|url| url.ends_with(&end)).map(String::as_str)
    }
}

async fn sources_of(sqs: &Elsewhere, url: &str, name: &str) -> Result<Vec<String>, String> {
    let pages = sqs.client.list_dead_letter_source_queues().queue_url(url).max_results(1_000).into_paginator();
    let (mut pages, mut sources) = (pages.send(), Vec::new());
    while let Some(page) = pages.next().await {
        let page = page.map_err(|error| sqs.explained(error, &format!("cannot list the source queues of {name}")))?;
        sources.extend(page.queue_urls);
    }
    Ok(sources)
}

pub(super) fn name_in(arn: &str) -> &str {
    arn.rsplit(':').next().unwrap_or(arn)
}
