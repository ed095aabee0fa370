//! Rules for settings that SQS refuses.

use redrive_local::queue::NumberAttribute;
use redrive_local::template::{BrokenReference, QueueResource, Setting, Template};

use super::finding::Findings;

pub(super) fn queue_name(template: &Template, findings: &mut Findings<'_>) {
    for queue in &template.queues {
        let Some(Setting { place, value: Ok(name) }) = &queue.queue_name else { continue };
        let stem = name.strip_suffix(".fifo").unwrap_or(name);
        let fits = |character: char| character.is_ascii_alphanumeric() || matches!(character, '-' | '_');
        if stem.is_empty() || name.len() > 80 || !stem.chars().all(fits) {
            findings.error(
                &queue.id,
                *place,
                "AWS refuses the queue: a name has 1 to 80 letters, digits, `-` and `_`, and `.fifo` only at its end",
                "choose another `QueueName`, or leave it out",
            );
        } else if let Some(fix) = name_fix(queue, name) {
            findings.error(
                &queue.id,
                *place,
                "AWS refuses the queue: the name of a FIFO queue ends in `.fifo`, and no other name does",
                fix,
            );
        }
    }
}

fn name_fix(queue: &QueueResource, name: &str) -> Option<String> {
    // An unknown `FifoQueue` may fit any name.
    let is_known = queue.fifo_queue.as_ref().is_none_or(|setting| setting.known().is_some());
    match (queue.is_fifo(), name.ends_with(".fifo")) {
        (true, false) => Some(format!("set `QueueName: {name}.fifo`")),
        (false, true) if is_known => Some("set `FifoQueue: true`, or remove `.fifo` from the name".to_owned()),
        _ => None,
    }
}

/// SQS accepts the attribute on FIFO queues only.
pub(super) fn fifo_queue_false(template: &Template, findings: &mut Findings<'_>) {
    for queue in &template.queues {
        if let Some(Setting { place, value: Ok(false) }) = &queue.fifo_queue {
            findings.error(
                &queue.id,
                *place,
                "AWS refuses the queue: `FifoQueue` is `true`, or is not set; `false` is an unknown attribute",
                "leave `FifoQueue` out for a standard queue",
            );
        }
    }
}

pub(super) fn attribute_range(template: &Template, findings: &mut Findings<'_>) {
    for queue in &template.queues {
        for attribute in NumberAttribute::ALL {
            let (name, unit, range) = (attribute.name(), attribute.unit(), attribute.range());
            let Some(Setting { place, value: Ok(value) }) = queue.numbers.get(name) else { continue };
            let (least, most) = (*range.start(), *range.end());
            if !range.contains(value) {
                findings.error(
                    &queue.id,
                    *place,
                    format!("AWS refuses the queue: `{name}` is {least} to {most} {unit}, not {value}"),
                    format!("set `{name}: {}`", (*value).clamp(least, most)),
                );
            }
        }
    }
}

/// Another rule reports a broken `deadLetterTargetArn` with more detail.
pub(super) fn unresolved_reference(template: &Template, findings: &mut Findings<'_>) {
    let targets: Vec<_> =
        template.queues.iter().filter_map(|queue| Some(queue.redrive.as_ref()?.target.place)).collect();
    for BrokenReference { resource, place, why } in
        template.broken.iter().filter(|broken| !targets.contains(&broken.place))
    {
        let fix = "correct the name, or declare what it names under the same condition";
        findings.error(resource, *place, format!("AWS refuses the template: {why}"), fix);
    }
}
