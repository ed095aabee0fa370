//! `redrive dlq move`.

use aws_sdk_sqs::types::QueueAttributeName as Name;
use clap::Args;

use super::browse::{BrowseSession, LEASE};
use super::counted;
use super::end::Left;
use super::ended_early;
use super::filter::{Filter, FilterArguments};
use super::send_back::SendBack;
use super::target::{Counts, DeadLetterQueue, TargetArguments};
use super::task::{Ended, How, move_all};
use crate::Done;
use crate::interrupt::Stop;
use crate::sqs::{Target, variable};

/// Move messages of a dead-letter queue back to their source queues
///
/// With --all, SQS moves them itself in a message move task. The command waits for the task, which runs at its own
/// pace, and Ctrl-C cancels it. SQS does not know the source of a dead letter that a handler has sent. Those are moved
/// afterwards one by one, as chosen messages are.
///
/// A chosen message is received, sent to the queue that it failed in, and deleted here once SQS has accepted it. It
/// keeps its body, attributes and group. Its X-Ray header loses the Lineage, by which Lambda counts the rounds of a
/// loop. The redrive.* attributes are removed. A task of SQS keeps the header and all attributes. On a FIFO queue its
/// id here becomes its deduplication id. So SQS drops a second copy, but does not take the message for a duplicate of
/// its earlier self.
///
/// Each message is handled at most once in a run, however long it takes. A message that returns, or arrives after the
/// start, stays and is counted. Messages that are not moved are released. A message's redrive.source is followed only
/// to a queue whose RedrivePolicy names this dead-letter queue. Any other message stays and is reported, until --to
/// names its destination. On a FIFO queue a message that could not be moved holds back the later ones of its group.
///
/// Exits with 0 if all messages were moved and none returned. Exits with 1 if some stay, were not looked at or are in
/// both queues, or on Ctrl-C. Exits with 2 if the arguments are wrong or nothing could be done.
#[derive(Args)]
#[command(after_help = "Examples:
  redrive dlq move orders --all                        back to the source queues
  redrive dlq move orders --all --max-per-second 20
  redrive dlq move orders --all --one-by-one           without redrive.* attributes and the Lineage of a loop
  redrive dlq move orders --id 2f1c7d0e-6f0b-4c5e-9a59-0d1b9a3c0f11
  redrive dlq move orders-dlq --reason 'connection refused' --to orders-replay")]
pub(super) struct Arguments {
    #[command(flatten)]
    target: TargetArguments,
    #[command(flatten)]
    filter: FilterArguments,
    /// Move them to this queue instead of their source queues
    #[arg(long, value_name = "QUEUE")]
    to: Option<String>,
    /// Move at most this many messages a second; by default SQS chooses the rate
    #[arg(long, value_name = "N", requires = "all", value_parser = clap::value_parser!(i32).range(1..=500))]
    max_per_second: Option<i32>,
    /// With --all, move the messages one by one, as chosen messages are, and not by a task of SQS
    #[arg(long, requires = "all", conflicts_with = "max_per_second")]
    one_by_one: bool,
}

/// The one destination of all messages.
struct MoveDestination {
    name: String,
    url: String,
    arn: String,
}

pub(super) async fn r#move(arguments: &Arguments, stop: &Stop) -> Result<Done, String> {
    let queue = arguments.target.find().await?;
    let to = match &arguments.to {
        Some(to) => Some(MoveDestination::find(&queue, to).await?),
        None => None,
    };
    // SQS can only move messages of a queue that is some queue's dead-letter queue.
    if arguments.filter.all && !arguments.one_by_one && !queue.sources.is_empty() {
        by_task(&queue, to.as_ref(), arguments.max_per_second, stop).await
    } else {
        one_by_one(&queue, to.as_ref(), arguments.filter.to_filter(), stop).await
    }
}

