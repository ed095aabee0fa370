//! A lane takes one record, or chunk, after the other. There are as many lanes as may run at a time.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tower::{Service, ServiceExt};
use tracing::Instrument;

use super::Work;
use super::board::Board;
use super::guard::guard;
use super::report::{End, Run, report};
use super::source::check;
use crate::handler::{ChunkService, Options, RecordResult, RecordService};
use crate::outcome::{BoxError, Outcome};
use crate::record::Record;

pub(super) struct Lane {
    board: Arc<Board>,
    options: Arc<Options>,
    fifo: bool,
}

/// How long a lane goes on without giving way to the other tasks of its thread.
const TURN: Duration = Duration::from_micros(100);

impl Lane {
    pub(super) fn new(board: Arc<Board>, options: Arc<Options>, fifo: bool) -> Self {
        Self { board, options, fifo }
    }

    pub(super) async fn run(self, work: Work) {
        match work {
            Work::Each(service) => self.each(service).await,
            Work::Chunks { size, service } => self.chunks(size, service).await,
        }
    }

    async fn each(self, service: RecordService) {
        let mut service = Kept { pristine: service, used: None };
        let mut turn = Instant::now();
        while let Some((index, record)) = self.board.next() {
            if !self.board.claim(index, &record) {
                continue;
            }
            let run = Run::begin(&record, &self.options);
            let span = run.span().clone();
            let end = guard(self.one(&mut service, record).instrument(span)).await;
            self.board.finish(index, run.end(end));
            if turn.elapsed() > TURN {
                tokio::task::yield_now().await;
                turn = Instant::now();
            }
        }
    }

    /// A record's way through check, layers, extractors, handler and log. All that can panic is in here: the error too,
    /// when it is shown and when it is dropped.
    async fn one(&self, service: &mut Kept, record: Record) -> End {
        let result = match check(&record, self.fifo) {
            Ok(()) => service.call(record).await,
            Err(problem) => Err(problem.into()),
        };
        report(result)
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
        let records = std::iter::from_fn(|| self.board.next());
        records.filter(|(index, record)| self.board.claim(*index, record)).take(size.get()).collect()
    }

    async fn chunk(&self, service: &mut ChunkService, chunk: Vec<(usize, Record)>) {
        let mut runs = Vec::with_capacity(chunk.len());
        let mut records = Vec::with_capacity(chunk.len());
        for (index, record) in chunk {
            let run = Run::begin(&record, &self.options);
            match check(&record, self.fifo) {
                Ok(()) => {
                    runs.push((index, run));
                    records.push(record);
                }
                Err(problem) => self.settle(index, run, Err(problem.into())).await,
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
        let span = run.span().clone();
        let end = guard(async { report(result) }.instrument(span)).await;
        self.board.finish(index, run.end(end));
    }
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
