//! Rules for dead-letter queues.

use redrive_local::template::{ACCOUNT, QueueResource, RETENTION, Redrive, Setting, Template};

use super::consumed_queues;
use super::finding::Findings;

/// A consumed dead-letter queue ends the chain and needs no dead-letter queue of its own.
pub(super) fn dead_letter_queue(template: &Template, findings: &mut Findings<'_>) {
    let is_target =
        |queue: &QueueResource| redriven(template).any(|(_, redrive)| redrive.target.known() == Some(&queue.arn));
    for queue in consumed_queues(template).filter(|queue| queue.redrive.is_none() && !is_target(queue)) {
        findings.error(
            &queue.id,
            queue.place,
            "a record that always fails is retried until its retention ends, and then it is lost",
            "set a `RedrivePolicy` with a `deadLetterTargetArn` and `maxReceiveCount: 5`",
        );
    }
}

pub(super) fn max_receive_count(template: &Template, findings: &mut Findings<'_>) {
    for (queue, redrive) in redriven(template) {
        let Some(Setting { place, value: Ok(count) }) = redrive.max_receive_count else { continue };
        if !(1..=1000).contains(&count) {
            findings.error(
                &queue.id,
                place,
                format!("AWS refuses the queue: `maxReceiveCount` is 1 to 1000, not {count}"),
                "set `maxReceiveCount: 5`",
            );
        } else if count < 5 {
            findings.warning(
                &queue.id,
                place,
                format!(
                    "healthy records become dead letters: throttles and faulty deployments use up receives too, and there \
                     are only {count}"
                ),
                "set `maxReceiveCount: 5` or more",
            );
        }
    }
}

/// A literal target may be a queue of another stack. A reference to a resource must be valid.
pub(super) fn dead_letter_target(template: &Template, findings: &mut Findings<'_>) {
    for (queue, redrive) in redriven(template) {
        let place = redrive.target.place;
        let fix = "set `deadLetterTargetArn` to `!GetAtt TheDeadLetterQueue.Arn`";
        match &redrive.target.value {
            Err(why) if template.broken.iter().any(|broken| broken.place == place) => {
                findings.error(&queue.id, place, format!("its dead-letter queue does not exist: {why}"), fix);
            }
            Err(_) => {}
            Ok(arn) if !is_queue_arn(arn) => {
                findings.error(
                    &queue.id,
                    place,
                    "AWS refuses the queue: `deadLetterTargetArn` is not a queue's ARN",
                    fix,
                );
            }
            Ok(arn) if arn.contains(ACCOUNT) && template.queue(arn).is_none() => findings.warning(
                &queue.id,
                place,
                "no queue of this template has that ARN; if no such queue exists, AWS refuses this one",
                fix,
            ),
            Ok(_) => {}
        }
    }
}

fn is_queue_arn(arn: &str) -> bool {
    arn.starts_with("arn:") && arn.split(':').nth(2) == Some("sqs") && arn.split(':').count() == 6
}

pub(super) fn own_dead_letter_queue(template: &Template, findings: &mut Findings<'_>) {
    for (queue, redrive) in redriven(template) {
        if redrive.target.known() == Some(&queue.arn) {
            findings.error(
                &queue.id,
                redrive.target.place,
                "the queue is its own dead-letter queue: a record that always fails stays in it until it is lost",
                "create a second queue, and set `deadLetterTargetArn` to its ARN",
            );
        }
    }
}

pub(super) fn dead_letter_type(template: &Template, findings: &mut Findings<'_>) {
    for (queue, redrive) in redriven(template) {
        let Some(target) = redrive.target.known().filter(|target| is_queue_arn(target)) else { continue };
        let (own, other) = if queue.is_fifo() { ("FIFO", "standard") } else { ("standard", "FIFO") };
        if queue.is_fifo() != target.ends_with(".fifo") {
            findings.error(
                &queue.id,
                redrive.target.place,
                format!("AWS refuses the queue: this is a {own} queue, and its dead-letter queue is a {other} one"),
                format!("make the dead-letter queue a {own} queue too"),
            );
        }
    }
}

/// In a standard queue a dead letter keeps its age from the source. In a FIFO queue its age starts again, so an equal
/// retention suffices.
pub(super) fn dead_letter_retention(template: &Template, findings: &mut Findings<'_>) {
    for (queue, redrive) in redriven(template) {
        let Some(target) = redrive.target.known().and_then(|arn| template.queue(arn)) else { continue };
        let (Some(own_s), Some(kept_s)) = (queue.number(RETENTION), target.number(RETENTION)) else { continue };
        let is_short = if queue.is_fifo() { kept_s < own_s } else { kept_s <= own_s };
        if !is_short || target.id == queue.id {
            continue;
        }
        let problem = if queue.is_fifo() {
            format!("dead letters are deleted after {kept_s} s, sooner than the {own_s} s of their source queue")
        } else {
            format!(
                "dead letters keep their age from the source, and are deleted at {kept_s} s: one that failed late in the \
                 {own_s} s of its queue is deleted before anyone looks"
            )
        };
        let fix = "set `MessageRetentionPeriod: 1209600` on the dead-letter queue, which is the maximum, and less on its source";
        findings.warning(&target.id, target.place_of(RETENTION), problem, fix);
    }
}

fn redriven(template: &Template) -> impl Iterator<Item = (&QueueResource, &Redrive)> {
    template.queues.iter().filter_map(|queue| Some((queue, queue.redrive.as_ref()?)))
}
