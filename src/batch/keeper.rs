//! A host whose records may slip away while they run, and that settles each as soon as its run is over.
//!
//! Lambda is none: there an answer settles the whole batch, and until then it keeps the messages itself.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use crate::moment::Deadline;

/// A record, and what fares with it.
pub(crate) struct Place {
    pub(crate) index: usize,
    /// The same message once more.
    pub(crate) copies: Vec<usize>,
    /// What stands behind it in its group on a FIFO queue, each with its copies, and comes back with it. Where a failure stops the batch,
    /// others stand in its line too; the batch is over then, and they are not delayed with it.
    pub(crate) behind: Vec<usize>,
}

/// What has become of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is to leave the queue.
    Done,
    /// It comes back when its visibility timeout runs out.
    ComesBack,
    /// It comes back after a delay that the queue has been told of, and what is behind it in its group too.
    Delayed,
}

pub(crate) type Wait<'a, T = ()> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Who keeps the messages of one batch.
pub(crate) trait Keeper: fmt::Debug + Send + Sync {
    /// Whether the record may begin. Asked once, right before it does.
    fn admits(&self, index: usize) -> bool;

    /// The record did not begin, for it was not admitted, and nothing of its line will.
    fn refused(&self, place: &Place);

    /// Ends when the record is not ours any more, or has no more time: its handler is cancelled then.
    fn lost(&self, index: usize) -> Wait<'_>;

    /// The run is over, and what it asks for is about to be done, while the record is kept as before. Says whether it is still ours.
    fn ends(&self, index: usize) -> bool;

    /// The run is over. Once this has ended nothing but what the run asks for is done to the message. Says whether it is still ours.
    fn let_go<'a>(&'a self, place: &'a Place) -> Wait<'a, bool>;

    /// When the lease of the record ends, which was let go or rests. Its visibility must not be changed from then on: another consumer may
    /// have the message.
    fn lease_end(&self, index: usize) -> Deadline;

    /// How long SQS lets the batch's messages be hidden from now on.
    fn longest_delay(&self) -> Duration;

    /// Settles the record. Says whether its line may go on.
    fn settle<'a>(&'a self, place: &'a Place, fate: Fate) -> Wait<'a, bool>;
}
