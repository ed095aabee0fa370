//! A lane, which runs one record after another.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::Instrument;

use super::cancel::CancelAt;
use super::context::BatchContext;
use super::guard::guard;
use super::pool::LaneSlot;
use super::service::{LaneService, RecordService, ServiceTemplate};
use super::verdict::{Run, Verdict};
use crate::record::Record;

/// The time for which a lane runs before it yields to other tasks of its thread. It is measured by tokio's clock, so
/// that a run on a paused clock can be repeated.
const TURN: Duration = Duration::from_micros(100);

/// Runs records until none is left for this lane.
pub(super) async fn run(context: Arc<BatchContext>, slot: LaneSlot, service: ServiceTemplate<RecordService>) {
    // Not where the lane is spawned: there the reference counts of all lanes would be adjacent in memory.
    let batch = context.state.batch().apart();
    let mut service = LaneService::new(service);
    let mut turn = Instant::now();
    while let Some(index) = context.next() {
        let run = Run::begin(Record::new(batch.clone(), index), &context.options);
        let settled = async {
            let called = call(&mut service, &run, &context, context.cancel(index));
            let verdict = guard(pin!(Some(called.instrument(run.span().clone())))).await;
            let verdict = verdict.unwrap_or_else(|panicked| run.panicked(&panicked));
            let settlement = context.settle(index, &run, &verdict).await;
            (verdict, settlement)
        };
        let (verdict, (settlement, status)) = slot.wait(pin!(settled)).await;
        context.finish(index, run, &verdict, settlement, status);
        if turn.elapsed() > TURN {
            tokio::task::yield_now().await;
            turn = Instant::now();
        }
    }
}

/// Runs a record through layers, extractors, handler and log. All user code that can panic is in here. That includes an
/// error's `Display` and `Drop`.
async fn call(service: &mut LaneService, run: &Run, context: &BatchContext, cancel: CancelAt<'_>) -> Verdict {
    let called = pin!(async {
        match &context.options.body_source {
            Some(source) => service.call(source.fetch(run.record()).await?).await,
            None => service.call(run.record().clone()).await,
        }
    });
    let result = match run.record().check() {
        Ok(()) => cancel.limit(called).await,
        Err(error) => Ok(Err(error)),
    };
    run.report(result.unwrap_or_else(|cancel| Err(cancel.into())))
}
