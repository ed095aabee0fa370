//! The answer to Lambda for a batch, from how its records stand at the end.

use std::collections::HashSet;

use aws_lambda_events::sqs::SqsBatchResponse;

use crate::batch::{Engine, Invocation, Status, Statuses};
use crate::error::{Error, Kind};
use crate::handler::Options;
use crate::record::{Event, Records};

/// Runs the records of an event, and answers for each of them.
///
/// # Errors
///
/// Where this is not an SQS event, where a record failed that cannot be named, and where the user asked for an error.
pub(crate) async fn answer(
    engine: Engine,
    event: Event,
    invocation: Invocation,
) -> Result<SqsBatchResponse, Error> {
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
    let of = statuses.each().len();
    let failed: Vec<usize> = (0..of).filter(|&index| !is_done(statuses.each()[index])).collect();
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

fn is_done(status: Status) -> bool {
    match status {
        Status::Done => true,
        Status::NotRun | Status::Running | Status::Failed | Status::CopyOf(_) => false,
    }
}
