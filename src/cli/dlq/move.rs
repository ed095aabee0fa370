//! `redrive dlq move`.

use aws_sdk_sqs::types::QueueAttributeName as Name;
use clap::Args;

use super::carry::Carrier;
use super::choice::{Choice, End, Wanted};
use super::hold::{Hold, LONGEST};
use super::place::{DeadLetterQueue, Place};
use super::task::{Ended, How, move_all};
use crate::cli::Done;
use crate::cli::interrupt::Stop;
use crate::cli::sqs::{Target, variable};

/// Move messages of a dead-letter queue back to where they came from
///
/// With --all SQS does it itself, by a message move task, which goes on at its own pace and is waited for; Ctrl-C cancels it.
/// SQS does not know where a dead letter came from that a handler has sent. Those come after, one by one, as chosen ones do.
///
/// A chosen message is received, sent to the queue that it failed in, and only when SQS has taken it deleted here. Its body,
/// attributes, group and X-Ray header go with it, and the redrive.* attributes do not; a task of SQS takes them along. What was received
/// and is not to be moved is given back. On a FIFO queue its deduplication id is its id here, so that it is no duplicate of its
/// own first life, but of a second copy.
///
/// Exits with 0 where all was moved, with 1 where something stays or is in both queues, or on Ctrl-C, and with 2 where nothing could
/// be done.
#[derive(Args)]
#[command(after_help = "Examples:
  redrive dlq move orders --all                        back to where each came from
  redrive dlq move orders --all --max-per-second 20
  redrive dlq move orders --id 2f1c7d0e-6f0b-4c5e-9a59-0d1b9a3c0f11
  redrive dlq move orders-dlq --reason 'connection refused' --to orders-replay")]
pub(super) struct Arguments {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    choice: Choice,
    /// Move them to this queue, in place of those that they came from
    #[arg(long, value_name = "QUEUE")]
    to: Option<String>,
    /// Move no more than so many a second; without it SQS finds a pace
    #[arg(long, value_name = "N", requires = "all", value_parser = clap::value_parser!(i32).range(1..=500))]
    max_per_second: Option<i32>,
}

/// Where all of them go.
struct Destination {
    name: String,
    url: String,
    arn: String,
}

pub(super) async fn r#move(arguments: &Arguments, stop: &Stop) -> Result<Done, String> {
    let queue = arguments.place.find().await?;
    let to = match &arguments.to {
        Some(to) => Some(Destination::find(&queue, to).await?),
        None => None,
    };
    // SQS moves only what is in some queue's dead-letter queue.
    if arguments.choice.all && !queue.sources.is_empty() {
        by_task(&queue, to.as_ref(), arguments.max_per_second, stop).await
    } else {
        one_by_one(&queue, to.as_ref(), arguments.choice.wanted(), stop).await
    }
}

async fn by_task(
    queue: &DeadLetterQueue,
    to: Option<&Destination>,
    per_second: Option<i32>,
    stop: &Stop,
) -> Result<Done, String> {
    let Ended { moved, to_move, how } = move_all(queue, to.map(|to| to.arn.as_str()), per_second, stop).await?;
    let name = &queue.name;
    let to = to.map_or("where they came from", |to| &to.name);
    let so_far = format!("{name}: {moved} of about {to_move} moved to {to}");
    match how {
        How::Completed => Ok(Done { output: format!("{name}: {moved} moved to {to}\n"), is_good: true }),
        How::Cancelled => Ok(Done { output: format!("{so_far}; cancelled, and the others stay\n"), is_good: false }),
        How::Failed(reason) => Err(format!("{so_far}; then SQS has given up: {reason}")),
        How::SourceUnknown => {
            let rest =
                one_by_one(queue, None, Wanted::All, stop).await.map_err(|problem| format!("{so_far}; {problem}"));
            let by_sqs = if moved > 0 { format!("{so_far}, by SQS\n") } else { String::new() };
            rest.map(|Done { output, is_good }| Done { output: by_sqs + &output, is_good })
        }
    }
}

async fn one_by_one(
    queue: &DeadLetterQueue,
    to: Option<&Destination>,
    mut wanted: Wanted,
    stop: &Stop,
) -> Result<Done, String> {
    queue.check_receivable()?;
    // What is moved back may fail at once and be here again: no more are looked at than there are now. That count lags.
    let limit = if matches!(wanted, Wanted::Ids(_)) { usize::MAX } else { queue.counts().await?.visible.max(10) };
    let (mut hold, mut carrier) = (Hold::on(queue, LONGEST), Carrier::new(queue, to.map(|to| to.url.as_str())));
    let end = wanted.search(&mut hold, limit, stop, async |hold, letters| carrier.carry(hold, letters).await).await;
    let given_back = hold.give_back().await;
    if let Err(problem) = &given_back {
        eprintln!("redrive: {problem}");
    }
    let summary = format!("{}: {}", queue.name, carrier.summary());
    let end = end.map_err(|problem| format!("{problem}; {summary}"))?;
    let missing = wanted.missing();
    missing.iter().for_each(|id| eprintln!("redrive: {}", queue.lacks(id)));
    let is_good = carrier.is_good() && given_back.is_ok() && missing.is_empty() && end == End::Seen;
    let rest = if end == End::Interrupted { "; interrupted, and the others stay" } else { "" };
    Ok(Done { output: format!("{summary}{rest}\n"), is_good })
}

impl Destination {
    /// At the same SQS.
    async fn find(queue: &DeadLetterQueue, to: &str) -> Result<Self, String> {
        let target = Target::of(to, Some(queue.sqs.endpoint.url()), variable)?;
        let (name, url) = target.find_at(&queue.sqs).await?;
        let arn = queue.sqs.attributes_of(&url, &name, &[Name::QueueArn]).await?.remove(&Name::QueueArn);
        let arn = arn.ok_or_else(|| format!("{} does not tell the ARN of {name}", queue.sqs.endpoint.url()))?;
        if arn == queue.arn {
            return Err(format!("{name} is the dead-letter queue itself; pass another queue as --to"));
        }
        if name.ends_with(".fifo") != queue.is_fifo() {
            let kind = if queue.is_fifo() { "FIFO queue" } else { "standard queue" };
            return Err(format!("{} is a {kind}, and {name} is none; pass a {kind} as --to", queue.name));
        }
        Ok(Self { name, url, arn })
    }
}
