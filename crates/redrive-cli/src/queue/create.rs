//! `redrive queue create`.

use aws_sdk_sqs::types::QueueAttributeName as Name;
use clap::Args;
use redrive_local::queue::NumberAttribute;
use serde_json::json;

use super::report::{Made, json, text};
use super::wanted::Wanted;
use crate::Done;
use crate::sqs::{CallError, Elsewhere, Target, Trouble, variable};

/// Create a queue and its dead-letter queue, for development
///
/// Creates the dead-letter queue first, with a retention of 14 days. The queue gets a RedrivePolicy to it, and long
/// polls of 20 seconds. The command may be run again: an existing queue with the same settings is left alone. An
/// existing queue with other settings is an error, and nothing is changed.
///
/// Exits with 0 if both queues exist, and with 2 if not.
#[derive(Args)]
#[command(after_help = "Examples:
  redrive queue create orders
  redrive queue create orders.fifo --content-based-deduplication --visibility-timeout 180
  redrive queue create orders --json --endpoint-url https://sqs.eu-west-1.amazonaws.com")]
pub(super) struct Arguments {
    /// The queue's name; the name of a FIFO queue ends in .fifo
    name: String,
    /// Create FIFO queues: .fifo is added to a name that does not end in it
    #[arg(long)]
    fifo: bool,
    /// The dead-letter queue's name; the default is NAME-dlq, or NAME-dlq.fifo
    #[arg(long, value_name = "NAME")]
    dlq: Option<String>,
    /// SQS moves a message to the dead-letter queue after this many receives
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    max_receive_count: u16,
    /// The time that a received message is hidden, in seconds: at least the run time of its handler, or six times a
    /// function's timeout
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u32).range(NumberAttribute::VisibilityTimeout.range()))]
    visibility_timeout: u32,
    /// The time that the queue keeps messages, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = NumberAttribute::MessageRetentionPeriod.default(), value_parser = clap::value_parser!(i64).range(NumberAttribute::MessageRetentionPeriod.range()))]
    retention: i64,
    /// Let the FIFO queue find duplicates by their bodies, without a deduplication id
    #[arg(long)]
    content_based_deduplication: bool,
    /// The SQS to create them at; the default is AWS_ENDPOINT_URL_SQS, or http://127.0.0.1:9324, where `redrive dev`
    /// serves
    #[arg(long, value_name = "URL")]
    endpoint_url: Option<String>,
    /// Write one JSON object, for programs
    #[arg(long)]
    json: bool,
}

/// The longest retention of SQS. A standard queue's dead letter keeps its age from the first send, so it needs the
/// longest.
const LONGEST_RETENTION_SECONDS: i64 = NumberAttribute::MessageRetentionPeriod.max();
/// The longest wait of a poll.
const WAIT_SECONDS: i64 = NumberAttribute::ReceiveMessageWaitTimeSeconds.max();

pub(super) async fn create(arguments: &Arguments) -> Result<Done, String> {
    let (name, dlq_name) = arguments.names()?;
    let endpoint = Target::of(&name, arguments.endpoint_url.as_deref(), variable)?;
    // This checks only the name.
    Target::of(&dlq_name, arguments.endpoint_url.as_deref(), variable)?;
    let sqs = Elsewhere::at(endpoint.endpoint, variable).await?;
    let dlq = made(&sqs, Wanted::new(dlq_name).with("MessageRetentionPeriod", LONGEST_RETENTION_SECONDS)).await?;
    let queue = made(&sqs, arguments.queue(name, &dlq.arn)).await.map_err(|problem| {
        if dlq.is_new { format!("{problem}; its dead-letter queue {} was created", dlq.name) } else { problem }
    })?;
    let output = if arguments.json { json(&queue, &dlq) } else { text(&queue, &dlq) };
    Ok(Done { output, is_good: true })
}

impl Arguments {
    /// Returns the names of the queue and of its dead-letter queue.
    fn names(&self) -> Result<(String, String), String> {
        if self.name.contains("://") {
            return Err(format!("{} is a URL; pass the name of the new queue", self.name));
        }
        let stem = self.name.strip_suffix(".fifo");
        let is_fifo = self.fifo || stem.is_some();
        if self.content_based_deduplication && !is_fifo {
            return Err(format!("{} would be a standard queue, which finds no duplicates; pass --fifo too", self.name));
        }
        let (stem, end) = (stem.unwrap_or(&self.name), if is_fifo { ".fifo" } else { "" });
        let dlq = match &self.dlq {
            Some(dlq) if dlq.ends_with(".fifo") && !is_fifo => {
                return Err(format!(
                    "{dlq} would be a FIFO queue, but a standard queue needs a standard one; pass another --dlq"
                ));
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

/// Finds the queue with these settings, or creates it.
async fn made(sqs: &Elsewhere, wanted: Wanted) -> Result<Made, String> {
    let name = &wanted.name;
    let (url, is_new) = match sqs.client.get_queue_url().queue_name(name).send().await.map_err(CallError::from) {
        Ok(answer) => (answer.queue_url.unwrap_or_default(), false),
        Err(error) if error.trouble == Trouble::NoQueue => (make(sqs, &wanted).await?, true),
        Err(error) => return Err(sqs.explained(error, &format!("cannot look up the queue {name}"))),
    };
    let attributes = sqs.attributes_of(&url, name, &[Name::All]).await?;
    let differences = wanted.differences(&attributes);
    if !differences.is_empty() && !is_new {
        return Err(format!(
            "the queue {name} exists with other settings: {}; pass its settings, choose another name, or change it with \
             `aws sqs set-queue-attributes`",
            differences.join("; ")
        ));
    }
    let arn = attributes.get(&Name::QueueArn).cloned();
    let arn = arn.ok_or_else(|| format!("{} returned no ARN for {name}, so it is not an SQS", sqs.endpoint.url()))?;
    Ok(Made { name: wanted.name, url, arn, is_new })
}

async fn make(sqs: &Elsewhere, wanted: &Wanted) -> Result<String, String> {
    let mut create = sqs.client.create_queue().queue_name(&wanted.name);
    for (&name, value) in &wanted.attributes {
        create = create.attributes(name.into(), value);
    }
    let made = create.send().await;
    let made = made.map_err(|error| sqs.explained(error, &format!("cannot create the queue {}", wanted.name)))?;
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
    fn both_names_end_in_fifo_or_neither_does() {
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
