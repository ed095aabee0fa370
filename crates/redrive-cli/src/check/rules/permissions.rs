//! Rules for policies.

use redrive_local::template::{PolicyResource, Statement, Template, Written};

use super::finding::Findings;

/// All SQS actions that IAM knows. The action of a single call also allows its batch call.
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

pub(super) fn wide_policy(template: &Template, findings: &mut Findings<'_>) {
    for policy in &template.policies {
        for statement in &policy.statements {
            wide_actions(policy, statement, findings);
            // A queue's policy applies to that queue, whatever resources it names.
            if !policy.is_of_queue {
                wide_resources(policy, statement, findings);
            }
        }
        for named in &policy.managed {
            let name = named.text.rsplit('/').next().unwrap_or_default();
            if matches!(name, "AWSLambdaSQSQueueExecutionRole" | "AmazonSQSFullAccess") {
                findings.warning(
                    &policy.id,
                    named.place,
                    format!("`{name}` allows its actions on every queue of the account"),
                    "write a policy for the queues that are needed; `redrive iam` prints one",
                );
            }
        }
    }
}

fn wide_actions(policy: &PolicyResource, statement: &Statement, findings: &mut Findings<'_>) {
    // All actions on a bucket include no action on a queue.
    let is_for_queues = policy.is_of_queue
        || statement.resources.iter().any(|resource| resource.text == "*" || resource.text.contains(":sqs:"));
    for action in &statement.actions {
        if (action.text == "*" && is_for_queues) || action_of_sqs(action).is_some_and(|name| name == "*") {
            findings.warning(
                &policy.id,
                action.place,
                format!("`{}` allows every action, even deleting and purging queues", action.text),
                "name the actions that are needed; `redrive iam` prints those of a producer and of a consumer",
            );
        }
    }
}

fn wide_resources(policy: &PolicyResource, statement: &Statement, findings: &mut Findings<'_>) {
    // Listing queues cannot be limited to a queue.
    let needs_queue =
        |action: &Written| action_of_sqs(action).is_some_and(|name| !name.eq_ignore_ascii_case("ListQueues"));
    if !statement.actions.iter().any(needs_queue) {
        return;
    }
    for resource in &statement.resources {
        let name = resource.text.rsplit(':').next().unwrap_or_default();
        if name == "*" {
            findings.warning(
                &policy.id,
                resource.place,
                format!("`{}` allows the actions on every queue", resource.text),
                "name the queue: `!GetAtt TheQueue.Arn`",
            );
        }
    }
}

pub(super) fn public_queue(template: &Template, findings: &mut Findings<'_>) {
    for policy in template.policies.iter().filter(|policy| policy.is_of_queue) {
        for statement in policy.statements.iter().filter(|one| one.is_for_anyone && !one.has_condition) {
            findings.warning(
                &policy.id,
                statement.place,
                "anyone with an AWS account may do this to the queue",
                "name the allowed accounts as `Principal`, or add a `Condition` on `aws:SourceArn`",
            );
        }
    }
}

pub(super) fn unknown_action(template: &Template, findings: &mut Findings<'_>) {
    for policy in &template.policies {
        for action in policy.statements.iter().flat_map(|statement| &statement.actions) {
            let Some(name) = action_of_sqs(action) else { continue };
            if ACTIONS.iter().any(|known| matches(name, known)) {
                continue;
            }
            let fix = match single(name) {
                Some(single) => format!("write `sqs:{single}`, which also allows the batch call"),
                None => "correct its name, or remove it".to_owned(),
            };
            let problem = format!(
                "IAM knows no action `{}`: it allows nothing, and calls are denied unless another action allows them",
                action.text
            );
            findings.warning(&policy.id, action.place, problem, fix);
        }
    }
}

/// Returns whether a statement is meant to allow an SQS action on a queue. A statement for all actions or all queues
/// shows no such intent.
pub(super) fn allows(statement: &Statement, action: &str, arn: &str) -> bool {
    let is_named = |pattern: &Written| action_of_sqs(pattern).is_some_and(|name| name != "*" && matches(name, action));
    let is_queue = |resource: &Written| {
        resource.text.rsplit(':').next() != Some("*") && resource.text.contains(':') && matches(&resource.text, arn)
    };
    statement.actions.iter().any(is_named) && statement.resources.iter().any(is_queue)
}

/// Returns the part after `sqs:`, in any case.
fn action_of_sqs(action: &Written) -> Option<&str> {
    let (service, name) = action.text.split_once(':')?;
    service.eq_ignore_ascii_case("sqs").then_some(name)
}

/// Returns the action that allows a batch call.
fn single(name: &str) -> Option<&'static str> {
    let single = name.get(..name.len().checked_sub("Batch".len())?)?;
    let is_batch = name.get(single.len()..).is_some_and(|end| end.eq_ignore_ascii_case("Batch"));
    ACTIONS.iter().find(|known| is_batch && known.eq_ignore_ascii_case(single)).copied()
}

/// Returns whether an IAM pattern matches an action: `*` for any characters, `?` for one, in any case.
fn matches(pattern: &str, action: &str) -> bool {
    let (pattern, action) = (pattern.to_ascii_lowercase().into_bytes(), action.to_ascii_lowercase().into_bytes());
    // Entry n tells whether the pattern so far matches the first n characters of the action.
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
    fn patterns_match_as_in_iam() {
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
    fn batch_call_is_allowed_by_the_action_of_the_single_call() {
        assert_eq!(single("SendMessageBatch"), Some("SendMessage"));
        assert_eq!(single("ChangeMessageVisibilityBatch"), Some("ChangeMessageVisibility"));
        assert_eq!((single("SendBatch"), single("é"), single("")), (None, None, None));
    }
}
