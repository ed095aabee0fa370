//! A lane takes one record, or chunk, after the other.

use std::future::poll_fn;
use std::num::NonZeroUsize;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;
use tower::{Service, ServiceExt};
use tracing::Instrument;

use super::crew::{Crew, Place};
use super::cut::{Cut, CutOff};
use super::guard::{Panicked, catch, guard};
use super::keeper::{Keeper, Wait};
use super::report::{Run, Verdict};
use super::waiting::Waiting;
use super::{Pristine, WithBody, Work};
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
    let batch = place.crew.shared.board.ledger().batch().apart();
    let lane = Lane { place, batch };
    match work {
        Work::Each(service) => lane.each(service).await,
        Work::Chunks { size, service } => lane.chunks(size, service).await,
    }
}

impl Lane {
    fn next(&self) -> Option<(usize, Record)> {
        let index = self.place.crew.next()?;
        Some((index, Record::new(self.batch.clone(), index)))
    }

    async fn each(self, service: Pristine<RecordService>) {
        let crew = &self.place.crew;
        let mut service = Kept { pristine: service, used: None };
        let mut turn = Instant::now();
        while let Some((index, record)) = self.next() {
            let run = Run::begin(record, &crew.shared.options);
            let settled = async {
                let called = one(&mut service, &run, &crew.shared.options, crew.cut(index));
                let verdict = guard(pin!(Some(called.instrument(run.span().clone())))).await;
                crew.settle(index, &run, run.verdict(verdict)).await
            };
            let end = self.place.wait(pin!(settled)).await;
            crew.shared.board.finish(index, run.end(end));
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
            let mut waiting = Waiting::begin(crew, records);
            let settled = async {
                while let Some(chunk) = waiting.next_chunk().await {
                    run_chunk(crew, &service, &chunk).await;
                }
            };
            self.place.wait(pin!(settled)).await;
            tokio::task::yield_now().await;
        }
    }
}

async fn run_chunk(crew: &Crew, service: &Pristine<ChunkService>, chunk: &Chunk) {
    let lost = crew.shared.keeper.as_deref().map(|keeper| chunk.lost(keeper));
    let called = async { crew.cut_of_chunk(lost).limit(pin!(call_chunk(service, chunk.clone()))).await };
    let end = guard(pin!(Some(called))).await;
    chunk.end(end);
    chunk.all_settled().await;
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
    crew: Arc<Crew>,
    runs: Arc<Runs>,
    /// Records that something must happen for at the queue, before they are settled. Whoever says what becomes of a record
    /// does not wait for that.
    settling: Arc<Mutex<JoinSet<()>>>,
    /// Taken by the handler's call.
    records: Arc<Mutex<Vec<WithBody>>>,
}

impl Chunk {
    /// A chunk of records that have begun, each with its place in the batch.
    pub(super) fn of(crew: &Arc<Crew>, begun: Vec<(usize, Run, WithBody)>) -> Self {
        let (runs, records) = begun.into_iter().map(|(index, run, record)| (Some((index, run)), record)).unzip();
        let (runs, records) = (Arc::new(Mutex::new(runs)), Arc::new(Mutex::new(records)));
        Self { crew: crew.clone(), runs, settling: Arc::default(), records }
    }

    /// The records as extractors are to see them, by position. Whoever takes them has them alone: their bodies may be large.
    pub(crate) fn take_records(&self) -> Vec<WithBody> {
        let records = std::mem::take(&mut *lock(&self.records));
        records.into_iter().map(|record| record.and_then(|record| record.check().map(|()| record))).collect()
    }

    /// Ends when all of its records are lost that are not settled. Whoever has lost some may still have the others.
    fn lost<'a>(&self, keeper: &'a dyn Keeper) -> Wait<'a> {
        let runs = self.runs.clone();
        let indices: Vec<_> = lock(&runs).iter().flatten().map(|(index, _)| *index).collect();
        all_lost(keeper, indices, move |position| lock(&runs)[position].is_some())
    }

    /// Settles the record in that position. What says what becomes of it is a user's code, and costs its record only.
    pub(crate) fn settle(&self, position: usize, result: impl FnOnce() -> RecordResult) {
        let Some((index, run)) = self.take(position) else { return };
        let verdict = run.verdict(run.span().in_scope(|| catch(|| run.report(result()))));
        self.settle_as(index, run, verdict);
    }

    fn settle_as(&self, index: usize, run: Run, verdict: Verdict) {
        let crew = self.crew.clone();
        if !crew.owes(&verdict) {
            let end = verdict.end_without_effect(&run);
            return crew.shared.board.finish(index, run.end(end));
        }
        let handlers = crew.handlers.clone();
        let settled = async move {
            let end = crew.settle(index, &run, verdict).await;
            crew.shared.board.finish(index, run.end(end));
        };
        lock(&self.settling).spawn_on(settled, &handlers);
    }

    /// Settles all that is not settled yet.
    fn end(&self, end: Result<Result<(), CutOff>, Panicked>) {
        let records = lock(&self.runs).len();
        for position in 0..records {
            match &end {
                Ok(Ok(())) => {
                    self.settle(position, || Err("the batch handler's answer ends before this record".into()));
                }
                Ok(Err(cut_off)) => self.settle(position, || Err((*cut_off).into())),
                Err(panicked) => {
                    if let Some((index, run)) = self.take(position) {
                        let verdict = run.panicked(panicked);
                        self.settle_as(index, run, verdict);
                    }
                }
            }
        }
    }

    async fn all_settled(&self) {
        let settling = std::mem::take(&mut *lock(&self.settling));
        settling.join_all().await;
    }

    fn take(&self, position: usize) -> Option<(usize, Run)> {
        // No user's code runs under this lock.
        lock(&self.runs).get_mut(position)?.take()
    }
}

/// Ends when all of these records are lost that are still open, which is asked by position.
pub(super) fn all_lost<'a>(
    keeper: &'a dyn Keeper,
    indices: Vec<usize>,
    is_open: impl Fn(usize) -> bool + Send + 'a,
) -> Wait<'a> {
    let mut ours: Vec<_> = indices.into_iter().map(|index| keeper.lost(index)).enumerate().collect();
    let mut some_lost = false;
    // Polled right after the handler each time, which may have settled some just now.
    Box::pin(poll_fn(move |context| {
        ours.retain_mut(|(position, lost)| {
            let is_lost = lost.as_mut().poll(context).is_ready();
            some_lost |= is_lost;
            !is_lost && is_open(*position)
        });
        if some_lost && ours.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    }))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A record's way through layers, extractors, handler and log. All that can panic is in here: the error too, when it is
/// shown and when it is dropped.
async fn one(service: &mut Kept, run: &Run, options: &Options, cut: Cut<'_>) -> Verdict {
    let called = pin!(async { service.call(options.with_body(run.record()).await?).await });
    let result = match run.record().check() {
        Ok(()) => cut.limit(called).await,
        Err(error) => Ok(Err(error)),
    };
    run.report(result.unwrap_or_else(|cut_off| Err(cut_off.into())))
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
