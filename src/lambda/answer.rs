//! Builds the answer to Lambda from the final statuses of a batch.

use std::collections::HashSet;

use aws_lambda_events::sqs::SqsBatchResponse;

use crate::engine::{Engine, Invocation, Options, Statuses};
use crate::error::{Error, ErrorKind};
use crate::handler::Consumer;
use crate::record::{Event, Records};

impl<K> Consumer<K> {
    /// Fails the invocation if any record of the batch failed. The default is off.
    ///
    /// Use this with an event source mapping without `ReportBatchItemFailures`. Such a mapping ignores the answer and
    /// deletes every record unless the invocation fails. A failed invocation retries the whole batch, including records
    /// that were done. A dead-lettered record is deleted at once, so that it is not retried.
    pub fn fail_batch_on_any_failure(self) -> Self {
        self.set(|options| options.fail_batch_on_any_failure = true)
    }

    /// Fails the invocation if every record of the batch failed, so that Lambda's `Errors` metric counts it. The
    /// records are retried in either case. The default is off.
    pub fn error_when_all_fail(self) -> Self {
        self.set(|options| options.error_when_all_fail = true)
    }
}

/// Runs the records of an event and returns the answer to Lambda.
///
/// # Errors
///
/// Returns an error if this is not an SQS event or if a failed record has no id. Also returns an error if an option
/// turns failures into one.
pub(crate) async fn answer(engine: Engine, event: Event, invocation: Invocation) -> Result<SqsBatchResponse, Error> {
    let records = event.into_records()?;
    let options = engine.options().clone();
    let may_fail_as_a_whole = options.fail_batch_on_any_failure || records.has_nameless();
    let invocation = Invocation { may_fail_as_a_whole, ..invocation };
    name_failures(&engine.run(Records::Event(records), invocation).await, &options)
}

/// Lists the ids of the records that must be retried, in batch order and without duplicates.
///
/// # Errors
///
/// Returns an error if a failed record has no id: Lambda would delete a record that the answer omits. An empty id in
/// the answer also fails the batch, but without a reason in the log. Also returns an error if an option turns failures
/// into one.
fn name_failures(statuses: &Statuses, options: &Options) -> Result<SqsBatchResponse, Error> {
    let (of, failed) = (statuses.len(), statuses.not_done());
    if !failed.is_empty() && (options.fail_batch_on_any_failure || (options.error_when_all_fail && failed.len() == of))
    {
        return Err(ErrorKind::BatchFailed { failed: failed.len(), of }.into());
    }
    let mut answer = SqsBatchResponse::default();
    let mut reported = HashSet::new();
    let mut nameless = Vec::new();
    for index in failed {
        match statuses.message_id(index) {
            Some(id) if reported.contains(&id) => {}
            Some(id) => {
                answer.add_failure(&*id);
                reported.insert(id);
            }
            None => nameless.push(index),
        }
    }
    match nameless.is_empty() {
        true => Ok(answer),
        false => Err(ErrorKind::Unreportable { positions: nameless, of }.into()),
    }
}
