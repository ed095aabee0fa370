//! A lane of a batch handler, which runs one chunk of records after another.

use std::convert::Infallible;
use std::future::poll_fn;
use std::num::NonZeroUsize;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use tokio::task::JoinSet;
use tower::util::BoxCloneService;
use tower::{Service, ServiceExt};

use super::body_source::{BodySource, Wanted, WithBody};
use super::cancel::{Cancel, Wait};
use super::context::BatchContext;
use super::guard::{Panicked, catch, guard};
use super::lease_holder::LeaseHolder;
use super::pool::LaneSlot;
use super::service::{RecordResult, ServiceTemplate};
use super::verdict::{Run, Verdict};
use crate::record::Record;

/// The service that runs extractors and handler on a chunk.
pub(crate) type ChunkService = BoxCloneService<Chunk, (), Infallible>;

/// Runs chunks of up to `size` records until no record is left for this lane.
pub(super) async fn run(
    context: Arc<BatchContext>,
    slot: LaneSlot,
    size: NonZeroUsize,
    service: ServiceTemplate<ChunkService>,
) {
    // Not where the lane is spawned: there the reference counts of all lanes would be adjacent in memory.
    let batch = context.state.batch().apart();
    loop {
        let next = || context.next().map(|index| (index, Record::new(batch.clone(), index)));
        let records: Vec<_> = std::iter::from_fn(next).take(size.get()).collect();
        if records.is_empty() {
            return;
        }
        let mut taken = TakenRecords::begin(&context, records);
        let settled = async {
            while let Some(chunk) = taken.next_chunk().await {
                run_chunk(&context, &service, &chunk).await;
            }
        };
        slot.wait(pin!(settled)).await;
        tokio::task::yield_now().await;
    }
}

async fn run_chunk(context: &BatchContext, service: &ServiceTemplate<ChunkService>, chunk: &Chunk) {
    let lost = context.lease_holder.as_deref().map(|holder| chunk.lost(holder));
    let called = async { context.cancel_at(lost).limit(pin!(call_chunk(service, chunk.clone()))).await };
    let end = guard(pin!(Some(called))).await;
    chunk.end(end);
    chunk.all_settled().await;
}

async fn call_chunk(service: &ServiceTemplate<ChunkService>, chunk: Chunk) {
    let mut service = service.copy();
    let called = async { service.ready().await?.call(chunk).await };
    let Ok(()) = called.await;
}

/// The records' indices in the batch and their runs, by position in the chunk. An entry is taken when its record is
/// settled.
type UnsettledRuns = Mutex<Vec<Option<(usize, Run)>>>;

/// The records of one call of a batch handler. Each record is settled as soon as its result is known. A rejected record
/// does not wait for a handler that may never return.
#[derive(Clone)]
pub(crate) struct Chunk {
    context: Arc<BatchContext>,
    runs: Arc<UnsettledRuns>,
    /// Tasks that call the queue before they settle their record. The code that reports a result does not wait for
    /// them.
    settling: Arc<Mutex<JoinSet<()>>>,
    /// Taken by the call of the handler.
    records: Arc<Mutex<Vec<WithBody>>>,
}

impl Chunk {
    /// Creates a chunk of started records, each with its index in the batch.
    fn of(context: &Arc<BatchContext>, begun: Vec<(usize, Run, WithBody)>) -> Self {
        let (runs, records) = begun.into_iter().map(|(index, run, record)| (Some((index, run)), record)).unzip();
        let (runs, records) = (Arc::new(Mutex::new(runs)), Arc::new(Mutex::new(records)));
        Self { context: context.clone(), runs, settling: Arc::default(), records }
    }

    /// Takes the records for the extractors, by position. The caller becomes their only owner, because their bodies may
    /// be large.
    pub(crate) fn take_records(&self) -> Vec<WithBody> {
        let records = std::mem::take(&mut *lock(&self.records));
        records.into_iter().map(|record| record.and_then(|record| record.check().map(|()| record))).collect()
    }

