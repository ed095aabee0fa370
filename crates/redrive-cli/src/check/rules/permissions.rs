//! Rules for policies.

use redrive_local::template::{Policy, Statement, Template, Written};

use super::finding::Report;

/// All actions of SQS that IAM knows. The batch calls are allowed by the action of the single one.
const ACTIONS: [&str; 21] = [
    "AddPermission",
    "CancelMessageMoveTask",
    "ChangeMessageVisibility",
    "CreateQueue",
    "DeleteMessage",
    "DeleteQueue",
    "GetQueueAttributes",
    "GetQueueUrl",
    "ListDeadLetterSourceQueues",
    "ListMessageMoveTasks",
    "ListQueueTags",
    "ListQueues",
    "PurgeQueue",
    "ReceiveMessage",
    "RemovePermission",
    "SendMessage",
    "SetQueueAttributes",
    "StartMessageMoveTask",
    "TagQueue",
    "UntagQueue",
    "*",
];

pub(super) fn wide_policy(template: &Template, report: &mut Report<'_>) {
    for policy in &template.policies {
        for statement in &policy.statements {
            wide_actions(policy, statement, report);
            // The policy of a queue is about that queue, whatever it names.
            if !policy.is_of_queue {
                wide_resources(policy, statement, report);
            }
        }
        for named in &policy.managed {
            let name = named.text.rsplit('/').next().unwrap_or_default();
            if matches!(name, "AWSLambdaSQSQueueExecutionRole" | "AmazonSQSFullAccess") {
                report.warning(
                    &policy.id,
                    named.place,
                    format!("`{name}` allows what it allows on every queue of the account"),
                    "write a policy for the queues that are needed; `redrive iam` prints them",
                );
            }
        }
    }
}

fn wide_actions(policy: &Policy, statement: &Statement, report: &mut Report<'_>) {
    // All actions on a bucket are none on a queue.
    let is_for_queues = policy.is_of_queue
        || statement.resources.iter().any(|resource| resource.text == "*" || resource.text.contains(":sqs:"));
    for action in &statement.actions {
        if (action.text == "*" && is_for_queues) || action_of_sqs(action).is_some_and(|name| name == "*") {
            report.warning(
                &policy.id,
                action.place,
                format!("`{}` allows all there is, to delete and purge queues too", action.text),
                "name the actions that are needed; `redrive iam` prints those of a producer and of a consumer",
            );
        }
    }
}

fn wide_resources(policy: &Policy, statement: &Statement, report: &mut Report<'_>) {
    // There is no queue that listing could be bound to.
    let needs_queue =
        |action: &Written| action_of_sqs(action).is_some_and(|name| !name.eq_ignore_ascii_case("ListQueues"));
    if !statement.actions.iter().any(needs_queue) {
        return;
    }
    for resource in &statement.resources {
        let name = resource.text.rsplit(':').next().unwrap_or_default();
        if name == "*" {
            report.warning(
                &policy.id,
                resource.place,
                format!("`{}` allows it on every queue", resource.text),
                "name the queue: `!GetAtt TheQueue.Arn`",
            );
        }
    }
}

pub(super) fn public_queue(template: &Template, report: &mut Report<'_>) {
    for policy in template.policies.iter().filter(|policy| policy.is_of_queue) {
        for statement in policy.statements.iter().filter(|one| one.is_for_anyone && !one.has_condition) {
            report.warning(
                &policy.id,
                statement.place,
                "anyone with an AWS account may do this to the queue",
                "name who may as `Principal`, or add a `Condition` on `aws:SourceArn`",
            );
        }
    }
}

pub(super) fn unknown_action(template: &Template, report: &mut Report<'_>) {
    for policy in &template.policies {
        for action in policy.statements.iter().flat_map(|statement| &statement.actions) {
            let Some(name) = action_of_sqs(action) else { continue };
            if ACTIONS.iter().any(|known| matches(name, known)) {
                continue;
            }
            let fix = match single(name) {
                Some(single) => format!("write `sqs:{single}`, which allows the batch call too"),
                None => "correct its name, or remove it".to_owned(),
            };
            let problem = format!(
                "IAM knows no action `{}`: it allows nothing, and calls are denied unless another allows them",
                action.text
            );
            report.warning(&policy.id, action.place, problem, fix);
        }
    }
}

/// Whether a statement is meant to allow an action of SQS on a queue. What allows all actions, or all queues, tells nothing of
/// what is meant.
pub(super) fn allows(statement: &Statement, action: &str, arn: &str) -> bool {
    let is_named = |pattern: &Written| action_of_sqs(pattern).is_some_and(|name| name != "*" && matches(name, action));
    let is_queue = |resource: &Written| {
        resource.text.rsplit(':').next() != Some("*") && resource.text.contains(':') && matches(&resource.text, arn)
    };
    statement.actions.iter().any(is_named) && statement.resources.iter().any(is_queue)
}

/// What follows `sqs:`, however that is written.
fn action_of_sqs(action: &Written) -> Option<&str> {
    let (service, name) = action.text.split_once(':')?;
    service.eq_ignore_ascii_case("sqs").then_some(name)
}

/// The action that allows a batch call.
fn single(name: &str) -> Option<&'static str> {
    let single = name.get(..name.len().checked_sub("Batch".len())?)?;
    let is_batch = name.get(single.len()..).is_some_and(|end| end.eq_ignore_ascii_case("Batch"));
    ACTIONS.iter().find(|known| is_batch && known.eq_ignore_ascii_case(single)).copied()
}

/// Whether an action is one that a pattern of IAM's means: `*` for any characters, `?` for one, and case does not count.
fn matches(pattern: &str, action: &str) -> bool {
    let (pattern, action) = (pattern.to_ascii_lowercase().into_bytes(), action.to_ascii_lowercase().into_bytes());
    // Whether the pattern so far means the first so many characters of the action.
    let mut means = vec![false; action.len() + 1];
    means[0] = true;
    for wanted in pattern {
        let before = means.clone();
        for end in 0..means.len() {
            let follows = end > 0 && before[end - 1] && (wanted == b'?' || wanted == action[end - 1]);
            means[end] = if wanted == b'*' { before[end] || (end > 0 && means[end - 1]) } else { follows };
        }
    }
    means[action.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_what_iam_takes_them_for() {
        for (pattern, action) in [
            ("*", "SendMessage"),
            ("Send*", "SendMessage"),
            ("sendmessage", "SendMessage"),
            ("Send?essage", "SendMessage"),
            ("*Message*", "ChangeMessageVisibility"),
        ] {
            assert!(matches(pattern, action), "{pattern} {action}");
        }
        for (pattern, action) in [
            ("SendMessageBatch", "SendMessage"),
            ("Send", "SendMessage"),
            ("", "SendMessage"),
            ("Send?", "SendMessage"),
        ] {
            assert!(!matches(pattern, action), "{pattern} {action}");
        }
    }

    #[test]
    fn a_batch_call_is_allowed_by_the_action_of_the_single_one() {
        assert_eq!(single("SendMessageBatch"), Some("SendMessage"));
        assert_eq!(single("ChangeMessageVisibilityBatch"), Some("ChangeMessageVisibility"));
        assert_eq!((single("SendBatch"), single("é"), single("")), (None, None, None));
    }
}
