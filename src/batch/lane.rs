//! A lane takes one record, or chunk, after the other. There are as many lanes as may run at a time.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tower::{Service, ServiceExt};
use tracing::Instrument;

use super::Work;
use super::board::Board;
use super::guard::guard;
use super::report::{End, Run};
use crate::handler::{ChunkService, Options, RecordResult, RecordService};
use crate::outcome::{BoxError, Outcome};
use crate::per_lane::PerLane;
use crate::record::{Batch, Record};

pub(super) struct Lane {
    board: Arc<Board>,
    batch: PerLane<Batch>,
    options: Arc<Options>,
}

/// How long a lane goes on without giving way to the other tasks of its thread.
const TURN: Duration = Duration::from_micros(100);

impl Lane {
    /// Runs records until there are none left for it.
    pub(super) async fn run(board: Arc<Board>, options: Arc<Options>, work: Work) {
        // Not where the lane is spawned: the counts of all lanes would be side by side in memory there.
        let batch = board.ledger().batch().apart();
        let lane = Self { board, batch, options };
        match work {
            Work::Each(service) => lane.each(service).await,
            Work::Chunks { size, service } => lane.chunks(size, service).await,
        }
    }

    fn next(&self) -> Option<(usize, Record)> {
        let index = self.board.next()?;
        Some((index, Record::new(self.batch.clone(), index)))
    }

    async fn each(self, service: RecordService) {
        let mut service = Kept { pristine: service, used: None };
        let mut turn = Instant::now();
        while let Some((index, record)) = self.next() {
            let run = Run::begin(record, &self.options);
            let end = guard(one(&mut service, &run).instrument(run.span().clone())).await;
            self.board.finish(index, run.end(end));
            if turn.elapsed() > TURN {
                tokio::task::yield_now().await;
                turn = Instant::now();
            }
        }
    }

    async fn chunks(self, size: NonZeroUsize, mut service: ChunkService) {
        loop {
            let chunk = self.take(size);
            if chunk.is_empty() {
                return;
            }
            self.chunk(&mut service, chunk).await;
            tokio::task::yield_now().await;
        }
    }

    fn take(&self, size: NonZeroUsize) -> Vec<(usize, Record)> {
        std::iter::from_fn(|| self.next()).take(size.get()).collect()
    }

    async fn chunk(&self, service: &mut ChunkService, chunk: Vec<(usize, Record)>) {
        let (mut runs, mut records) = (Vec::with_capacity(chunk.len()), Vec::with_capacity(chunk.len()));
        for (index, record) in chunk {
            let run = Run::begin(record.clone(), &self.options);
            match record.check() {
                Ok(()) => {
                    runs.push((index, run));
                    records.push(record);
                }
                Err(error) => self.settle(index, run, Err(error)).await,
            }
        }
        if records.is_empty() {
            return;
        }
        match guard(call_chunk(service, records)).await {
            Ok(results) => {
                for ((index, run), result) in runs.into_iter().zip(results) {
                    self.settle(index, run, result).await;
                }
            }
            Err(panicked) => {
                for (index, run) in runs {
                    self.board.finish(index, run.panicked(&panicked));
                }
            }
        }
    }

    async fn settle(&self, index: usize, run: Run, result: RecordResult) {
        let end = guard(async { run.report(result) }.instrument(run.span().clone())).await;
        self.board.finish(index, run.end(end));
    }
}

/// A record's way through layers, extractors, handler and log. All that can panic is in here: the error too, when it is
/// shown and when it is dropped.
async fn one(service: &mut Kept, run: &Run) -> End {
    let result = match run.record().check() {
        Ok(()) => service.call(run.record().clone()).await,
        Err(error) => Err(error),
    };
    run.report(result)
}

async fn call_chunk(service: &mut ChunkService, records: Vec<Record>) -> Vec<RecordResult> {
    let called = async { service.ready().await?.call(records).await };
    match called.await {
        Ok(results) => results,
        Err(never) => match never {},
    }
}

/// A lane's own clone of the record service. It serves one record after the other, until a panic leaves it in pieces.
struct Kept {
    pristine: RecordService,
    used: Option<RecordService>,
}

impl Kept {
    async fn call(&mut self, record: Record) -> Result<Outcome, BoxError> {
        let mut service = self.used.take().unwrap_or_else(|| self.pristine.clone());
        let result = service.ready().await?.call(record).await;
        self.used = Some(service);
        result
    }
}
