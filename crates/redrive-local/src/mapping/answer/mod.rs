//! Interprets the function's answer for the messages of its batch.
//!
//! The rules follow AWS's page
//! (<https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html#services-sqs-batchfailurereporting>).
//! For cases that AWS does not document, the code follows recorded behaviour. Without a recording it keeps the
//! messages. Both cases are reported in a [`AnswerProblem`].

pub mod problem;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::time::Duration;

use crate::event::Record;
use serde_json::{Map, Value};

use self::problem::{AnswerProblem, Cause};

/// An invocation without an answer.
#[derive(Debug)]
pub enum FailedInvocation {
    /// The function raised an error. The text contains its type and message.
    Raised(String),
    TimedOut(Duration),
}

/// The decision on each message of a batch, as positions in the order of the batch.
#[derive(Debug)]
pub struct Verdict {
    pub deleted: Vec<usize>,
    /// Messages that stay in flight until the visibility timeout expires. Lambda does not shorten it.
    pub come_back: Vec<usize>,
    /// The problems to report to the user.
    pub problems: Vec<AnswerProblem>,
}

/// Decides on a batch by the result of its invocation. `reports_item_failures` says whether the mapping has
/// `ReportBatchItemFailures` on.
pub fn judge(batch: &[Record], reports_item_failures: bool, result: Result<&[u8], FailedInvocation>) -> Verdict {
    let answer = match result {
        Err(failed) => return whole_batch_failed(batch, Cause::Function(failed)),
        Ok(answer) => answer,
    };
    if !reports_item_failures {
        return verdict(batch, &HashSet::new(), ignored(batch, answer).into_iter().collect());
    }
    match read(batch, answer) {
        Err(cause) => whole_batch_failed(batch, cause),
        Ok(Reading { failed, mut problems }) => {
            problems.extend(broken_orders(batch, &failed));
            verdict(batch, &failed, problems)
        }
    }
}

fn whole_batch_failed(batch: &[Record], cause: Cause) -> Verdict {
    let problem = AnswerProblem::BatchFailed { messages: batch.len(), cause };
    Verdict { deleted: Vec::new(), come_back: (0..batch.len()).collect(), problems: vec![problem] }
}

/// Applies an identifier to every copy of its message.
fn verdict(batch: &[Record], failed: &HashSet<String>, problems: Vec<AnswerProblem>) -> Verdict {
    let (come_back, deleted) = (0..batch.len()).partition(|&position| failed.contains(batch[position].message_id()));
    Verdict { deleted, come_back, problems }
}

/// Without the setting Lambda ignores the answer. Messages that the answer reports as failed are lost.
fn ignored(batch: &[Record], answer: &[u8]) -> Option<AnswerProblem> {
    let answer: Value = serde_json::from_slice(answer).ok()?;
    let items = answer.get(FAILURES)?.as_array().filter(|items| !items.is_empty())?;
    let named: HashSet<&str> = items.iter().filter_map(|item| item.get(IDENTIFIER)?.as_str()).collect();
    let named = |record: &&Record| named.contains(record.message_id());
    let lost = batch.iter().filter(named).map(|record| record.message_id().to_owned()).collect();
    Some(AnswerProblem::AnswerIgnored { items: items.len(), lost })
}

const FAILURES: &str = "batchItemFailures";
const IDENTIFIER: &str = "itemIdentifier";

/// The content of an answer that does not fail the whole batch.
#[derive(Default)]
struct Reading {
    /// The identifiers of failed messages. The batch contains every one of them.
    failed: HashSet<String>,
    problems: Vec<AnswerProblem>,
}

