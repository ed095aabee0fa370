//! Rules for missing alarms.

use redrive_local::template::{QueueResource, Template};

use super::consumed_queues;
use super::finding::Findings;

pub(super) fn dead_letter_alarm(template: &Template, findings: &mut Findings<'_>) {
    let targets = template.queues.iter().filter_map(|queue| queue.redrive.as_ref()?.target.known());
    let mut arns: Vec<&String> = targets.collect();
    arns.sort();
    arns.dedup();
    for queue in arns.into_iter().filter_map(|arn| template.queue(arn)) {
        if !is_watched(template, queue, "ApproximateNumberOfMessagesVisible") {
            findings.warning(
                &queue.id,
                queue.place,
                "no alarm reports dead letters: they stay here until their retention ends",
                "add an `AWS::CloudWatch::Alarm` on `ApproximateNumberOfMessagesVisible` of this queue, above 0; \
                 `NumberOfMessagesSent` does not count them",
            );
        }
    }
}

/// A record leaves this metric at its third receive, so the alarm reports a backlog, but never poison.
pub(super) fn age_alarm(template: &Template, findings: &mut Findings<'_>) {
    for queue in consumed_queues(template) {
        if !is_watched(template, queue, "ApproximateAgeOfOldestMessage") {
            findings.warning(
                &queue.id,
                queue.place,
                "no alarm reports that the consumer has stopped or falls behind, until records are lost at the end of their \
                 retention",
                "add an `AWS::CloudWatch::Alarm` on `ApproximateAgeOfOldestMessage` of this queue; a record that always \
                 fails leaves that metric at its third receive, so the dead-letter queue needs its own alarm",
            );
        }
    }
}

fn is_watched(template: &Template, queue: &QueueResource, metric: &str) -> bool {
    template.watched.iter().any(|watched| watched.metric == metric && watched.queue == queue.name)
}
