//! Checks numbers among the parameters of a call.

use std::ops::RangeInclusive;

use super::error::SqsError;

/// Returns the number if it is in the range of the parameter.
pub(super) fn bounded(name: &str, value: i64, range: RangeInclusive<u32>) -> Result<u32, SqsError> {
    u32::try_from(value).ok().filter(|number| range.contains(number)).ok_or_else(|| {
        let reason = format!("Must be between {} and {}, if provided.", range.start(), range.end());
        SqsError::parameter(name, value, &reason)
    })
}
