//! A lane takes one record, or chunk, after the other.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tower::{Service, ServiceExt};
use tracing::Instrument;

use super::board::Board;
use super::crew::Place;
use super::guard::{Panicked, catch, guard};
use super::report::{End, Run};
use super::{Pristine, Work};
use crate::handler::{ChunkService, Options, RecordResult, RecordService};
use crate::outcome::{BoxError, Outcome};
use crate::per_lane::PerLane;
use crate::record::{Batch, Record};

pub(super) struct Lane {
    place: Place,
    batch: PerLane<Batch>,
}

/// How long a lane goes on without giving way to the other tasks of its thread. By tokio's clock, so that a run on a paused
/// one can be repeated.
const TURN: Duration = Duration::from_micros(100);

/// Runs records until there are none left for this lane.
pub(super) async fn run(place: Place, work: Work) {
    // Not where the lane is spawned: the counts of all lanes would be side by side in memory there.
    let batch = place.crew.board.ledger().batch().apart();
    let lane = Lane { place, batch };
    match work {
        Work::Each(service) => lane.each(service).await,
        Work::Chunks { size, service } => lane.chunks(size, service).await,
    }
}

impl Lane {
    fn next(&self) -> Option<(usize, Record)> {
        let index = self.place.crew.board.next()?;
        Some((index, Record::new(self.batch.clone(), index)))
    }

    async fn each(self, service: Pristine<RecordService>) {
        let crew = &self.place.crew;
        let mut service = Kept { pristine: service, used: None };
        let mut turn = Instant::now();
        while let Some((index, record)) = self.next() {
            let run = Run::begin(record, &crew.options);
            let end = self.place.wait(guard(one(&mut service, &run).instrument(run.span().clone()))).await;
            crew.board.finish(index, run.end(end));
            if turn.elapsed() > TURN {
                tokio::task::yield_now().await;
                turn = Instant::now();
            }
        }
    }

    async fn chunks(self, size: NonZeroUsize, service: Pristine<ChunkService>) {
        let crew = &self.place.crew;
        loop {
            let records: Vec<_> = std::iter::from_fn(|| self.next()).take(size.get()).collect();
            if records.is_empty() {
                return;
            }
            let chunk = Chunk::begin(&crew.board, &crew.options, records);
            let end = self.place.wait(guard(call_chunk(&service, chunk.clone()))).await;
            chunk.end(end);
            tokio::task::yield_now().await;
        }
    }
}

async fn call_chunk(service: &Pristine<ChunkService>, chunk: Chunk) {
    let mut service = service.copy();
    let called = async { service.ready().await?.call(chunk).await };
    let Ok(()) = called.await;
}

/// The records' places in the batch and their runs, by position in the chunk; each is taken when it ends.
type Runs = Mutex<Vec<Option<(usize, Run)>>>;

/// Records that are handed to a batch handler together. Each is settled by itself, as soon as it is known what becomes of
/// it: a record that is rejected does not wait for a handler that may never end.
#[derive(Clone)]
pub(crate) struct Chunk {
    board: Arc<Board>,
    runs: Arc<Runs>,
    records: Arc<[Record]>,
}

impl Chunk {
    fn begin(board: &Arc<Board>, options: &Options, records: Vec<(usize, Record)>) -> Self {
        let runs = records.iter().map(|(index, record)| Some((*index, Run::begin(record.clone(), options))));
        let runs = Arc::new(Mutex::new(runs.collect()));
        Self { board: board.clone(), runs, records: records.into_iter().map(|(_, record)| record).collect() }
    }

    pub(crate) fn records(&self) -> &[Record] {
        &self.records
    }

    /// Settles the record in that position. What says what becomes of it is a user's code, and costs its record only.
    pub(crate) fn settle(&self, position: usize, result: impl FnOnce() -> RecordResult) {
        let Some((index, run)) = self.take(position) else { return };
        let end = run.span().in_scope(|| catch(|| run.report(result())));
        self.board.finish(index, run.end(end));
    }

    /// Settles all that is not settled yet.
    fn end(&self, end: Result<(), Panicked>) {
        for position in 0..self.records.len() {
            match &end {
                Ok(()) => self.settle(position, || Err("the batch handler's answer ends before this record".into())),
                Err(panicked) => {
                    if let Some((index, run)) = self.take(position) {
                        self.board.finish(index, run.panicked(panicked));
                    }
                }
            }
        }
    }

    fn take(&self, position: usize) -> Option<(usize, Run)> {
        // No user's code runs under this lock.
        self.runs.lock().unwrap_or_else(PoisonError::into_inner).get_mut(position)?.take()
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

/// A lane's own clone of the record service. It serves one record after the other, until a panic leaves it in pieces.
struct Kept {
    pristine: Pristine<RecordService>,
    used: Option<RecordService>,
}

impl Kept {
    async fn call(&mut self, record: Record) -> Result<Outcome, BoxError> {
        let mut service = self.used.take().unwrap_or_else(|| self.pristine.copy());
        let result = service.ready().await?.call(record).await;
        self.used = Some(service);
        result
    }
}
