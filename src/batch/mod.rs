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
mod settle;
mod source;
mod waiting;

use std::borrow::Cow;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lambda_events::sqs::SqsBatchResponse;
use tokio::runtime::Handle;
use tokio::time::Instant;

pub(crate) use self::bodies::{Bodies, WithBody};
#[cfg(feature = "large-messages")]
pub(crate) use self::bodies::{Fetch, Wanted};
pub(crate) use self::effect::OnFailure;
#[cfg(feature = "sqs")]
pub(crate) use self::effect::{Effect, Failed, Failure, Leased, Wish};
pub(crate) use self::guard::note_places;
pub use self::guard::guard;
pub(crate) use self::keeper::Keeper;
#[cfg(feature = "worker")]
pub(crate) use self::keeper::{Fate, Place, Wait};
pub(crate) use self::lane::Chunk;

use self::board::Board;
use self::crew::{Crew, Shared};
use self::ledger::Ledger;
use self::source::Source;
use crate::error::Error;
use crate::event::Event;
use crate::handler::{ChunkService, Options, RecordService};
use crate::record::{Batch, Origin};

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

    /// Runs a batch and answers for each of its records, before the time is over.
    pub(crate) async fn run(self, event: Event, invocation: Invocation) -> Result<SqsBatchResponse, Error> {
        let cut = invocation.remaining.and_then(|remaining| self.cut_off(remaining));
        let records = event.into_records()?;
        let (is_kept, on_failure) = (invocation.keeper.is_some(), self.options.on_failure.clone());
        let ledger = Ledger::new(Batch { records, origin: invocation.origin, is_kept, on_failure });
        let source = Source::of(&ledger)?;
        let span = report::batch_span(&source, ledger.len());
        let plan = source.plan(&ledger, self.options.fifo);
        let board = Arc::new(Board::new(ledger, plan));

        let (handlers, options) = (invocation.handlers.clone(), self.options.clone());
        let shared = Shared { board: board.clone(), options, keeper: invocation.keeper };
        let mut lanes = Crew::begin(shared, cut, self.work, handlers, span.clone());
        let in_time = lanes.end_by(cut).await;
        // From here on nothing changes the answer, whatever still runs. What can be cancelled is, when `lanes` drops; a
        // handler that blocks its thread cannot, and goes on for nothing.
        let standings = board.close();
        let id_of = |index| board.ledger().message_id(index).map(Cow::into_owned);
        let answer = settle::settle(&standings, id_of, &self.options);
        let options = self.options;
        if in_time {
            span.in_scope(|| report::batch_end(&board, &standings, &source, &options));
        } else {
            // Not here: a handler that still runs may hold what the log needs, standard output for one.
            let report = move || span.in_scope(|| report::batch_cut_off(&board, &standings, &source, &options));
            invocation.handlers.spawn_blocking(report);
        }
        answer
    }

    /// When handlers are cut off: before the margin, which takes no more than half of the time that there is. `None` where
    /// that is beyond what a clock can tell.
    fn cut_off(&self, remaining: Duration) -> Option<Instant> {
        let margin = self.options.deadline_margin.min(remaining / 2);
        Instant::now().checked_add(remaining - margin)
    }
}
