//! The columns that both databases return, and numbers as both take them.

use std::time::Duration;

pub(crate) type PendingRow =
    (i64, String, Option<String>, Option<String>, String, String, String, Option<i64>, Option<String>, i64, i64);
pub(crate) type Status = (i64, i64, i64, Option<i64>);
pub(crate) type Parked = (i64, String, Option<String>, String, i64, Option<String>, i64);

/// A hundred years, which databases can still add to a date.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3_600);

pub(super) fn millis(time: Duration) -> i64 {
    i64::try_from(time.min(LONGEST).as_millis()).unwrap_or(i64::MAX)
}

pub(super) fn rows(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
