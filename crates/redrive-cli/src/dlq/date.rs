//! Reads the time at the queue from the date of an answer.

use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_sqs::config::interceptors::BeforeDeserializationInterceptorContextRef;
use aws_sdk_sqs::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_sqs::error::BoxError;
use aws_sdk_sqs::primitives::{DateTime, DateTimeFormat};
use aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint;

/// Keeps the `Date` header of a call's answer.
#[derive(Clone, Debug, Default)]
pub(super) struct AnswerDate(Arc<Mutex<Option<u64>>>);

impl AnswerDate {
    /// Returns the date in milliseconds since 1970, in whole seconds, or `None` without the header.
    pub(super) fn millis(&self) -> Option<u64> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[dyn_dispatch_hint]
impl Intercept for AnswerDate {
    fn name(&self) -> &'static str {
        "AnswerDate"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let date = context.response().headers().get("date").and_then(millis);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = date;
        Ok(())
    }
}

fn millis(date: &str) -> Option<u64> {
    let date = DateTime::from_str(date, DateTimeFormat::HttpDate).ok()?;
    u64::try_from(date.to_millis().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_date_is_parsed() {
        assert_eq!(millis("Thu, 01 Jan 1970 00:00:07 GMT"), Some(7_000));
        assert_eq!(millis("1970-01-01T00:00:07Z"), None);
    }
}
