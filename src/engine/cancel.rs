//! What ends a handler before it has ended itself.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use tokio::time::{Instant, timeout_at};

/// A wait of whoever holds leases.
pub(crate) type Wait<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Why a handler was cancelled, as the error of its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cancel {
    /// The time is over.
    Deadline,
    /// The record is not ours any more.
    #[cfg_attr(not(feature = "worker"), allow(dead_code, reason = "on Lambda there are no leases"))]
    LeaseLost,
    /// The host ends.
    #[cfg_attr(not(feature = "worker"), allow(dead_code, reason = "on Lambda there is the deadline"))]
    HostEnds,
}

impl fmt::Display for Cancel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Deadline => "cut off before the deadline",
            Self::LeaseLost => {
                "cut off: the message is no longer ours, as its visibility timeout could not be extended"
            }
            Self::HostEnds => "cut off: the worker ends",
        })
    }
}

impl std::error::Error for Cancel {}

/// When a handler is cancelled, whichever is first.
#[derive(Default)]
pub(super) struct CancelAt<'a> {
    /// So that there is time left for what is done at the queue.
    pub(super) end: Option<Instant>,
    /// Ends when the record is lost.
    pub(super) lost: Option<Wait<'a, Cancel>>,
}

impl CancelAt<'_> {
    /// Runs a handler to its end, or until it is cancelled.
    pub(super) async fn limit<F: Future>(self, handler: Pin<&mut F>) -> Result<F::Output, Cancel> {
        let kept = async {
            match self.lost {
                Some(lost) => unless(lost, handler).await,
                None => Ok(handler.await),
            }
        };
        match self.end {
            Some(end) => timeout_at(end, kept).await.unwrap_or(Err(Cancel::Deadline)),
            None => kept.await,
        }
    }
}

/// The future's output, unless the other one ends before it.
async fn unless<F: Future>(mut lost: Wait<'_, Cancel>, mut future: Pin<&mut F>) -> Result<F::Output, Cancel> {
    let both = poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Ok(output)),
        Poll::Pending => lost.as_mut().poll(context).map(Err),
    });
    both.await
}
