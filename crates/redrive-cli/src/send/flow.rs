//! Sends the messages of the input to the queue, several batches at a time.

use std::pin::pin;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::batch::{Batches, Next};
use super::deliver::{Delivered, Destination};
use super::input::InputItem;
use super::report::Report;

/// The most batches in flight on a standard queue. On a FIFO queue it is one, because a second batch could overtake the
/// first.
const IN_FLIGHT: usize = 8;

/// How sending ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    Complete,
    /// The input could not be read to its end. The messages before the error were sent.
    Broken(String),
    /// No further message could be sent.
    Hopeless(String),
    /// The user stopped the command.
    Interrupted,
}

/// Sends the items until the input ends or `stop` completes. Calls under way then finish.
pub(super) async fn flow(
    queue: Arc<Destination>,
    items: mpsc::Receiver<InputItem>,
    report: &mut Report,
    stop: impl Future<Output = ()>,
) -> End {
    let in_flight = if queue.is_fifo() { 1 } else { IN_FLIGHT };
    let (mut batches, mut calls) = (Batches::new(items), JoinSet::new());
    let (mut end, mut stop) = (None, pin!(stop));
    loop {
        tokio::select! {
            biased;
            () = &mut stop, if end.is_none() => end = Some(End::Interrupted),
            Some(delivered) = calls.join_next() => {
                let Delivered { mut outcomes, hopeless, .. } = done(delivered);
                outcomes.sort_by_key(|(position, _)| *position);
                report.batch(outcomes);
                if let Some(problem) = hopeless {
                    // The first problem is enough: the others have the same cause.
                    end = Some(match end.take() {
                        Some(End::Hopeless(first)) => End::Hopeless(first),
                        _ => End::Hopeless(problem),
                    });
                }
            }
            next = batches.next(), if end.is_none() && calls.len() < in_flight => match next {
                Next::Batch(batch) => {
                    report.begins(&batch);
                    let queue = queue.clone();
                    calls.spawn(async move { queue.deliver(batch).await });
                }
                Next::Unsendable(unsendable) => report.unsendable(unsendable),
                Next::EmptyLine => report.empty_line(),
                Next::Broken(problem) => end = Some(End::Broken(problem)),
                Next::End => end = Some(End::Complete),
            },
            else => break,
        }
    }
    end.unwrap_or(End::Complete)
}

/// Returns a task's result. Tasks are never cancelled, and a panic is a bug of this command.
fn done(delivered: Result<Delivered, tokio::task::JoinError>) -> Delivered {
    match delivered {
        Ok(delivered) => delivered,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

#[cfg(test)]
mod tests;
