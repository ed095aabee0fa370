//! Rules for FIFO queues.

use redrive_local::template::{MappingResource, QueueResource, Setting, Template, Written};

use super::finding::Findings;
use super::permissions::allows;
use super::{PolicyResource, consumed, function_of};

/// A receive of a FIFO batch counts for each message in it, so a message that always fails takes the later ones along.
/// A function that dead-letters poison itself has permission to send to the dead-letter queue. Without that permission
/// only the RedrivePolicy acts.
pub(super) fn poison_head(template: &Template, findings: &mut Findings<'_>) {
    let mut told: Vec<&str> = Vec::new();
    for (mapping, queue) in consumed(template).filter(|(_, queue)| queue.is_fifo()) {
        let Some(redrive) = queue.redrive.as_ref().filter(|_| !told.contains(&queue.id.as_str())) else { continue };
        let is_sent_to = redrive.target.known().is_some_and(|target| {
            let mut policies = template.policies.iter();
            policies.any(|policy| policy_sends(policy, target, template.queue(target)).is_some())
        });
        if is_alone(mapping) || is_sent_to {
            continue;
        }
        told.push(&queue.id);
        let count = redrive.max_receive_count.as_ref();
        let receives = match count.and_then(Setting::known) {
            Some(count) => format!("`maxReceiveCount` of {count}"),
            None => "`maxReceiveCount`".to_owned(),
        };
        findings.warning(
            &queue.id,
            count.map_or(queue.place, |count| count.place),
            format!(
                "a record that always fails takes the later records of its group along: each receive counts for all of \
                 them, so they reach the {receives} too and become dead letters without a run"
            ),
            fix(template, mapping, queue),
        );
    }
}

fn fix(template: &Template, mapping: &MappingResource, queue: &QueueResource) -> String {
    let alone = format!("set `BatchSize: 1` on the mapping `{}`", mapping.id);
    if function_of(template, mapping).is_some_and(|function| function.kind.other().is_some()) {
        return alone;
    }
    let below = queue.redrive.as_ref().and_then(|redrive| redrive.max_receive_count.as_ref()?.known().copied());
    let below = below.filter(|count| *count > 1).map_or("n".to_owned(), |count| (count - 1).to_string());
    format!(
        "dead-letter the record from the function before the policy does: use `Effects` with `dead_letter_at({below})`, and \
         allow `sqs:SendMessage` on the dead-letter queue; or {alone}"
    )
}

/// Returns whether each record is received alone, without the records behind it.
fn is_alone(mapping: &MappingResource) -> bool {
    mapping.batch_size.as_ref().is_some_and(|size| size.known().is_none_or(|size| *size <= 1))
}

/// Lambda follows a message by its trace header, and stops a function at the 16th round through the same queue.
/// <https://docs.aws.amazon.com/lambda/latest/dg/invocation-recursion.html>
pub(super) fn recursive_loop(template: &Template, findings: &mut Findings<'_>) {
    let mut told: Vec<(&str, &str)> = Vec::new();
    for (mapping, queue) in consumed(template).filter(|(mapping, _)| mapping.is_enabled()) {
        let Some(function) = function_of(template, mapping) else { continue };
        // An unknown value may allow the loop.
        let is_allowed = function.recursive_loop.as_ref().is_some_and(|is| is.known().is_none_or(|is| is == "Allow"));
        if is_allowed || told.contains(&(&function.id, &queue.id)) {
            continue;
        }
        let of_variable = || {
            let is_queue = |value: &String| *value == queue.url || *value == queue.arn;
            let mut variables = function.environment.iter().filter(|(_, value)| value.known().is_some_and(is_queue));
            variables.next().map(|(name, value)| (value.place, format!("gets the queue in its variable `{name}`")))
        };
        let found = sending(template, &function.id, function.role.as_deref(), queue)
            .map(|written| (written.place, "may send to the queue".to_owned()));
        let Some((place, evidence)) = found.or_else(of_variable) else { continue };
        told.push((&function.id, &queue.id));
        findings.warning(
            &function.id,
            place,
            format!(
                "the function {evidence} that invokes it, `{}`: Lambda's recursive loop detection stops a message after \
                 16 rounds, which then is dead-lettered or expires without a run",
                queue.id
            ),
            "if the loop is intended and ends, set `RecursiveLoop: Allow` on the function; otherwise send to another \
             queue, or remove the permission or the variable",
        );
    }
}

/// Returns where a policy of the function or of its role allows sending to a queue.
fn sending<'t>(
    template: &'t Template,
    function: &str,
    role: Option<&str>,
    queue: &QueueResource,
) -> Option<&'t Written> {
    let is_holder = |id: &str| id == function || role == Some(id);
    let attached: Vec<&String> = {
        let holders = template.policies.iter().filter(|policy| is_holder(&policy.id));
        holders.flat_map(|policy| &policy.attaches).collect()
    };
    let applies = |policy: &&PolicyResource| {
        let is_attached = policy.attached_to.iter().any(|role| is_holder(role)) || attached.contains(&&policy.id);
        !policy.is_of_queue && (is_holder(&policy.id) || is_attached)
    };
    template.policies.iter().filter(applies).find_map(|policy| policy_sends(policy, &queue.arn, Some(queue)))
}

/// Returns where a policy allows sending to the queue with this ARN.
fn policy_sends<'t>(policy: &'t PolicyResource, arn: &str, queue: Option<&QueueResource>) -> Option<&'t Written> {
    let is_queue =
        |written: &&Written| queue.is_some_and(|queue| written.text == queue.name || written.text == queue.url);
    let mut statements = policy.statements.iter().filter(|statement| allows(statement, "SendMessage", arn));
    policy.sends_to.iter().find(is_queue).or_else(|| statements.next()?.actions.first())
}
