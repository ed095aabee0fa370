//! From the input into the queue, several batches at a time.

use std::pin::pin;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::batch::{Batches, Next};
use super::deliver::{Delivered, Queue};
use super::input::Item;
use super::report::Report;

/// Batches in flight. On a FIFO queue there is one, as another might overtake it.
const IN_FLIGHT: usize = 8;

/// How it came to its end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    Complete,
    /// What could be read is sent.
    Broken(String),
    /// Nothing more would arrive.
    Hopeless(String),
    /// Somebody stopped it.
    Interrupted,
}

/// Sends what comes until it ends, or somebody stops it; what is under way then comes to its end.
pub(super) async fn flow(
    queue: Arc<Queue>,
    items: mpsc::Receiver<Item>,
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
                let Delivered { mut fates, hopeless, .. } = done(delivered);
                fates.sort_by_key(|(place, _)| *place);
                report.batch(fates);
                if let Some(problem) = hopeless {
                    // The first of them says it: the others have it from the same cause.
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

/// A task's result. Nobody cancels one, and a panic is a fault of ours.
fn done(delivered: Result<Delivered, tokio::task::JoinError>) -> Delivered {
    match delivered {
        Ok(delivered) => delivered,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

#[cfg(test)]
mod tests;
