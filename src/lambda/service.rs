//! A consumer as a tower service: an event in, the answer out.

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

/// The Lambda context of the invocation that brought the record: request id, deadline, the function's ARN.
impl<S: Sync> FromRecord<S> for Context {
    type Rejection = Rejection;

    async fn from_record(record: &Record, _: &S) -> Result<Self, Rejection> {
        let context = record.origin().downcast_ref::<Context>();
        context.cloned().ok_or_else(|| Rejection::absent("Lambda context"))
    }
}

type Answer = Pin<Box<dyn Future<Output = Result<SqsBatchResponse, Error>> + Send>>;

/// A consumer is a function as lambda_runtime has them: an event in, the answer out.
///
/// Handlers run on the tokio runtime that calls it. If they block every thread of that, the answer is as late as they
/// are; [`Consumer::run`] has a thread of its own against it.
impl<K: handler::Kind> Service<LambdaEvent<Event>> for Consumer<K> {
    type Response = SqsBatchResponse;
    type Error = Error;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut task::Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, event: LambdaEvent<Event>) -> Answer {
        invoke(self, event, Handle::current())
    }
}

/// Answers for an event, whose handlers run on that runtime.
pub(super) fn invoke<K: handler::Kind>(consumer: &Consumer<K>, event: LambdaEvent<Event>, handlers: Handle) -> Answer {
    let engine = consumer.engine();
    let (event, context) = event.into_parts();
    let remaining = remaining(context.deadline(), SystemTime::now());
    Box::pin(answer(engine, event, Invocation::of_a_whole_batch(remaining, Arc::new(context), handlers)))
}

/// The time until the deadline. A deadline that was past when the invocation arrived is none: `cargo lambda watch` sends
/// one in 1970.
fn remaining(deadline: SystemTime, now: SystemTime) -> Option<Duration> {
    deadline.duration_since(now).ok().filter(|remaining| !remaining.is_zero())
}

/// What lambda_runtime reports of an invocation that failed.
impl From<Error> for Diagnostic {
    fn from(error: Error) -> Self {
        Self { error_type: "redrive::Error".to_owned(), error_message: error.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_that_is_past_is_none() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        assert_eq!(remaining(now + Duration::from_secs(3), now), Some(Duration::from_secs(3)));
        assert_eq!(remaining(now, now), None);
        assert_eq!(remaining(SystemTime::UNIX_EPOCH, now), None);
        assert_eq!(remaining(SystemTime::UNIX_EPOCH + Duration::from_millis(600_000), now), None);
    }
}
