//! `redrive dlq delete`.

use clap::Args;

use super::browse::{BrowseSession, LEASE};
use super::confirm::{check_can_ask, is_confirmed};
use super::counted;
use super::dead_letter::DeadLetter;
use super::end::Left;
use super::ended_early;
use super::filter::{Filter, FilterArguments};
use super::lines::text;
use super::list::now_ms;
use super::search::SearchEnd;
use super::target::{DeadLetterQueue, TargetArguments};
use crate::Done;
use crate::interrupt::Stop;

/// How many messages are shown before the question. Further ones are counted.
const MAX_SHOWN: usize = 1_000;

/// Delete messages of a dead-letter queue permanently
///
/// Chosen messages are received, shown and released. After a yes they are received again and deleted. With --all, SQS
/// purges the queue: messages in flight are deleted too, as are messages that arrive before SQS has finished, which may
/// take a minute.
///
/// Each message is looked at once in a run, however long it takes. Messages that arrive after the start stay and are
/// counted. On a FIFO queue a message that is not chosen hides the later ones of its group: only the first ten of each
/// group are visible.
///
/// Exits with 0 if all chosen messages are deleted. Exits with 1 if some are left or were not looked at, without a yes,
/// or on Ctrl-C. Exits with 2 if the arguments are wrong or nothing could be done.
#[derive(Args)]
#[command(after_help = "Examples:
  redrive dlq delete orders --id 2f1c7d0e-6f0b-4c5e-9a59-0d1b9a3c0f11
  redrive dlq delete orders --reason 'no such order' --yes
  redrive dlq delete orders --all")]
pub(super) struct Arguments {
    #[command(flatten)]
    target: TargetArguments,
    #[command(flatten)]
    filter: FilterArguments,
    /// Do not ask for confirmation
    #[arg(short, long)]
    yes: bool,
}

pub(super) async fn delete(arguments: &Arguments, stop: &Stop) -> Result<Done, String> {
    if !arguments.yes {
        check_can_ask()?;
    }
    let queue = arguments.target.find().await?;
    if arguments.filter.all {
        return purge(&queue, arguments.yes, stop).await;
    }
    queue.check_receivable()?;
    let mut filter = arguments.filter.to_filter();
    if arguments.yes {
        return chosen(&queue, filter, stop).await;
    }
    let Shown { ids, left } = shown(&queue, &mut filter, stop).await?;
    report_missing(&queue, &filter);
    if ids.is_empty() {
        return Ok(Done { output: format!("{}: nothing deleted{}\n", queue.name, left.said(&queue)), is_good: false });
    }
    let question = format!("Permanently delete {} of {}?", counted(ids.len()), queue.name);
    if !is_confirmed(&question, stop).await {
        return Ok(nothing(&queue));
    }
    let is_all = filter.missing().is_empty() && left.is_nothing();
    let Done { output, is_good } = chosen(&queue, Filter::Ids(ids.into_iter().collect()), stop).await?;
    Ok(Done { output: format!("{}{}\n", output.trim_end(), left.said(&queue)), is_good: is_good && is_all })
}

fn nothing(queue: &DeadLetterQueue) -> Done {
    Done { output: format!("{}: nothing deleted\n", queue.name), is_good: false }
}

fn report_missing(queue: &DeadLetterQueue, filter: &Filter) {
    filter.missing().iter().for_each(|id| eprintln!("redrive: {}", queue.lacks(id)));
}

/// The messages in the question, and those that were not looked at.
struct Shown {
    ids: Vec<String>,
    left: Left,
}

/// Shows the messages that match. None stays hidden while the user decides.
async fn shown(queue: &DeadLetterQueue, filter: &mut Filter, stop: &Stop) -> Result<Shown, String> {
    let (mut session, mut dead_letters, mut ids) = (BrowseSession::start(queue, LEASE).await?, Vec::new(), Vec::new());
    let end = filter.search(&mut session, usize::MAX, stop, async |_, mut found: Vec<DeadLetter>| {
        found.iter_mut().for_each(|dead_letter| dead_letter.body = String::new());
        ids.extend(found.iter().map(|dead_letter| dead_letter.id.clone()));
        dead_letters.extend(found);
        dead_letters.truncate(MAX_SHOWN);
        Ok(())
    });
    let end = end.await;
    let left = Left::by(&session, &end, filter.is_all_that_fit()).await;
    session.give_back().await?;
    if end? == SearchEnd::Interrupted {
        return Err("interrupted; nothing is deleted".to_owned());
    }
    eprint!("{}", text(&dead_letters, now_ms(), !dead_letters.is_empty(), false));
    if ids.len() > dead_letters.len() {
        eprintln!("redrive: {}: and {} more", queue.name, ids.len() - dead_letters.len());
    }
    Ok(Shown { ids, left })
}

async fn chosen(queue: &DeadLetterQueue, mut filter: Filter, stop: &Stop) -> Result<Done, String> {
    let (mut session, mut deleted, mut failed) = (BrowseSession::start(queue, LEASE).await?, 0, 0);
    let end = filter.search(
        &mut session,
        usize::MAX,
        stop,
        async |session: &mut BrowseSession<'_>, dead_letters: Vec<DeadLetter>| {
            let ids: Vec<_> = dead_letters.into_iter().map(|dead_letter| dead_letter.id).collect();
            for (id, result) in session.delete(&ids).await {
                match result {
                    Ok(()) => deleted += 1,
                    Err(cause) => {
                        failed += 1;
                        eprintln!("redrive: {}: {id} may still be there: {cause}", queue.name);
                    }
                }
            }
            Ok(())
        },
    );
    let end = end.await;
    let left = Left::by(&session, &end, filter.is_all_that_fit()).await;
    let given_back = session.give_back().await;
    if let Err(problem) = &given_back {
        eprintln!("redrive: {problem}");
    }
    let summary = format!("{}: {} deleted{}", queue.name, counted(deleted), left.said(queue));
    if let Err(problem) = end {
        return ended_early(problem, summary, deleted + failed > 0);
    }
    report_missing(queue, &filter);
    let is_good = failed == 0 && given_back.is_ok() && filter.missing().is_empty() && left.is_nothing();
    Ok(Done { output: format!("{summary}\n"), is_good })
}

async fn purge(queue: &DeadLetterQueue, is_sure: bool, stop: &Stop) -> Result<Done, String> {
    let counts = queue.counts().await?;
    let about = counted(counts.visible + counts.hidden);
    if !is_sure && !is_confirmed(&format!("Permanently delete all of {}, about {about}?", queue.name), stop).await {
        return Ok(nothing(queue));
    }
    let purged = queue.sqs.client.purge_queue().queue_url(&queue.url).send().await;
    purged.map_err(|error| queue.sqs.explained(error, &format!("cannot purge {}", queue.name)))?;
    Ok(Done { output: format!("{}: all deleted, about {about}\n", queue.name), is_good: true })
}
