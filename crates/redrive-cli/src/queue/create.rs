//! `redrive queue create`.

use aws_sdk_sqs::types::QueueAttributeName as Name;
use clap::Args;
use redrive_local::queue::NumberAttribute;
use serde_json::json;

use super::report::{Made, json, text};
use super::wanted::Wanted;
use crate::Done;
use crate::sqs::{CallError, Elsewhere, Target, Trouble, variable};

/// Make a queue and its dead-letter queue, for development
///
/// The dead-letter queue comes first, and keeps messages for 14 days. The queue has a RedrivePolicy to it, and polls that wait 20
/// seconds. What is there already as it is to be is left alone, so the command may be run again; what is there otherwise is
/// an error, and nothing is changed.
///
/// Exits with 0 where both queues are there, and with 2 where they are not.
#[derive(Args)]
#[command(after_help = "Examples:
  redrive queue create orders
  redrive queue create orders.fifo --content-based-deduplication --visibility-timeout 180
  redrive queue create orders --json --endpoint-url https://sqs.eu-west-1.amazonaws.com")]
pub(super) struct Arguments {
    /// The queue's name; that of a FIFO queue ends in .fifo
    name: String,
    /// Make FIFO queues: .fifo is added to a name that does not end in it
    #[arg(long)]
    fifo: bool,
    /// The dead-letter queue's name; without it NAME-dlq, or NAME-dlq.fifo
    #[arg(long, value_name = "NAME")]
    dlq: Option<String>,
    /// After so many receives SQS moves a message to the dead-letter queue
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    max_receive_count: u16,
    /// For how long a received message is hidden, in seconds: at least as long as its handler runs, and six times a function's
    /// timeout
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u32).range(NumberAttribute::VisibilityTimeout.range()))]
    visibility_timeout: u32,
    /// For how long the queue keeps messages, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = NumberAttribute::MessageRetentionPeriod.default(), value_parser = clap::value_parser!(i64).range(NumberAttribute::MessageRetentionPeriod.range()))]
    retention: i64,
    /// Have the FIFO queue take messages without a deduplication id, and find duplicates by their bodies
    #[arg(long)]
    content_based_deduplication: bool,
    /// The SQS to make them at: without it AWS_ENDPOINT_URL_SQS, or http://127.0.0.1:9324, where `redrive dev` serves
    #[arg(long, value_name = "URL")]
    endpoint_url: Option<String>,
    /// Write one JSON object, for programs
    #[arg(long)]
    json: bool,
}

/// As long as SQS keeps anything: to the end of it, the age of a standard queue's dead letter counts from its first send.
const LONGEST_RETENTION_SECONDS: i64 = NumberAttribute::MessageRetentionPeriod.max();
/// As long as a poll can wait.
const WAIT_SECONDS: i64 = NumberAttribute::ReceiveMessageWaitTimeSeconds.max();

pub(super) async fn create(arguments: &Arguments) -> Result<Done, String> {
    let (name, dlq_name) = arguments.names()?;
    let endpoint = Target::of(&name, arguments.endpoint_url.as_deref(), variable)?;
    // For its check of the name alone.
    Target::of(&dlq_name, arguments.endpoint_url.as_deref(), variable)?;
    let sqs = Elsewhere::at(endpoint.endpoint, variable).await?;
    let dlq = made(&sqs, Wanted::new(dlq_name).with("MessageRetentionPeriod", LONGEST_RETENTION_SECONDS)).await?;
    let queue = made(&sqs, arguments.queue(name, &dlq.arn)).await.map_err(|problem| {
        if dlq.is_new { format!("{problem}; its dead-letter queue {} is there now", dlq.name) } else { problem }
    })?;
    let output = if arguments.json { json(&queue, &dlq) } else { text(&queue, &dlq) };
    Ok(Done { output, is_good: true })
}