    /// Completes when the leases of all unsettled records are lost. While one lease is held, the call goes on.
    fn lost<'a>(&self, holder: &'a dyn LeaseHolder) -> Wait<'a, Cancel> {
        let runs = self.runs.clone();
        let indices: Vec<_> = lock(&runs).iter().flatten().map(|(index, _)| *index).collect();
        all_lost(holder, indices, move |position| lock(&runs)[position].is_some())
    }

    /// Settles the record at `position`. The user's code in `result` may panic, which fails this record only.
    pub(crate) fn settle(&self, position: usize, result: impl FnOnce() -> RecordResult) {
        let Some((index, run)) = self.take(position) else { return };
        let verdict = run.span().in_scope(|| catch(|| run.report(result())));
        let verdict = verdict.unwrap_or_else(|panicked| run.panicked(&panicked));
        self.settle_as(index, run, verdict);
    }

    fn settle_as(&self, index: usize, run: Run, verdict: Verdict) {
        let context = self.context.clone();
        if let Some((settlement, status)) = context.settle_at_once(&run, &verdict) {
            return context.finish(index, run, &verdict, settlement, status);
        }
        let handlers = context.handlers.clone();
        let settled = async move {
            let (settlement, status) = context.settle(index, &run, &verdict).await;
            context.finish(index, run, &verdict, settlement, status);
        };
        lock(&self.settling).spawn_on(settled, &handlers);
    }

    /// Settles the remaining records.
    fn end(&self, end: Result<Result<(), Cancel>, Panicked>) {
        let records = lock(&self.runs).len();
        for position in 0..records {
            match &end {
                Ok(Ok(())) => {
                    self.settle(position, || Err("the batch handler returned no answer for this record".into()));
                }
                Ok(Err(cancel)) => self.settle(position, || Err((*cancel).into())),
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
        // No user code runs under this lock.
        lock(&self.runs).get_mut(position)?.take()
    }
}

/// Completes when the leases of all open records are lost. `is_open` takes a position.
fn all_lost<'a>(
    holder: &'a dyn LeaseHolder,
    indices: Vec<usize>,
    is_open: impl Fn(usize) -> bool + Send + 'a,
) -> Wait<'a, Cancel> {
    let mut ours: Vec<_> = indices.into_iter().map(|index| holder.lease_lost(index)).enumerate().collect();
    let mut last_lost = None;
    // Polled right after the handler, which may have settled some records in the same turn.
    Box::pin(poll_fn(move |context| {
        ours.retain_mut(|(position, lost)| match lost.as_mut().poll(context) {
            Poll::Ready(cancel) => {
                last_lost = Some(cancel);
                false
            }
            Poll::Pending => is_open(*position),
        });
        match last_lost {
            Some(cancel) if ours.is_empty() => Poll::Ready(cancel),
            Some(_) | None => Poll::Pending,
        }
    }))
}

/// The records that a lane has taken for a call. They become one chunk, or several if memory cannot hold all of their
/// bodies at once. Each has started, so that its lease is extended while it waits.
struct TakenRecords {
    context: Arc<BatchContext>,
    /// In batch order, each with its index in the batch.
    runs: Vec<(usize, Run)>,
    wanted: Vec<Wanted>,
}

impl TakenRecords {
    fn begin(context: &Arc<BatchContext>, records: Vec<(usize, Record)>) -> Self {
        let begin = |(index, record): (usize, Record)| {
            ((index, Run::begin(record.clone(), &context.options)), Wanted { record, bytes: None })
        };
        let (runs, wanted) = records.into_iter().map(begin).unzip();
        Self { context: context.clone(), runs, wanted }
    }

    /// Returns the records for the next call, or `None` if none is left.
    async fn next_chunk(&mut self) -> Option<Chunk> {
        let context = self.context.clone();
        let Some(source) = &context.options.body_source else { return self.all() };
        while !self.runs.is_empty() {
            let fetched = self.fetch(&**source).await;
            let here = self.take(fetched).await;
            if !here.is_empty() {
                return Some(Chunk::of(&context, here));
            }
        }
        None
    }

    fn all(&mut self) -> Option<Chunk> {
        let begun = self.runs.drain(..).zip(self.wanted.drain(..));
        let begun: Vec<_> = begun.map(|((index, run), wanted)| (index, run, Ok(wanted.record))).collect();
        (!begun.is_empty()).then(|| Chunk::of(&self.context, begun))
    }

    /// Returns the body or the error of each waiting record. If the time ends during the wait, all of them fail.
    async fn fetch(&mut self, source: &dyn BodySource) -> Vec<Option<WithBody>> {
        let indices: Vec<_> = self.runs.iter().map(|(index, _)| *index).collect();
        let lost = self.context.lease_holder.as_deref().map(|holder| all_lost(holder, indices, |_| true));
        let fetched = async {
            let mut fetch = source.fetch_some(&mut self.wanted);
            self.context.cancel_at(lost).limit(Pin::new(&mut fetch)).await
        };
        let fetched = guard(pin!(Some(fetched))).await;
        match fetched {
            Ok(Ok(fetched)) => fetched,
            Ok(Err(cancel)) => self.runs.iter().map(|_| Some(Err(cancel.into()))).collect(),
            Err(panicked) => self.runs.iter().map(|_| Some(Err(panicked.to_string().into()))).collect(),
        }
    }

    /// Takes the records whose fetch has ended.
    async fn take(&mut self, fetched: Vec<Option<WithBody>>) -> Vec<(usize, Run, WithBody)> {
        let mut here = Vec::new();
        let waiting = std::mem::take(&mut self.runs).into_iter().zip(std::mem::take(&mut self.wanted));
        for (((index, run), wanted), fetched) in waiting.zip(fetched) {
            let Some(record) = fetched else {
                self.runs.push((index, run));
                self.wanted.push(wanted);
                continue;
            };
            // Another consumer may have received the record during the wait.
            let lost = self.lost(index).await;
            here.push((index, run, lost.map_or(record, |cancel| Err(cancel.into()))));
        }
        here
    }

    async fn lost(&self, index: usize) -> Option<Cancel> {
        let mut lost = self.context.lease_holder.as_deref()?.lease_lost(index);
        poll_fn(|context| match lost.as_mut().poll(context) {
            Poll::Ready(cancel) => Poll::Ready(Some(cancel)),
            Poll::Pending => Poll::Ready(None),
        })
        .await
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
