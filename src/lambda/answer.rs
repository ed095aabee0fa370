//! The answer to Lambda for a batch, from how its records stand at the end.

use std::collections::HashSet;

use aws_lambda_events::sqs::SqsBatchResponse;

use crate::engine::{Engine, Invocation, Options, Statuses};
use crate::error::{Error, Kind};
use crate::handler::Consumer;
use crate::record::{Event, Records};

impl<K> Consumer<K> {
    /// Fails the invocation if any record of the batch failed. Off by default.
    ///
    /// This is for an event source mapping without `ReportBatchItemFailures`, which ignores the answer and deletes every
    /// record, unless the invocation fails. The whole batch then comes back, and what was done runs again. A record that was sent to
    /// the dead-letter queue is deleted at once, so that it does not come back.
    pub fn fail_batch_on_any_failure(self) -> Self {
        self.set(|options| options.fail_batch_on_any_failure = true)
    }

    /// Fails the invocation if every record of the batch failed, so that Lambda's `Errors` metric shows it. For the
    /// records it makes no difference: all of them come back. Off by default.
    pub fn error_when_all_fail(self) -> Self {
        self.set(|options| options.error_when_all_fail = true)
    }
}

/// Runs the records of an event, and answers for each of them.
///
/// # Errors
///
/// Where this is not an SQS event, where a record failed that cannot be named, and where the user asked for an error.
pub(crate) async fn answer(engine: Engine, event: Event, invocation: Invocation) -> Result<SqsBatchResponse, Error> {
    let records = event.into_records()?;
    let options = engine.options().clone();
    let may_fail_as_a_whole = options.fail_batch_on_any_failure || records.has_nameless();
    let invocation = Invocation { may_fail_as_a_whole, ..invocation };
    name_failures(&engine.run(Records::Event(records), invocation).await, &options)
}

/// Names the records that must come back, in the order of the batch, each once.
///
/// # Errors
///
/// Where one of them has no id: an answer that left it out would make Lambda delete it, and an empty id in the answer
/// fails the batch as well, only without saying why. And where the user asked for an error.
fn name_failures(statuses: &Statuses, options: &Options) -> Result<SqsBatchResponse, Error> {
    let (of, failed) = (statuses.len(), statuses.not_done());
    if !failed.is_empty() && (options.fail_batch_on_any_failure || (options.error_when_all_fail && failed.len() == of))
    {
        return Err(Kind::BatchFailed { failed: failed.len(), of }.into());
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
        false => Err(Kind::Unreportable { positions: nameless, of }.into()),
    }
}
