//! The way of a batch from split records to its answer. Knows no host.

mod board;
#[cfg_attr(not(feature = "large-messages"), allow(dead_code, reason = "who brings them is in `large`"))]
mod bodies;
mod crew;
mod cut;
#[cfg_attr(not(feature = "sqs"), allow(dead_code, reason = "who has an effect on the queue is in `sqs`"))]
mod effect;
mod guard;
#[cfg_attr(not(feature = "worker"), allow(dead_code, reason = "the worker is one, and Lambda is none"))]
mod keeper;
mod lane;
mod ledger;
mod plan;
mod report;
mod source;
mod waiting;

use std::borrow::Cow;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::Instant;

pub(crate) use self::bodies::{Bodies, WithBody};
#[cfg(feature = "large-messages")]
pub(crate) use self::bodies::{Fetch, Wanted};
pub(crate) use self::effect::OnFailure;
#[cfg(feature = "sqs")]
pub(crate) use self::effect::{Effect, Failed, Failure, Leased, Wish};
pub(crate) use self::guard::{guard, note_places};
pub(crate) use self::keeper::Keeper;
#[cfg(feature = "worker")]
pub(crate) use self::keeper::{Fate, Place, Wait};
pub(crate) use self::lane::Chunk;
pub(crate) use self::ledger::Status;

use self::board::Board;
use self::crew::{Crew, Shared};
use self::ledger::Ledger;
use self::source::Source;
use crate::handler::{ChunkService, Options, RecordService};
use crate::per_lane::PerLane;
use crate::record::{Batch, LastRun, Origin, Records};

/// What is done with records, of whatever types the user's handler is.
#[derive(Clone)]
pub(crate) enum Work {
    /// One record a call.
    Each(Pristine<RecordService>),
    /// Up to so many records a call.
    Chunks { size: NonZeroUsize, service: Pristine<ChunkService> },
}

/// A service that is only ever cloned. Each lane takes its clone under the guard: a layer's `clone` is a user's code.
pub(crate) struct Pristine<S>(Arc<Mutex<S>>);

impl<S: Clone> Pristine<S> {
    pub(crate) fn new(service: S) -> Self {
        Self(Arc::new(Mutex::new(service)))
    }

    fn copy(&self) -> S {
        // A clone that panicked has changed nothing.
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl<S> Clone for Pristine<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// A consumer, ready to take batches; clones share what its layers share.
#[derive(Clone)]
pub(crate) struct Engine {
    work: Work,
    options: Arc<Options>,
}

/// What a host says of a batch beside its records.
pub(crate) struct Invocation {
    /// How long there is until the batch must be answered, if there is an end to it.
    pub(crate) remaining: Option<Duration>,
    pub(crate) origin: Origin,
    /// Where handlers run. The host may wait for them elsewhere, so that none of them can keep the answer back.
    pub(crate) handlers: Handle,
    /// Who keeps the messages while they run, if they may slip away.
    pub(crate) keeper: Option<Arc<dyn Keeper>>,
    /// Whether the host may bring all records of the batch again, whatever has become of each.
    pub(crate) may_fail_as_a_whole: bool,
}

/// How each record of a batch stands at its end.
pub(crate) struct Statuses {
    batch: PerLane<Batch>,
    each: Vec<Status>,
}

impl Statuses {
    /// By position. A copy of a message has the status of the first one.
    pub(crate) fn each(&self) -> &[Status] {
        &self.each
    }

    pub(crate) fn message_id(&self, index: usize) -> Option<Cow<'_, str>> {
        self.batch.records.message_id(index)
    }
}

impl Invocation {
    /// One of a host that keeps the messages itself, and settles the whole batch by one answer.
    #[cfg(any(feature = "lambda", feature = "local"))]
    pub(crate) fn of_a_whole_batch(remaining: Option<Duration>, origin: Origin, handlers: Handle) -> Self {
        Self { remaining, origin, handlers, keeper: None, may_fail_as_a_whole: false }
    }
}

impl Engine {
    pub(crate) fn new(work: Work, options: Options) -> Self {
        Self { work, options: Arc::new(options) }
    }

    /// How many calls of the handler there may be at a time.
    #[cfg(feature = "worker")]
    pub(crate) fn concurrency(&self) -> usize {
        self.options.concurrency
    }

    /// How many records a call has at most.
    #[cfg(feature = "worker")]
    pub(crate) fn call_size(&self) -> NonZeroUsize {
        match &self.work {
            Work::Each(_) => NonZeroUsize::MIN,
            Work::Chunks { size, .. } => *size,
        }
    }

    /// What the host needs of the options to answer for a batch.
    pub(crate) fn options(&self) -> &Options {
        &self.options
    }

    /// Runs a batch, and says how each of its records stands at the end, before the time is over.
    pub(crate) async fn run(self, records: Records, invocation: Invocation) -> Statuses {
        let cut = invocation.remaining.and_then(|remaining| self.cut_off(remaining));
        let last_run = self.options.on_failure.clone().map(|on_failure| on_failure as Arc<dyn LastRun>);
        let is_kept = invocation.keeper.is_some();
        let ledger = Ledger::new(Batch { records, origin: invocation.origin, is_kept, last_run });
        let source = Source::of(&ledger);
        let span = report::batch_span(&source, ledger.len());
        let plan = source.plan(&ledger, self.options.fifo);
        let board = Arc::new(Board::new(ledger, plan));

        let (handlers, options) = (invocation.handlers.clone(), self.options.clone());
        let may_fail_as_a_whole = invocation.may_fail_as_a_whole;
        let shared = Shared { board: board.clone(), options, keeper: invocation.keeper, may_fail_as_a_whole };
        let mut lanes = Crew::begin(shared, cut, self.work, handlers, span.clone());
        let in_time = lanes.end_by(cut).await;
        // From here on nothing changes the answer, whatever still runs. What can be cancelled is, when `lanes` drops; a
        // handler that blocks its thread cannot, and goes on for nothing.
        let statuses = board.close();
        let ended = Statuses { batch: board.ledger().batch().clone(), each: statuses.clone() };
        let options = self.options;
        if in_time {
            span.in_scope(|| report::batch_end(&board, &statuses, &source, &options));
        } else {
            // Not here: a handler that still runs may hold what the log needs, standard output for one.
            let report = move || span.in_scope(|| report::batch_cut_off(&board, &statuses, &source, &options));
            invocation.handlers.spawn_blocking(report);
        }
        ended
    }

    /// When handlers are cut off: before the margin, which takes no more than half of the time that there is. `None` where
    /// that is beyond what a clock can tell.
    fn cut_off(&self, remaining: Duration) -> Option<Instant> {
        let margin = self.options.deadline_margin.min(remaining / 2);
        Instant::now().checked_add(remaining - margin)
    }
}
