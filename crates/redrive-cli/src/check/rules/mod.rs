//! Rules for queues and their consumers: a template in, findings out.
//!
//! A rule is a function. It reports nothing about unknown values, because users switch off a rule that guesses.

mod alarms;
mod fifo;
mod finding;
mod mappings;
mod permissions;
mod queues;
mod redrive;
mod timing;

use redrive_local::template::{FunctionResource, MappingResource, PolicyResource, QueueResource, Template};

pub(crate) use self::finding::{Finding, Severity};

use self::finding::Findings;

type Rule = fn(&Template, &mut Findings<'_>);

const RULES: [(&str, Rule); 25] = [
    ("report-batch-item-failures", mappings::report_batch_item_failures),
    ("event-source-arn", mappings::event_source_arn),
    ("batch-size", mappings::batch_size),
    ("batching-window", mappings::batching_window),
    ("maximum-concurrency", mappings::maximum_concurrency),
    ("concurrency-bound", mappings::concurrency_bound),
    ("visibility-below-timeout", timing::visibility_below_timeout),
    ("visibility-six-timeouts", timing::visibility_six_timeouts),
    ("dead-letter-queue", redrive::dead_letter_queue),
    ("max-receive-count", redrive::max_receive_count),
    ("dead-letter-target", redrive::dead_letter_target),
    ("own-dead-letter-queue", redrive::own_dead_letter_queue),
    ("dead-letter-type", redrive::dead_letter_type),
    ("dead-letter-retention", redrive::dead_letter_retention),
    ("fifo-poison-head", fifo::poison_head),
    ("recursive-loop", fifo::recursive_loop),
    ("queue-name", queues::queue_name),
    ("fifo-queue-false", queues::fifo_queue_false),
    ("attribute-range", queues::attribute_range),
    ("unresolved-reference", queues::unresolved_reference),
    ("dead-letter-alarm", alarms::dead_letter_alarm),
    ("age-alarm", alarms::age_alarm),
    ("wide-policy", permissions::wide_policy),
    ("public-queue", permissions::public_queue),
    ("unknown-action", permissions::unknown_action),
];

/// Returns all findings in the order of the text.
pub(crate) fn check(template: &Template) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, rule) in RULES {
        rule(template, &mut Findings::new(name, &mut findings));
    }
    findings.sort_by(|a, b| (a.place, a.severity, a.rule).cmp(&(b.place, b.severity, b.rule)));
    findings
}

/// Returns the mappings whose queue is in the template, with their queues.
fn consumed(template: &Template) -> impl Iterator<Item = (&MappingResource, &QueueResource)> {
    let queue = |mapping: &MappingResource| template.queue(mapping.source.known()?);
    template.mappings.iter().filter_map(move |mapping| Some((mapping, queue(mapping)?)))
}

/// Returns each consumed queue once.
fn consumed_queues(template: &Template) -> impl Iterator<Item = &QueueResource> {
    template.queues.iter().filter(|queue| consumed(template).any(|(_, consumed)| consumed.id == queue.id))
}

fn function_of<'t>(template: &'t Template, mapping: &MappingResource) -> Option<&'t FunctionResource> {
    template.function(mapping.function.known()?)
}
