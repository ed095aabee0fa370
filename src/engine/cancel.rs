//! Cancels a handler before it has returned.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use tokio::time::{Instant, timeout_at};

/// A future of a lease holder.
pub(crate) type Wait<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The reason for a cancellation, used as the error of the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cancel {
    /// The deadline has been reached.
    Deadline,
    /// The consumer has lost the lease of the record.
    #[cfg_attr(not(feature = "worker"), allow(dead_code, reason = "only a worker holds leases"))]
    LeaseLost,
    /// The host is stopping.
    #[cfg_attr(not(feature = "worker"), allow(dead_code, reason = "only a worker is stopped by a signal"))]
    HostEnds,
}

impl fmt::Display for Cancel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Deadline => "cut off before the deadline",
            Self::LeaseLost => {
                "cut off: the visibility timeout could not be extended, so another consumer may receive the message"
            }
            Self::HostEnds => "cut off: the worker is stopping",
        })
    }
}

impl std::error::Error for Cancel {}

/// The conditions that cancel a handler. The first one wins.
#[derive(Default)]
pub(super) struct CancelAt<'a> {
    /// The time at which the handler is cancelled. It leaves time for calls to the queue.
    pub(super) end: Option<Instant>,
    /// Completes when the lease is lost.
    pub(super) lost: Option<Wait<'a, Cancel>>,
}

impl CancelAt<'_> {
    /// Runs a handler until it returns or is cancelled.
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

/// Returns the future's output, or the cancellation if `lost` completes first.
async fn unless<F: Future>(mut lost: Wait<'_, Cancel>, mut future: Pin<&mut F>) -> Result<F::Output, Cancel> {
    let both = poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Ok(output)),
        Poll::Pending => lost.as_mut().poll(context).map(Err),
    });
    both.await
}
