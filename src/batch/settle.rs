//! The answer to a batch, from how its records stand.

use std::collections::HashSet;

use aws_lambda_events::sqs::SqsBatchResponse;

use super::ledger::Standing;
use crate::error::{Error, Kind};
use crate::handler::Options;

/// Names the records that must come back, in the order of the batch, each once.
///
/// # Errors
///
/// Where one of them has no id: an answer that left it out would have Lambda delete it, and an empty id in the answer
/// fails the batch as well, only without saying why. And where the user asked for an error.
pub(super) fn settle(
    standings: &[Standing],
    id_of: impl Fn(usize) -> Option<String>,
    options: &Options,
) -> Result<SqsBatchResponse, Error> {
    let of = standings.len();
    let failed: Vec<usize> = (0..of).filter(|&index| standings[index] != Standing::Done).collect();
    if !failed.is_empty() && (options.fail_batch_on_any_failure || (options.error_when_all_fail && failed.len() == of))
    {
        return Err(Kind::BatchFailed { failed: failed.len(), of }.into());
    }
    let mut answer = SqsBatchResponse::default();
    let mut reported = HashSet::new();
    let mut nameless = Vec::new();
    for index in failed {
        match id_of(index) {
            Some(id) if reported.contains(&id) => {}
            Some(id) => {
                answer.add_failure(&id);
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
