//! `redrive dlq list`.

use std::io::IsTerminal;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;

use super::choice::Wanted;
use super::counted;
use super::hold::{Hold, LIST_LEASE};
use super::letter::Letter;
use super::lines::{json_lines, text};
use super::place::{Counts, DeadLetterQueue, Place};
use super::search::End;
use crate::Done;
use crate::interrupt::Stop;

/// Show what is in a dead-letter queue, and why
///
/// A line a message: its id, how long ago it was sent, how often it was received, the queue that it failed in, its message group,
/// and the reason. Reason, error, and the numbers from before are those that a handler's effects have noted; of a message that
/// the RedrivePolicy has moved SQS knows no reason. How many there are is said on stderr.
///
/// To look at messages is to receive them: they are hidden from others meanwhile, and given back at the end. Should the command be
/// killed, they come back by themselves, after 90 seconds or as long as the command ran. Where SQS counts the receives of a message on, a look counts. Of a FIFO queue the first ten of each group can be seen.
///
/// Exits with 0, with 1 where it was interrupted, has not found as many messages as it was to show and SQS counts, or could not give
/// back what it has shown, and with 2 where it could not look.
#[derive(Args)]
#[command(after_help = "Examples:
  redrive dlq list orders                  what is in the dead-letter queue of orders
  redrive dlq list orders-dlq --body
  redrive dlq list orders --json | jq -r 'select(.group == \"customer-a\").id'")]
pub(super) struct Arguments {
    #[command(flatten)]
    place: Place,
    /// Show up to so many
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    limit: u16,
    /// Show bodies too
    #[arg(long)]
    body: bool,
    /// Write a JSON object a line, for programs
    #[arg(long)]
    json: bool,
}

pub(super) async fn list(arguments: &Arguments, stop: &Stop) -> Result<Done, String> {
    let queue = arguments.place.find().await?;
    queue.check_receivable()?;
    let (counts, limit) = (queue.counts().await?, usize::from(arguments.limit));
    let (mut wanted, mut hold, mut letters) = (Wanted::All, Hold::on(&queue, LIST_LEASE).await?, Vec::new());
    let end = wanted.search(&mut hold, limit, stop, async |_, mut found| {
        // There may be a thousand of a mebibyte each.
        found.iter_mut().filter(|_| !arguments.body).for_each(|letter| letter.body = String::new());
        letters.extend(found);
        Ok(())
    });
    let end = end.await;
    // Of a FIFO queue no more can be seen, as the help says.
    let is_short = !queue.is_fifo() && letters.len() < limit && end.is_ok() && hold.unseen().await.visible > 0;
    let given_back = hold.give_back().await;
    let end = end?;
    if let Err(problem) = &given_back {
        eprintln!("redrive: {problem}");
    }
    eprintln!("redrive: {}", summary(&queue, counts, letters.len(), limit));
    Ok(Done { output: arguments.output(&letters), is_good: end == End::Seen && given_back.is_ok() && !is_short })
}

impl Arguments {
    fn output(&self, letters: &[Letter]) -> String {
        if self.json {
            return json_lines(letters, now_ms(), self.body);
        }
        text(letters, now_ms(), std::io::stdout().is_terminal() && !letters.is_empty(), self.body)
    }
}

pub(super) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// What is shown, and of how much. The counts are from before the look.
fn summary(queue: &DeadLetterQueue, Counts { visible, hidden }: Counts, shown: usize, limit: usize) -> String {
    let mut summary = match shown {
        _ if shown < visible => format!("{}: {shown} of about {}", queue.name, counted(visible)),
        _ => format!("{}: {}", queue.name, counted(shown)),
    };
    if shown < visible && shown == limit {
        summary += "; a larger --limit shows more";
    } else if shown < visible && queue.is_fifo() {
        summary += "; of each group a FIFO queue shows the first ten";
    }
    if hidden > 0 {
        summary += &format!("; {hidden} more are hidden, as somebody has received them");
    }
    summary
}
