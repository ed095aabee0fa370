//! `redrive dlq list`.

use std::io::IsTerminal;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;

use super::browse::{BrowseSession, LIST_LEASE};
use super::counted;
use super::dead_letter::DeadLetter;
use super::filter::Filter;
use super::lines::{json_lines, text};
use super::search::SearchEnd;
use super::target::{Counts, DeadLetterQueue, TargetArguments};
use crate::Done;
use crate::interrupt::Stop;

/// List the messages of a dead-letter queue, with their reasons
///
/// Prints a line for each message: its id, the time since it was sent, its receive count, the queue that it failed in,
/// its message group, and the reason. A handler's effects have noted the reason, the error and the earlier numbers. SQS
/// states no reason for a message that the RedrivePolicy has moved. The total is printed on stderr.
///
/// Looking at messages means receiving them: they are hidden from other consumers meanwhile and released at the end. If
/// the command is killed, they become visible after 90 seconds, or after as long as the command ran. If SQS continues a
/// message's receive count, a look counts. On a FIFO queue only the first ten of each group are visible.
///
/// Exits with 0 on success. Exits with 1 if it was interrupted, found fewer messages than requested although SQS counts
/// more, or could not release what it has shown. Exits with 2 if it could not look.
#[derive(Args)]
#[command(after_help = "Examples:
  redrive dlq list orders                  messages of the dead-letter queue of orders
  redrive dlq list orders-dlq --body
  redrive dlq list orders --json | jq -r 'select(.group == \"customer-a\").id'")]
pub(super) struct Arguments {
    #[command(flatten)]
    target: TargetArguments,
    /// Show at most this many messages
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    limit: u16,
    /// Show the bodies too
    #[arg(long)]
    body: bool,
    /// Write a JSON object a line, for programs
    #[arg(long)]
    json: bool,
}

pub(super) async fn list(arguments: &Arguments, stop: &Stop) -> Result<Done, String> {
    let queue = arguments.target.find().await?;
    queue.check_receivable()?;
    let (counts, limit) = (queue.counts().await?, usize::from(arguments.limit));
    let (mut filter, mut session, mut dead_letters) =
        (Filter::All, BrowseSession::start(&queue, LIST_LEASE).await?, Vec::new());
    let end = filter.search(&mut session, limit, stop, async |_, mut found| {
        // A thousand bodies of a mebibyte each would not fit into memory.
        found.iter_mut().filter(|_| !arguments.body).for_each(|dead_letter| dead_letter.body = String::new());
        dead_letters.extend(found);
        Ok(())
    });
    let end = end.await;
    // A FIFO queue cannot show more, as the help says.
    let is_short = !queue.is_fifo() && dead_letters.len() < limit && end.is_ok() && session.unseen().await.visible > 0;
    let given_back = session.give_back().await;
    let end = end?;
    if let Err(problem) = &given_back {
        eprintln!("redrive: {problem}");
    }
    eprintln!("redrive: {}", summary(&queue, counts, dead_letters.len(), limit));
    Ok(Done {
        output: arguments.output(&dead_letters),
        is_good: end == SearchEnd::Seen && given_back.is_ok() && !is_short,
    })
}

impl Arguments {
    fn output(&self, dead_letters: &[DeadLetter]) -> String {
        if self.json {
            return json_lines(dead_letters, now_ms(), self.body);
        }
        text(dead_letters, now_ms(), std::io::stdout().is_terminal() && !dead_letters.is_empty(), self.body)
    }
}

pub(super) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Formats how many messages are shown, and of how many. The counts are from before the look.
fn summary(queue: &DeadLetterQueue, Counts { visible, hidden }: Counts, shown: usize, limit: usize) -> String {
    let mut summary = match shown {
        _ if shown < visible => format!("{}: {shown} of about {}", queue.name, counted(visible)),
        _ => format!("{}: {}", queue.name, counted(shown)),
    };
    if shown < visible && shown == limit {
        summary += "; a larger --limit shows more";
    } else if shown < visible && queue.is_fifo() {
        summary += "; a FIFO queue shows the first ten of each group";
    }
    if hidden > 0 {
        summary += &format!("; {hidden} more are hidden, because another consumer has received them");
    }
    summary
}