async fn by_task(
    queue: &DeadLetterQueue,
    to: Option<&MoveDestination>,
    per_second: Option<i32>,
    stop: &Stop,
) -> Result<Done, String> {
    let before = queue.counts().await?;
    let Ended { moved, to_move, how } = move_all(queue, to.map(|to| to.arn.as_str()), per_second, stop).await?;
    let name = &queue.name;
    let to = to.map_or("their source queues", |to| &to.name);
    let so_far = format!("{name}: {moved} of about {to_move} moved to {to}");
    match how {
        How::Completed => completed(queue, before, moved, to).await,
        How::Cancelled => {
            Ok(Done { output: format!("{so_far}; cancelled, and the other messages stay\n"), is_good: false })
        }
        How::Failed(reason) => ended_early(format!("SQS gave up the move: {reason}"), so_far, moved > 0),
        How::SourceUnknown => {
            let rest = one_by_one(queue, None, Filter::All, stop).await;
            let Done { output, is_good } = match rest {
                Ok(done) => done,
                Err(problem) => return ended_early(problem, so_far, moved > 0),
            };
            let by_sqs = if moved > 0 { format!("{so_far}, by SQS\n") } else { String::new() };
            Ok(Done { output: by_sqs + &output, is_good })
        }
    }
}

/// Checks a completed task. SQS completes a task when all visible messages are moved, but other consumers may have
/// received some.
async fn completed(queue: &DeadLetterQueue, before: Counts, moved: u64, to: &str) -> Result<Done, String> {
    let name = &queue.name;
    let so_far = format!("{name}: {moved} moved to {to}");
    let missed = (before.visible + before.hidden).saturating_sub(usize::try_from(moved).unwrap_or(usize::MAX));
    let now = if missed > 0 { queue.counts().await? } else { Counts::default() };
    match missed.min(now.visible + now.hidden) {
        0 => Ok(Done { output: format!("{so_far}\n"), is_good: true }),
        stay => Ok(Done {
            output: format!(
                "{so_far}; about {} stay, {} of them because another consumer has received them\n",
                counted(stay),
                stay.min(now.hidden)
            ),
            is_good: false,
        }),
    }
}

async fn one_by_one(
    queue: &DeadLetterQueue,
    to: Option<&MoveDestination>,
    mut filter: Filter,
    stop: &Stop,
) -> Result<Done, String> {
    queue.check_receivable()?;
    let (mut session, mut send_back) =
        (BrowseSession::start(queue, LEASE).await?, SendBack::new(queue, to.map(|to| to.url.as_str())));
    let end = filter.search(&mut session, usize::MAX, stop, async |session, dead_letters| {
        send_back.run(session, dead_letters).await
    });
    let end = end.await;
    let left = Left::by(&session, &end, filter.is_all_that_fit()).await;
    let given_back = session.give_back().await;
    if let Err(problem) = &given_back {
        eprintln!("redrive: {problem}");
    }
    let summary = format!("{}: {}{}", queue.name, send_back.summary(), left.said(queue));
    if let Err(problem) = end {
        return ended_early(problem, summary, send_back.has_begun());
    }
    let missing = filter.missing();
    missing.iter().for_each(|id| eprintln!("redrive: {}", queue.lacks(id)));
    let is_good = send_back.is_good() && given_back.is_ok() && missing.is_empty() && left.is_nothing();
    Ok(Done { output: format!("{summary}\n"), is_good })
}

impl MoveDestination {
    /// Finds a destination at the same SQS.
    async fn find(queue: &DeadLetterQueue, to: &str) -> Result<Self, String> {
        let target = Target::of(to, Some(queue.sqs.endpoint.url()), variable)?;
        let (name, url) = target.find_at(&queue.sqs).await?;
        let arn = queue.sqs.attributes_of(&url, &name, &[Name::QueueArn]).await?.remove(&Name::QueueArn);
        let arn = arn.ok_or_else(|| format!("{} returned no ARN for {name}", queue.sqs.endpoint.url()))?;
        if arn == queue.arn {
            return Err(format!("{name} is the dead-letter queue itself; pass another queue as --to"));
        }
        if name.ends_with(".fifo") != queue.is_fifo() {
            let kind = if queue.is_fifo() { "FIFO queue" } else { "standard queue" };
            return Err(format!("{} is a {kind}, but {name} is not; pass a {kind} as --to", queue.name));
        }
        Ok(Self { name, url, arn })
    }
}

#[cfg(test)]
mod tests;
