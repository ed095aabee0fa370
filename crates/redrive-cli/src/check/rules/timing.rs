//! Rules for the visibility timeout.

use redrive_local::template::{Template, VISIBILITY_TIMEOUT};

use super::finding::Findings;
use super::{consumed, function_of};

pub(super) fn visibility_below_timeout(template: &Template, findings: &mut Findings<'_>) {
    for (mapping, queue) in consumed(template) {
        let Some((visibility_s, timeout_s)) = times(template, mapping, queue) else { continue };
        if visibility_s < timeout_s {
            findings.error(
                &queue.id,
                queue.place_of(VISIBILITY_TIMEOUT),
                format!(
                    "AWS refuses the mapping `{}`: records become visible again after {visibility_s} s, while its function \
                     may still process them for up to {timeout_s} s",
                    mapping.id
                ),
                format!("set `VisibilityTimeout: {}`, 6 x the function's timeout", enough(timeout_s, mapping.window_s())),
            );
        }
    }
}

/// Lambda retries a throttled batch until its visibility timeout ends. Each time that costs every record in it a
/// receive without a run.
pub(super) fn visibility_six_timeouts(template: &Template, findings: &mut Findings<'_>) {
    for (mapping, queue) in consumed(template) {
        let Some((visibility_s, timeout_s)) = times(template, mapping, queue) else { continue };
        let enough = enough(timeout_s, mapping.window_s());
        if (timeout_s..enough).contains(&visibility_s) {
            findings.warning(
                &queue.id,
                queue.place_of(VISIBILITY_TIMEOUT),
                format!(
                    "records of a throttled batch become visible again after {visibility_s} s and use up a receive; AWS \
                     recommends 6 x the function's timeout of {timeout_s} s, plus the batching window"
                ),
                format!("set `VisibilityTimeout: {enough}`"),
            );
        }
    }
}

fn times(template: &Template, mapping: &super::MappingResource, queue: &super::QueueResource) -> Option<(i64, i64)> {
    let timeout_s = *function_of(template, mapping)?.timeout_s.known()?;
    Some((queue.number(VISIBILITY_TIMEOUT)?, timeout_s))
}

/// An unknown window counts as zero.
fn enough(timeout_s: i64, window_s: Option<i64>) -> i64 {
    timeout_s.saturating_mul(6).saturating_add(window_s.unwrap_or(0))
}
