//! What ends a handler before it has ended itself.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use tokio::time::{Instant, timeout_at};

use super::keeper::Wait;

/// When a handler is cut off, whichever is first.
#[derive(Default)]
pub(super) struct Cut<'a> {
    /// So that there is time left for effects.
    pub(super) end: Option<Instant>,
    /// The record is not ours any more, or the host ends.
    pub(super) lost: Option<Wait<'a>>,
}

impl Cut<'_> {
    /// Runs a handler to its end, or to the cut.
    pub(super) async fn limit<F: Future>(self, handler: Pin<&mut F>) -> Result<F::Output, CutOff> {
        let kept = async {
            match self.lost {
                Some(lost) => unless(lost, handler).await.ok_or(CutOff::Lost),
                None => Ok(handler.await),
            }
        };
        match self.end {
            Some(end) => timeout_at(end, kept).await.unwrap_or(Err(CutOff::Deadline)),
            None => kept.await,
        }
    }
}

/// The future's output, unless the other one ends before it.
async fn unless<F: Future>(mut other: Wait<'_>, mut future: Pin<&mut F>) -> Option<F::Output> {
    let both = poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => other.as_mut().poll(context).map(|()| None),
    });
    both.await
}

/// The error of a record whose handler did not come to its end.
#[derive(Clone, Copy, Debug)]
pub(super) enum CutOff {
    Deadline,
    Lost,
}

impl fmt::Display for CutOff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Deadline => "cut off before the deadline",
            Self::Lost => {
                "cut off: the message is no longer ours, as its visibility timeout could not be extended, or as the worker ends"
            }
        })
    }
}

impl std::error::Error for CutOff {}
