//! Implements `tower::Service` for a consumer: it takes an event and returns the answer.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll};
use std::time::{Duration, SystemTime};

use aws_lambda_events::sqs::SqsBatchResponse;
use lambda_runtime::{Diagnostic, LambdaEvent};
use tokio::runtime::Handle;
use tower::Service;

use super::Context;
use super::answer::answer;
use crate::engine::Invocation;
use crate::error::Error;
use crate::extract::{FromRecord, Rejection};
use crate::handler::{self, Consumer};
use crate::record::{Event, Record};

/// Extracts the Lambda context of the record's invocation: request id, deadline, the function's ARN.
impl<S: Sync> FromRecord<S> for Context {
    type Rejection = Rejection;

    async fn from_record(record: &Record, _: &S) -> Result<Self, Rejection> {
        let context = record.origin().downcast_ref::<Context>();
        context.cloned().ok_or_else(|| Rejection::absent("Lambda context"))
    }
}

/// The future of an answer.
pub type AnswerFuture = Pin<Box<dyn Future<Output = Result<SqsBatchResponse, Error>> + Send>>;

/// Makes a consumer a function of lambda_runtime: it takes an event and returns the answer.
///
/// Handlers run on the tokio runtime that calls the service. If they block every thread of that runtime, the answer is
/// late. [`Consumer::run`] answers from a thread of its own, which prevents this.
impl<K: handler::HandlerKind> Service<LambdaEvent<Event>> for Consumer<K> {
    type Response = SqsBatchResponse;
    type Error = Error;
    type Future = AnswerFuture;

    fn poll_ready(&mut self, _: &mut task::Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, event: LambdaEvent<Event>) -> AnswerFuture {
        invoke(self, event, Handle::current())
    }
}

/// Runs an event and returns its answer. Handlers run on the runtime `handlers`.
pub(super) fn invoke<K: handler::HandlerKind>(
    consumer: &Consumer<K>,
    event: LambdaEvent<Event>,
    handlers: Handle,
) -> AnswerFuture {
    let engine = consumer.engine();
    let (event, context) = event.into_parts();
    let remaining = remaining(context.deadline(), SystemTime::now());
    Box::pin(answer(engine, event, Invocation::of_a_whole_batch(remaining, Arc::new(context), handlers)))
}

/// Returns the time until the deadline. A deadline before the invocation's arrival is ignored: `cargo lambda watch`
/// sends one in 1970.
fn remaining(deadline: SystemTime, now: SystemTime) -> Option<Duration> {
    deadline.duration_since(now).ok().filter(|remaining| !remaining.is_zero())
}

/// Converts an error into the report of a failed invocation.
impl From<Error> for Diagnostic {
    fn from(error: Error) -> Self {
        Self { error_type: "redrive::Error".to_owned(), error_message: error.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn past_deadline_is_ignored() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        assert_eq!(remaining(now + Duration::from_secs(3), now), Some(Duration::from_secs(3)));
        assert_eq!(remaining(now, now), None);
        assert_eq!(remaining(SystemTime::UNIX_EPOCH, now), None);
        assert_eq!(remaining(SystemTime::UNIX_EPOCH + Duration::from_millis(600_000), now), None);
    }
}
