//! What a batch says of itself in the log. Never a body.

use tracing::field::Empty;
use tracing::{Span, error, info_span, warn};

use super::context::BatchContext;
use super::fifo::BatchSource;
use super::finish::CUT_OFF;
use super::state::Status;

pub(super) fn batch_span(source: &BatchSource, records: usize) -> Span {
    info_span!("batch", queue = source.queue_arn(), records, failed = Empty)
}

/// Called in the batch's span, when all lanes have come to their end.
pub(super) fn batch_end(context: &BatchContext, statuses: &[Status], source: &BatchSource) {
    let not_run = count(statuses, Status::NotRun);
    record_failed(statuses);
    if not_run > 0 {
        warn!(not_run, "records come back unrun, because one before them failed or has no message group");
        warn_of_unrun(context, statuses, source);
    }
}

/// Called in the batch's span, when the deadline came first.
pub(super) fn batch_cut_off(context: &BatchContext, statuses: &[Status], source: &BatchSource) {
    let (cut_off, not_run) = (count(statuses, Status::CutOff), count(statuses, Status::NotRun));
    record_failed(statuses);
    warn!(cut_off, not_run, "the deadline came first; records that were cut off or never began come back");
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

/// Warns once a queue of messages of FIFO groups that come back unrun again and again. SQS counts each receive of them, and moves them to
/// the dead-letter queue at the queue's maxReceiveCount, though they never ran. The count is not known here without a permission, so the
/// warning comes at the count from which a record is warned about.
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
            "messages of a FIFO group come back unrun behind one that fails, and each receive counts: at the queue's \
             maxReceiveCount SQS moves them to the dead-letter queue, though they never ran; raise maxReceiveCount, or send the \
             message that fails to the dead-letter queue with `.effects(..)`. This is said once a queue"
        );
    }
}

fn count(statuses: &[Status], status: Status) -> usize {
    statuses.iter().filter(|&&each| each == status).count()
}