fn read(batch: &[Record], answer: &[u8]) -> Result<Reading, Cause> {
    if answer.trim_ascii().is_empty() {
        return Ok(Reading::default());
    }
    let answer = match serde_json::from_slice(answer) {
        Err(error) => return Err(Cause::NotJson(error.to_string())),
        Ok(Value::Null) => return Ok(Reading::default()),
        // AWS does not document this case. A function of a stream that returned an empty list had its batch taken as
        // done on AWS (LocalStack's recorded test `test_dynamodb_report_batch_item_success_scenarios`).
        Ok(Value::Array(items)) if items.is_empty() => {
            return Ok(Reading { problems: vec![AnswerProblem::EmptyList], ..Reading::default() });
        }
        Ok(Value::Object(answer)) => answer,
        // AWS does not document this case, and there is no recording.
        Ok(other) => return Err(Cause::NotAnObject { found: kind(&other) }),
    };
    let problem = unread_keys(&answer);
    let mut reading = match answer.get(FAILURES) {
        None | Some(Value::Null) => Reading::default(),
        Some(Value::Array(items)) => read_items(batch, items)?,
        Some(other) => return Err(Cause::NotAList { found: kind(other) }),
    };
    reading.problems.extend(problem);
    Ok(reading)
}

/// Reports keys that Lambda ignores. It reads only one key, so it ignores misspelled keys and those of HTTP responses.
fn unread_keys(answer: &Map<String, Value>) -> Option<AnswerProblem> {
    let keys: Vec<String> = answer.keys().filter(|&key| key != FAILURES).cloned().collect();
    if keys.is_empty() {
        return None;
    }
    let misplaced = answer.iter().filter(|&(key, _)| key != FAILURES).any(|(key, value)| reports_failures(key, value));
    Some(match answer.get(FAILURES).is_none_or(Value::is_null) && misplaced {
        true => AnswerProblem::FailuresUnread { keys },
        false => AnswerProblem::UnknownKeys { keys },
    })
}

/// Returns whether an ignored key reports failures: a misspelled list of failures, or items anywhere below the key.
fn reports_failures(key: &str, value: &Value) -> bool {
    let key = key.replace(['_', '-'], "");
    let is_list = value.as_array().is_some_and(|items| !items.is_empty());
    (key.eq_ignore_ascii_case(FAILURES) && is_list) || value.to_string().contains(IDENTIFIER)
}

fn read_items(batch: &[Record], items: &[Value]) -> Result<Reading, Cause> {
    let in_batch: HashSet<&str> = batch.iter().map(Record::message_id).collect();
    let mut reading = Reading::default();
    for (position, item) in items.iter().enumerate() {
        let Value::Object(item) = item else {
            return Err(Cause::ItemNotAnObject { position, found: kind(item) });
        };
        let identifier = identifier(position, item)?;
        if !in_batch.contains(identifier) {
            return Err(Cause::IdentifierUnknown { position, identifier: identifier.to_owned() });
        }
        if !reading.failed.insert(identifier.to_owned()) {
            reading.problems.push(AnswerProblem::Repeated { position, identifier: identifier.to_owned() });
        }
        if item.len() > 1 {
            let fields = item.keys().filter(|&key| key != IDENTIFIER).cloned().collect();
            reading.problems.push(AnswerProblem::ExtraFields { position, fields });
        }
    }
    Ok(reading)
}

fn identifier(position: usize, item: &Map<String, Value>) -> Result<&str, Cause> {
    match item.get(IDENTIFIER) {
        None => Err(Cause::IdentifierMissing { position, fields: item.keys().cloned().collect() }),
        Some(Value::Null) => Err(Cause::IdentifierNull { position }),
        Some(Value::String(identifier)) if identifier.is_empty() => Err(Cause::IdentifierEmpty { position }),
        Some(Value::String(identifier)) => Ok(identifier),
        Some(other) => Err(Cause::IdentifierNotText { position, found: kind(other) }),
    }
}

/// Reports messages that are deleted although an earlier message of their group failed. Such a message was processed
/// before an earlier one.
fn broken_orders(batch: &[Record], failed: &HashSet<String>) -> Vec<AnswerProblem> {
    let mut problems: Vec<(&str, String, Vec<String>)> = Vec::new();
    for record in batch {
        let Some(group) = record.group() else { continue };
        let has_failed = failed.contains(record.message_id());
        match problems.iter_mut().find(|(of, ..)| *of == group) {
            Some((.., later)) if !has_failed => later.push(record.message_id().to_owned()),
            None if has_failed => problems.push((group, record.message_id().to_owned(), Vec::new())),
            _ => {}
        }
    }
    let broken = problems.into_iter().filter(|(.., later)| !later.is_empty());
    broken.map(|(group, failed, later)| AnswerProblem::OrderBroken { group: group.to_owned(), failed, later }).collect()
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
