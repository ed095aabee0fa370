//! Runs the records of one batch and returns the final status of each. It depends on no host and on no handler type.
//!
//! ```text
//! Engine::run -> State (what may run next) -> lane -> service (layers, extractors, handler) -> Verdict -> Settlement -> State
//! ```
//!
//! [`pool`] starts the lanes and waits for them. [`fifo`] keeps the order within message groups.

#[cfg_attr(not(feature = "large-messages"), allow(dead_code, reason = "`large` implements the trait"))]
mod body_source;
mod cancel;
mod chunk;
mod context;
mod fifo;
mod finish;
mod guard;
mod lane;
#[cfg_attr(not(feature = "worker"), allow(dead_code, reason = "only the worker holds leases"))]
mod lease_holder;
#[cfg_attr(not(feature = "sqs"), allow(dead_code, reason = "`sqs` implements the trait"))]
mod on_failure;
mod options;
mod plan;
mod pool;
mod report;
mod service;
mod settle;
mod settled;
mod settlement;
mod state;
mod verdict;

#[cfg(feature = "lambda")]
use std::borrow::Cow;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::Instrument;

#[cfg(feature = "large-messages")]
pub(crate) use self::body_source::{BodySource, Fetch, Wanted, WithBody};
#[cfg(feature = "worker")]
pub(crate) use self::cancel::{Cancel, Wait};
pub(crate) use self::chunk::{Chunk, ChunkService};
pub(crate) use self::context::Invocation;
pub use self::fifo::Fifo;
pub use self::guard::guard;
pub(crate) use self::guard::note_places;
#[cfg(feature = "worker")]
pub(crate) use self::lease_holder::LeaseHolder;
#[cfg(feature = "sqs")]
pub(crate) use self::on_failure::{Failed, Failure, Leased, OnFailure, QueueAction};
pub(crate) use self::options::Options;
pub use self::service::RecordService;
pub(crate) use self::service::{Classified, ServiceTemplate};
pub use self::settled::{Settled, SettledAs};
#[cfg(feature = "worker")]
pub(crate) use self::settlement::Settlement;
#[cfg(feature = "worker")]
pub(crate) use self::state::RecordSet;
use self::state::Status;

use self::context::BatchContext;
use self::fifo::BatchSource;
use self::plan::Plan;
use self::pool::Pool;
use self::state::BatchState;
use crate::per_lane::PerLane;
use crate::record::{Batch, LastRun, Records};

/// The user's handler, with its types erased.
#[derive(Clone)]
pub(crate) enum Work {
    /// One record for each call.
    Each(ServiceTemplate<RecordService>),
    /// Up to `size` records for each call.
    Chunks { size: NonZeroUsize, service: ServiceTemplate<ChunkService> },
}

/// A consumer that is ready to run batches. Clones share the state of its layers.
#[derive(Clone)]
pub(crate) struct Engine {
    work: Work,
    options: Arc<Options>,
}

/// The status of each record at the end of a batch.
pub(crate) struct Statuses {
    #[cfg_attr(not(feature = "lambda"), allow(dead_code, reason = "only Lambda's answer names ids"))]
    batch: PerLane<Batch>,
    each: Vec<Status>,
}

impl Statuses {
    #[cfg(feature = "lambda")]
    pub(crate) fn len(&self) -> usize {
        self.each.len()
    }

    /// Returns the positions of the records that must be retried. A copy of a message has the status of the first one.
    pub(crate) fn not_done(&self) -> Vec<usize> {
        (0..self.each.len()).filter(|&index| !self.each[index].is_done()).collect()
    }

    #[cfg(feature = "lambda")]
    pub(crate) fn message_id(&self, index: usize) -> Option<Cow<'_, str>> {
        self.batch.records.message_id(index)
    }
}

/// Notifies listeners when the future that runs the batch is dropped. It changes nothing after the batch has ended.
struct Abandoned(Arc<BatchContext>);

impl Drop for Abandoned {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

impl Engine {
    pub(crate) fn new(work: Work, options: Options) -> Self {
        Self { work, options: Arc::new(options) }
    }

    #[cfg(feature = "lambda")]
    pub(crate) fn options(&self) -> &Options {
        &self.options
    }

    /// Returns the maximum number of concurrent handler calls.
    #[cfg(feature = "worker")]
    pub(crate) fn concurrency(&self) -> usize {
        self.options.concurrency
    }

    /// Returns the maximum number of records in one call.
    #[cfg(feature = "worker")]
    pub(crate) fn call_size(&self) -> NonZeroUsize {
        match &self.work {
            Work::Each(_) => NonZeroUsize::MIN,
            Work::Chunks { size, .. } => *size,
        }
    }

    /// Runs a batch. Returns the status of each record when all have ended or when the time is over.
    pub(crate) async fn run(self, records: Records, invocation: Invocation) -> Statuses {
        let end = invocation.remaining.and_then(|remaining| self.end_of_batch(remaining));
        let last_run = self.options.on_failure.clone().map(|on_failure| on_failure as Arc<dyn LastRun>);
        let is_kept = invocation.lease_holder.is_some();
        let batch = Batch { records, origin: invocation.origin.clone(), is_kept, last_run };
        let source = BatchSource::of(&batch);
        let span = report::batch_span(&source, batch.records.len());
        let state = BatchState::new(batch, |batch| Plan::of(batch, &source, self.options.fifo));
        let handlers = invocation.handlers.clone();
        let context = Arc::new(BatchContext::new(state, self.options.clone(), invocation, end));

        let _abandoned = Abandoned(context.clone());
        let mut lanes = self.start(&context, &span);
        let in_time = lanes.end_by(end).await;
        // From here on nothing changes the answer, even if handlers still run. Dropping `lanes` cancels them. A handler
        // that blocks its thread cannot be cancelled, and its result is ignored.
        let each = context.close(in_time).await;
        let statuses = Statuses { batch: context.state.batch().clone(), each: each.clone() };
        if in_time {
            span.in_scope(|| report::batch_end(&context, &each, &source));
        } else {
            // Not on this thread: a handler that still runs may hold a resource that the log needs, such as standard
            // output.
            handlers.spawn_blocking(move || span.in_scope(|| report::batch_cut_off(&context, &each, &source)));
        }
        statuses
    }

    /// Starts the first lanes: few on Lambda, and all of them on a worker, which received the messages because it can
    /// start them.
    fn start(&self, context: &Arc<BatchContext>, span: &tracing::Span) -> pool::RunningLanes {
        let calls = match &self.work {
            Work::Each(_) => context.state.width(),
            Work::Chunks { size, .. } => context.state.width().div_ceil(size.get()),
        };
        let limit = calls.min(self.options.concurrency);
        let at_first = match &context.lease_holder {
            Some(_) => limit,
            None => context.handlers.metrics().num_workers(),
        };
        let (work, context, span) = (self.work.clone(), context.clone(), span.clone());
        let handlers = context.handlers.clone();
        Pool::start(limit, at_first, handlers, move |slot| {
            let (work, context) = (work.clone(), context.clone());
            let lane = async move {
                match work {
                    Work::Each(service) => lane::run(context, slot, service).await,
                    Work::Chunks { size, service } => chunk::run(context, slot, size, service).await,
                }
            };
            lane.instrument(span.clone())
        })
    }

    /// Returns the time at which the batch ends, even if handlers still run. The margin before the deadline is at most
    /// half of the remaining time. Returns `None` when the clock cannot represent that time.
    fn end_of_batch(&self, remaining: Duration) -> Option<Instant> {
        let margin = self.options.deadline_margin.min(remaining / 2);
        Instant::now().checked_add(remaining - margin)
    }
}
