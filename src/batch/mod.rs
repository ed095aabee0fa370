//! The way of a batch from split records to its answer. Knows no host.

mod board;
mod guard;
mod lane;
mod ledger;
mod plan;
mod report;
mod settle;
mod source;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use aws_lambda_events::sqs::SqsBatchResponse;
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tracing::Instrument;

pub(crate) use self::guard::{guard, note_places};

use self::board::Board;
use self::ledger::Ledger;
use self::source::Source;
use crate::error::{Error, Kind};
use crate::event::Event;
use crate::handler::{ChunkService, Options, RecordService};
use crate::record::Origin;

/// What is done with records, of whatever types the user's handler is.
#[derive(Clone)]
pub(crate) enum Work {
    /// One record a call.
    Each(RecordService),
    /// Up to so many records a call.
    Chunks { size: NonZeroUsize, service: ChunkService },
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
}

impl Engine {
    pub(crate) fn new(work: Work, options: Options) -> Self {
        Self { work, options: Arc::new(options) }
    }

    /// Runs a batch and answers for each of its records, before the time is over.
    pub(crate) async fn run(self, event: Event, invocation: Invocation) -> Result<SqsBatchResponse, Error> {
        let records = event.into_records()?;
        if records.is_empty() {
            return Ok(SqsBatchResponse::default());
        }
        let mut ledger = Ledger::new(records, invocation.origin);
        let source = Source::of(&mut ledger)?;
        let span = report::batch_span(&source, &ledger);
        let plan = source.plan(&mut ledger, self.options.fifo);
        let board = Arc::new(Board::new(ledger, plan));
        let cut = invocation.remaining.map(|remaining| cut_off(remaining, self.options.deadline_margin));

        let mut lanes = self.start(&board, source.fifo(), &invocation.handlers, &span);
        let in_time = finish_by(&mut lanes, cut).instrument(span.clone()).await;
        // From here on nothing changes the ledger, whatever still runs. What can be cancelled is, when `lanes` drops; a
        // handler that blocks its thread cannot, and goes on for nothing.
        let Some(ledger) = board.close() else {
            return Err(Kind::AnsweredBefore.into());
        };
        span.in_scope(|| report::batch_end(&ledger, in_time));
        settle::settle(&ledger, &self.options)
    }

    /// Starts as many lanes as records may run at a time.
    fn start(&self, board: &Arc<Board>, fifo: bool, handlers: &Handle, span: &tracing::Span) -> JoinSet<()> {
        let width = match &self.work {
            Work::Each(_) => board.width(),
            Work::Chunks { size, .. } => board.width().div_ceil(size.get()),
        };
        let mut lanes = JoinSet::new();
        for _ in 0..width.min(self.options.concurrency) {
            let lane = lane::Lane::new(board.clone(), self.options.clone(), fifo);
            lanes.spawn_on(lane.run(self.work.clone()).instrument(span.clone()), handlers);
        }
        lanes
    }
}

/// How long handlers may run: until the margin, which takes no more than half of the time that there is.
fn cut_off(remaining: Duration, margin: Duration) -> Duration {
    remaining - margin.min(remaining / 2)
}

/// Waits for the lanes, but no longer than that. Says whether all came to their end.
async fn finish_by(lanes: &mut JoinSet<()>, cut: Option<Duration>) -> bool {
    let all = async {
        while let Some(end) = lanes.join_next().await {
            if let Err(error) = end {
                // Handlers are guarded: this is a fault of ours, or the runtime shuts down. The lane's record has failed.
                tracing::error!(%error, "a lane broke; what it had not finished is reported as failed");
            }
        }
    };
    match cut {
        Some(cut) => tokio::time::timeout(cut, all).await.is_ok(),
        None => {
            all.await;
            true
        }
    }
}
