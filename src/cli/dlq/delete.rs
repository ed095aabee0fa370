//! `redrive dlq delete`.

use clap::Args;

use super::choice::{Choice, End, Wanted};
use super::confirm::{check_can_ask, is_confirmed};
use super::counted;
use super::hold::{Hold, LONGEST};
use super::letter::Letter;
use super::lines::text;
use super::list::now_ms;
use super::place::{DeadLetterQueue, Place};
use crate::cli::Done;
use crate::cli::interrupt::Stop;

/// Delete messages of a dead-letter queue, for good
///
/// Chosen messages are received, shown and given back; after a yes they are received once more and deleted. With --all SQS purges
/// the queue: what somebody has in flight goes too, and what comes in before SQS is done, which may take a minute.
///
/// Exits with 0 where all was deleted, with 1 where something was not, and with 2 where nothing could be done.
#[derive(Args)]
#[command(after_help = "Examples:
  redrive dlq delete orders --id 2f1c7d0e-6f0b-4c5e-9a59-0d1b9a3c0f11
  redrive dlq delete orders --reason 'no such order' --yes
  redrive dlq delete orders --all")]
pub(super) struct Arguments {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    choice: Choice,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

pub(super) async fn delete(arguments: &Arguments, stop: &Stop) -> Result<Done, String> {
    if !arguments.yes {
        check_can_ask()?;
    }
    let queue = arguments.place.find().await?;
    if arguments.choice.all {
        return purge(&queue, arguments.yes, stop).await;
    }
    queue.check_receivable()?;
    let mut wanted = arguments.choice.wanted();
    if !arguments.yes {
        let found = shown(&queue, &mut wanted, stop).await?;
        report_missing(&queue, &wanted);
        if found.is_empty() {
            return Ok(nothing(&queue));
        }
        let question = format!("Delete {} of {} for good?", counted(found.len()), queue.name);
        if !is_confirmed(&question, stop).await {
            return Ok(nothing(&queue));
        }
        let is_all = wanted.missing().is_empty();
        let Done { output, is_good } = chosen(&queue, Wanted::Ids(found.into_iter().collect()), stop).await?;
        return Ok(Done { output, is_good: is_good && is_all });
    }
    chosen(&queue, wanted, stop).await
}

fn nothing(queue: &DeadLetterQueue) -> Done {
    Done { output: format!("{}: nothing deleted\n", queue.name), is_good: false }
}

fn report_missing(queue: &DeadLetterQueue, wanted: &Wanted) {
    wanted.missing().iter().for_each(|id| eprintln!("redrive: {}", queue.lacks(id)));
}

/// Shows those that are wanted. Nothing is held while somebody thinks.
async fn shown(queue: &DeadLetterQueue, wanted: &mut Wanted, stop: &Stop) -> Result<Vec<String>, String> {
    let (mut hold, mut letters) = (Hold::on(queue, LONGEST), Vec::new());
    let end = wanted.search(&mut hold, usize::MAX, stop, async |_, mut found: Vec<Letter>| {
        found.iter_mut().for_each(|letter| letter.body = String::new());
        letters.extend(found);
        Ok(())
    });
    let end = end.await;
    hold.give_back().await?;
    if end? == End::Interrupted {
        return Err("interrupted; nothing is deleted".to_owned());
    }
    eprint!("{}", text(&letters, now_ms(), !letters.is_empty(), false));
    Ok(letters.into_iter().map(|letter| letter.id).collect())
}

async fn chosen(queue: &DeadLetterQueue, mut wanted: Wanted, stop: &Stop) -> Result<Done, String> {
    let (mut hold, mut deleted, mut failed) = (Hold::on(queue, LONGEST), 0, 0);
    let end = wanted.search(&mut hold, usize::MAX, stop, async |hold: &mut Hold<'_>, letters: Vec<Letter>| {
        let ids: Vec<_> = letters.into_iter().map(|letter| letter.id).collect();
        for (id, result) in hold.delete(&ids).await {
            match result {
                Ok(()) => deleted += 1,
                Err(cause) => {
                    failed += 1;
                    eprintln!("redrive: {}: {id} may be there still: {cause}", queue.name);
                }
            }
        }
        Ok(())
    });
    let end = end.await;
    let given_back = hold.give_back().await;
    if let Err(problem) = &given_back {
        eprintln!("redrive: {problem}");
    }
    let summary = format!("{}: {} deleted", queue.name, counted(deleted));
    let end = end.map_err(|problem| format!("{problem}; {summary}"))?;
    report_missing(queue, &wanted);
    let rest = if end == End::Interrupted { "; interrupted, and the others stay" } else { "" };
    let is_good = failed == 0 && given_back.is_ok() && wanted.missing().is_empty() && end == End::Seen;
    Ok(Done { output: format!("{summary}{rest}\n"), is_good })
}

async fn purge(queue: &DeadLetterQueue, is_sure: bool, stop: &Stop) -> Result<Done, String> {
    let counts = queue.counts().await?;
    let about = counted(counts.visible + counts.hidden);
    if !is_sure && !is_confirmed(&format!("Delete all of {}, about {about}, for good?", queue.name), stop).await {
        return Ok(nothing(queue));
    }
    let purged = queue.sqs.client.purge_queue().queue_url(&queue.url).send().await;
    purged.map_err(|error| queue.sqs.explained(error, &format!("cannot delete what is in {}", queue.name)))?;
    Ok(Done { output: format!("{}: all deleted, about {about}\n", queue.name), is_good: true })
}
