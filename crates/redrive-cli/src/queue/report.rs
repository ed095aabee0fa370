//! Formats the queues of a run.

use serde_json::{Value, json};

/// A queue with the wanted settings.
pub(super) struct Made {
    pub(super) name: String,
    pub(super) url: String,
    pub(super) arn: String,
    pub(super) is_new: bool,
}

/// Formats a line for each queue.
pub(super) fn text(queue: &Made, dlq: &Made) -> String {
    let (url, arn) = (queue.url.len().max(dlq.url.len()), queue.arn.len().max(dlq.arn.len()));
    let line = |what: &str, made: &Made| {
        let age = if made.is_new { "new" } else { "existing" };
        format!("{what:5}  {:url$}  {:arn$}  {age}\n", made.url, made.arn)
    };
    line("queue", queue) + &line("dlq", dlq)
}

pub(super) fn json(queue: &Made, dlq: &Made) -> String {
    let object = |made: &Made| -> Value {
        json!({ "name": made.name, "url": made.url, "arn": made.arn, "created": made.is_new })
    };
    format!("{:#}\n", json!({ "queue": object(queue), "dead_letter_queue": object(dlq) }))
}
