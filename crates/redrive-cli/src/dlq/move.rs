//! `redrive dlq move`.

use aws_sdk_sqs::types::QueueAttributeName as Name;
use clap::Args;

use super::carry::Carrier;
use super::choice::{Choice, Wanted};
use super::counted;
use super::end::Left;
use super::ended_early;
use super::hold::{Hold, LEASE};
use super::place::{Counts, DeadLetterQueue, Place};
use super::task::{Ended, How, move_all};
use crate::Done;
use crate::interrupt::Stop;
use crate::sqs::{Target, variable};

/// Move messages of a dead-letter queue back to where they came from
///
/// With --all SQS does it itself, by a message move task, which goes on at its own pace and is waited for; Ctrl-C cancels it.
/// SQS does not know where a dead letter came from that a handler has sent. Those come after, one by one, as chosen ones do.
///
/// A chosen message is received, sent to the queue that it failed in, and deleted here once SQS has taken it. Its body,
/// attributes and group go with it, and its X-Ray header without the Lineage, by which Lambda counts the rounds of a loop. The
/// redrive.* attributes stay behind. A task of SQS takes the header and all attributes along. On a FIFO queue its deduplication
/// id is its id here, so that it is no duplicate of its own first life, but of a second copy.
///
/// Each message is handled at most once a run, however long that takes. A message that returns, or arrives after the run has begun,
/// stays and is counted. What is not moved is given back. The redrive.source of a message is followed only to a queue whose
/// RedrivePolicy names this dead-letter queue; any other message stays and says so, until --to says where it goes. On a FIFO
/// queue a message that could not be moved holds back the later ones of its group.
///
/// Exits with 0 where all was moved and nothing came back, with 1 where something stays, was not looked at or is in both queues, or on
/// Ctrl-C, and with 2 where the arguments are wrong or nothing could be done.
#[derive(Args)]
#[command(after_help = "Examples:
  redrive dlq move orders --all                        back to where each came from
  redrive dlq move orders --all --max-per-second 20
  redrive dlq move orders --all --one-by-one           without redrive.* attributes and the Lineage of a loop
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
    /// With --all, move each message by itself, as chosen ones are, and not by a task of SQS
    #[arg(long, requires = "all", conflicts_with = "max_per_second")]
    one_by_one: bool,
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
    if arguments.choice.all && !arguments.one_by_one && !queue.sources.is_empty() {
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
    let before = queue.counts().await?;
    let Ended { moved, to_move, how } = move_all(queue, to.map(|to| to.arn.as_str()), per_second, stop).await?;
    let name = &queue.name;
    let to = to.map_or("where they came from", |to| &to.name);
    let so_far = format!("{name}: {moved} of about {to_move} moved to {to}");
    match how {
        How::Completed => completed(queue, before, moved, to).await,
        How::Cancelled => Ok(Done { output: format!("{so_far}; cancelled, and the others stay\n"), is_good: false }),
        How::Failed(reason) => ended_early(format!("SQS has given up: {reason}"), so_far, moved > 0),
        How::SourceUnknown => {
            let rest = one_by_one(queue, None, Wanted::All, stop).await;
            let Done { output, is_good } = match rest {
                Ok(done) => done,
                Err(problem) => return ended_early(problem, so_far, moved > 0),
            };
            let by_sqs = if moved > 0 { format!("{so_far}, by SQS\n") } else { String::new() };
            Ok(Done { output: by_sqs + &output, is_good })
        }
    }
}

/// SQS calls a task completed that has moved what was visible. Somebody may have received the rest.
async fn completed(queue: &DeadLetterQueue, before: Counts, moved: u64, to: &str) -> Result<Done, String> {
    let name = &queue.name;
    let so_far = format!("{name}: {moved} moved to {to}");
    let missed = (before.visible + before.hidden).saturating_sub(usize::try_from(moved).unwrap_or(usize::MAX));
    let now = if missed > 0 { queue.counts().await? } else { Counts::default() };
    match missed.min(now.visible + now.hidden) {
        0 => Ok(Done { output: format!("{so_far}\n"), is_good: true }),
        stay => Ok(Done {
            output: format!(
                "{so_far}; about {} stay, {} of them as somebody has received them\n",
                counted(stay),
                stay.min(now.hidden)
            ),
            is_good: false,
        }),
    }
}

async fn one_by_one(
    queue: &DeadLetterQueue,
    to: Option<&Destination>,
    mut wanted: Wanted,
    stop: &Stop,
) -> Result<Done, String> {
    queue.check_receivable()?;
    let (mut hold, mut carrier) = (Hold::on(queue, LEASE).await?, Carrier::new(queue, to.map(|to| to.url.as_str())));
    let end = wanted.search(&mut hold, usize::MAX, stop, async |hold, letters| carrier.carry(hold, letters).await);
    let end = end.await;
    let left = Left::by(&hold, &end, wanted.is_all_that_fit()).await;
    let given_back = hold.give_back().await;
    if let Err(problem) = &given_back {
        eprintln!("redrive: {problem}");
    }
    let summary = format!("{}: {}{}", queue.name, carrier.summary(), left.said(queue));
    if let Err(problem) = end {
        return ended_early(problem, summary, carrier.has_begun());
    }
    let missing = wanted.missing();
    missing.iter().for_each(|id| eprintln!("redrive: {}", queue.lacks(id)));
    let is_good = carrier.is_good() && given_back.is_ok() && missing.is_empty() && left.is_nothing();
    Ok(Done { output: format!("{summary}\n"), is_good })
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

#[cfg(test)]
mod tests;
