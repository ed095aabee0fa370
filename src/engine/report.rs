//! Logs the progress of a batch. Bodies are never logged.

use tracing::field::Empty;
use tracing::{Span, error, info_span, warn};

use super::context::BatchContext;
use super::fifo::BatchSource;
use super::finish::CUT_OFF;
use super::state::Status;

pub(super) fn batch_span(source: &BatchSource, records: usize) -> Span {
    info_span!("batch", queue = source.queue_arn(), records, failed = Empty)
}

/// Logs the end of a batch. Called in the batch's span when all lanes have ended.
pub(super) fn batch_end(context: &BatchContext, statuses: &[Status], source: &BatchSource) {
    let not_run = count(statuses, Status::NotRun);
    record_failed(statuses);
    if not_run > 0 {
        warn!(
            not_run,
            "records were not run and are retried, because an earlier record failed or has no message group"
        );
        warn_of_unrun(context, statuses, source);
    }
}

/// Logs a batch that reached its deadline. Called in the batch's span.
pub(super) fn batch_cut_off(context: &BatchContext, statuses: &[Status], source: &BatchSource) {
    let (cut_off, not_run) = (count(statuses, Status::CutOff), count(statuses, Status::NotRun));
    record_failed(statuses);
    warn!(cut_off, not_run, "the batch reached its deadline; records that were cut off or not run are retried");
    for index in (0..statuses.len()).filter(|&index| statuses[index] == Status::CutOff) {
        let record = context.state.record(index);
        let message_id = record.message_id();
        error!(message_id = message_id.as_deref(), error = CUT_OFF, "record failed");
    }
    warn_of_unrun(context, statuses, source);
}

fn record_failed(statuses: &[Status]) {
    let failed = statuses.iter().filter(|status| !status.is_done()).count();
    Span::current().record("failed", failed);
}

/// Warns once per queue about messages of FIFO groups that return repeatedly without a run. SQS counts each of their
/// receives and moves them to the dead-letter queue at maxReceiveCount, though they never ran. The engine cannot read
/// maxReceiveCount without another permission, so it uses `warn_from_receive_count`.
fn warn_of_unrun(context: &BatchContext, statuses: &[Status], source: &BatchSource) {
    let Some(queue) = source.queue_arn().filter(|_| source.is_fifo()) else { return };
    let not_run = (0..statuses.len()).filter(|&index| statuses[index] == Status::NotRun);
    let receive_count = not_run.filter_map(|index| context.state.record(index).receive_count()).max();
    let options = &context.options;
    let Some(receive_count) = receive_count.filter(|count| *count >= options.warn_from_receive_count) else { return };
    if options.warned_of_unrun.is_first(queue) {
        warn!(
            queue,
            receive_count,
            "messages of a FIFO group return without a run behind one that fails, and each receive counts; SQS moves them to \
             the dead-letter queue at maxReceiveCount; raise maxReceiveCount, or send the failing message to the dead-letter \
             queue with `.effects(..)`; logged once per queue"
        );
    }
}

fn count(statuses: &[Status], status: Status) -> usize {
    statuses.iter().filter(|&&each| each == status).count()
}
