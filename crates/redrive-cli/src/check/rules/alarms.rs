//! Rules for what has to be noticed.

use redrive_local::template::{Queue, Template};

use super::consumed_queues;
use super::finding::Report;

pub(super) fn dead_letter_alarm(template: &Template, report: &mut Report<'_>) {
    let targets = template.queues.iter().filter_map(|queue| queue.redrive.as_ref()?.target.known());
    let mut arns: Vec<&String> = targets.collect();
    arns.sort();
    arns.dedup();
    for queue in arns.into_iter().filter_map(|arn| template.queue(arn)) {
        if !is_watched(template, queue, "ApproximateNumberOfMessagesVisible") {
            report.warning(
                &queue.id,
                queue.place,
                "nobody is told that records have failed for good: they lie here until their retention ends",
                "add an `AWS::CloudWatch::Alarm` on `ApproximateNumberOfMessagesVisible` of this queue, above 0; not on \
                 `NumberOfMessagesSent`, which does not count them",
            );
        }
    }
}

/// A record that was received three times leaves this metric, so it tells of a backlog, never of poison.
pub(super) fn age_alarm(template: &Template, report: &mut Report<'_>) {
    for queue in consumed_queues(template) {
        if !is_watched(template, queue, "ApproximateAgeOfOldestMessage") {
            report.warning(
                &queue.id,
                queue.place,
                "nobody is told that the consumer has stopped or falls behind, until records are lost at the end of their \
                 retention",
                "add an `AWS::CloudWatch::Alarm` on `ApproximateAgeOfOldestMessage` of this queue; a record that always \
                 fails leaves that metric at its third receive, so the dead-letter queue needs one of its own",
            );
        }
    }
}

fn is_watched(template: &Template, queue: &Queue, metric: &str) -> bool {
    template.watched.iter().any(|watched| watched.metric == metric && watched.queue == queue.name)
}
