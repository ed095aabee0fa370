//! Rules for event source mappings.

use redrive_local::template::{MappingResource, Setting, Template};

use super::finding::Findings;
use super::function_of;

const REPORT: &str = "ReportBatchItemFailures";

/// Without this setting Lambda takes every answer of the function for success.
pub(super) fn report_batch_item_failures(template: &Template, findings: &mut Findings<'_>) {
    for mapping in &template.mappings {
        let Some(setting) = &mapping.response_types else {
            lost(findings, mapping, mapping.place);
            continue;
        };
        let Some(types) = setting.known() else { continue };
        // An unknown value may be the setting.
        if !types.iter().any(|kind| kind.known().is_none_or(|kind| kind == REPORT)) {
            lost(findings, mapping, setting.place);
        }
    }
}

fn lost(findings: &mut Findings<'_>, mapping: &MappingResource, place: redrive_local::template::Place) {
    findings.error(
        &mapping.id,
        place,
        "Lambda ignores the function's report of failed records, and deletes them with the rest",
        format!("set `FunctionResponseTypes: [{REPORT}]`"),
    );
}

/// `Ref` of a queue is its URL, which is easily confused with the ARN.
pub(super) fn event_source_arn(template: &Template, findings: &mut Findings<'_>) {
    for mapping in &template.mappings {
        if let Some(source) = mapping.source.known()
            && !source.starts_with("arn:")
        {
            findings.error(
                &mapping.id,
                mapping.source.place,
                "AWS refuses the mapping: it does not name its queue by ARN",
                "write `!GetAtt TheQueue.Arn`; `!Ref TheQueue` is the queue's URL",
            );
        }
    }
}

pub(super) fn batch_size(template: &Template, findings: &mut Findings<'_>) {
    for mapping in &template.mappings {
        let Some(Setting { place, value: Ok(size) }) = mapping.batch_size else { continue };
        let (most, kind) = if is_fifo(mapping) { (10, "a FIFO queue") } else { (10_000, "a queue") };
        if !(1..=most).contains(&size) {
            findings.error(
                &mapping.id,
                place,
                format!("AWS refuses the mapping: a batch of {kind} has 1 to {most} records, not {size}"),
                format!("set `BatchSize` to {most} or less"),
            );
        } else if size > 10 && mapping.window_s() == Some(0) {
            findings.error(
                &mapping.id,
                place,
                format!("AWS refuses the mapping: a batch of up to {size} records needs a batching window"),
                "set `MaximumBatchingWindowInSeconds` to at least 1, or `BatchSize` to 10 or less",
            );
        }
    }
}

pub(super) fn batching_window(template: &Template, findings: &mut Findings<'_>) {
    for mapping in &template.mappings {
        let Some(Setting { place, value: Ok(window_s) }) = mapping.window_s else { continue };
        if !(0..=300).contains(&window_s) {
            findings.error(
                &mapping.id,
                place,
                format!("AWS refuses the mapping: a batching window has 0 to 300 seconds, not {window_s}"),
                "set `MaximumBatchingWindowInSeconds` to 300 or less",
            );
        } else if window_s > 0 && is_fifo(mapping) {
            findings.error(
                &mapping.id,
                place,
                "AWS refuses the mapping: FIFO queues have no batching window",
                "remove `MaximumBatchingWindowInSeconds`",
            );
        }
    }
}

pub(super) fn maximum_concurrency(template: &Template, findings: &mut Findings<'_>) {
    for mapping in &template.mappings {
        let Some(Setting { place, value: Ok(most) }) = mapping.maximum_concurrency else { continue };
        if !(2..=1000).contains(&most) {
            findings.error(
                &mapping.id,
                place,
                format!("AWS refuses the mapping: `MaximumConcurrency` is 2 to 1000, not {most}"),
                "set it to 2 or more; for one invocation at a time, use a FIFO queue with a single message group",
            );
            continue;
        }
        let reserved = function_of(template, mapping).and_then(|function| function.reserved_concurrency.as_ref());
        if let Some(&reserved) = reserved.and_then(Setting::known)
            && reserved < most
        {
            findings.warning(
                &mapping.id,
                place,
                format!(
                    "the mapping invokes up to {most} at a time, but the function's reserved concurrency is {reserved}: Lambda \
                     throttles the rest, and each throttled batch may cost each of its records a receive"
                ),
                format!("set `MaximumConcurrency` to {reserved} or less, or reserve more"),
            );
        }
    }
}

pub(super) fn concurrency_bound(template: &Template, findings: &mut Findings<'_>) {
    for mapping in &template.mappings {
        let Some(function) = function_of(template, mapping) else { continue };
        let is_bound =
            mapping.maximum_concurrency.is_some() || mapping.is_provisioned || function.reserved_concurrency.is_some();
        if !is_bound {
            findings.warning(
                &mapping.id,
                mapping.place,
                "the number of concurrent batches is unlimited: a backlog can take all of the account's concurrency, and \
                 overload the systems behind the function",
                "set `ScalingConfig: {MaximumConcurrency: 10}`, or as many as they can handle; at least 2",
            );
        }
    }
}

/// A queue is FIFO if and only if its name ends in `.fifo`.
fn is_fifo(mapping: &MappingResource) -> bool {
    mapping.source.known().is_some_and(|arn| arn.ends_with(".fifo"))
}