impl Arguments {
    /// Of the queue, and of its dead-letter queue.
    fn names(&self) -> Result<(String, String), String> {
        if self.name.contains("://") {
            return Err(format!("{} is a URL; pass the name of a queue that is to be made", self.name));
        }
        let stem = self.name.strip_suffix(".fifo");
        let is_fifo = self.fifo || stem.is_some();
        if self.content_based_deduplication && !is_fifo {
            return Err(format!("{} would be a standard queue, which finds no duplicates; pass --fifo too", self.name));
        }
        let (stem, end) = (stem.unwrap_or(&self.name), if is_fifo { ".fifo" } else { "" });
        let dlq = match &self.dlq {
            Some(dlq) if dlq.ends_with(".fifo") && !is_fifo => {
                return Err(format!("{dlq} would be a FIFO queue, and that of a standard queue is a standard one"));
            }
            Some(dlq) => format!("{}{end}", dlq.strip_suffix(".fifo").unwrap_or(dlq)),
            None => format!("{stem}-dlq{end}"),
        };
        let name = format!("{stem}{end}");
        if dlq == name { Err(format!("{name} cannot be its own dead-letter queue")) } else { Ok((name, dlq)) }
    }

    fn queue(&self, name: String, dlq_arn: &str) -> Wanted {
        let policy = json!({ "deadLetterTargetArn": dlq_arn, "maxReceiveCount": self.max_receive_count });
        let wanted = Wanted::new(name)
            .with("MessageRetentionPeriod", self.retention)
            .with("ReceiveMessageWaitTimeSeconds", WAIT_SECONDS)
            .with("RedrivePolicy", policy)
            .with("VisibilityTimeout", self.visibility_timeout);
        if self.content_based_deduplication { wanted.with("ContentBasedDeduplication", true) } else { wanted }
    }
}

/// Finds the queue as it is wanted, or makes it.
async fn made(sqs: &Elsewhere, wanted: Wanted) -> Result<Made, String> {
    let name = &wanted.name;
    let (url, is_new) = match sqs.client.get_queue_url().queue_name(name).send().await.map_err(CallError::from) {
        Ok(answer) => (answer.queue_url.unwrap_or_default(), false),
        Err(error) if error.trouble == Trouble::NoQueue => (make(sqs, &wanted).await?, true),
        Err(error) => return Err(sqs.explained(error, &format!("cannot look for the queue {name}"))),
    };
    let attributes = sqs.attributes_of(&url, name, &[Name::All]).await?;
    let differences = wanted.differences(&attributes);
    if !differences.is_empty() && !is_new {
        return Err(format!(
            "the queue {name} is there already, and not as it is to be: {}; pass what it has, take another name, or change \
             it with `aws sqs set-queue-attributes`",
            differences.join("; ")
        ));
    }
    let arn = attributes.get(&Name::QueueArn).cloned();
    let arn = arn.ok_or_else(|| format!("{} does not tell the ARN of {name}, so it is no SQS", sqs.endpoint.url()))?;
    Ok(Made { name: wanted.name, url, arn, is_new })
}

async fn make(sqs: &Elsewhere, wanted: &Wanted) -> Result<String, String> {
    let mut create = sqs.client.create_queue().queue_name(&wanted.name);
    for (&name, value) in &wanted.attributes {
        create = create.attributes(name.into(), value);
    }
    let made = create.send().await;
    let made = made.map_err(|error| sqs.explained(error, &format!("cannot make the queue {}", wanted.name)))?;
    Ok(made.queue_url.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(name: &str, fifo: bool, dlq: Option<&str>) -> Result<(String, String), String> {
        let arguments = Arguments {
            name: name.to_owned(),
            fifo,
            dlq: dlq.map(str::to_owned),
            max_receive_count: 5,
            visibility_timeout: 60,
            retention: 60,
            content_based_deduplication: false,
            endpoint_url: None,
            json: false,
        };
        arguments.names()
    }

    #[test]
    fn both_names_end_in_fifo_or_neither() {
        let both = |name: &str, dlq: &str| Ok((name.to_owned(), dlq.to_owned()));
        assert_eq!(names("orders", false, None), both("orders", "orders-dlq"));
        assert_eq!(names("orders.fifo", false, None), both("orders.fifo", "orders-dlq.fifo"));
        assert_eq!(names("orders", true, Some("dead")), both("orders.fifo", "dead.fifo"));
        assert_eq!(names("orders", true, Some("dead.fifo")), both("orders.fifo", "dead.fifo"));
        assert!(names("orders", false, Some("dead.fifo")).unwrap_err().contains("a standard one"));
        assert!(names("orders.fifo", false, Some("orders")).unwrap_err().contains("its own"));
        assert!(names("http://localhost/1/orders", false, None).unwrap_err().contains("pass the name"));
    }
}
