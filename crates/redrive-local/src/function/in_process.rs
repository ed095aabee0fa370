//! Runs a function in this process, for tests: a consumer or an async closure.

use std::any::type_name;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::body::Bytes;
use redrive::internals::guard;
use redrive::{BoxError, Consumer, Context};

use super::error::InvokeError;
use super::error_report::ErrorReport;
use super::slots::Slots;
use super::{BoxFuture, Function, Invocation, Invoker, PAYLOAD_LIMIT_BYTES};
use crate::mapping::config::MaximumConcurrency;

/// The default concurrency of a mapping, so that only the mapping limits the invocations.
const SLOTS: usize = MaximumConcurrency::WHERE_ABSENT;

type InvocationFuture = BoxFuture<'static, Result<Bytes, ErrorReport>>;

/// A function on the runtime of its caller, with that runtime's clock. On a paused clock its timeout takes no real
/// time.
///
/// An invocation ends at its timeout or when the caller drops it. Neither ends a function that blocks its thread,
/// because there is no process to kill.
#[derive(Clone)]
pub struct InProcess {
    slots: Slots,
    function: Arc<dyn Fn(Invocation) -> InvocationFuture + Send + Sync>,
}

impl InProcess {
    /// Creates a function from a consumer. Its engine receives the same deadline and Lambda context as on Lambda.
    pub fn consumer<K: redrive::HandlerKind>(consumer: &Consumer<K>) -> Self {
        let consume = redrive::internals::function(consumer);
        let function = move |invocation: Invocation| -> InvocationFuture {
            let (context, timeout) = (context(&invocation), invocation.timeout);
            let answer = consume(invocation.event.into(), context, timeout);
            Box::pin(async move {
                let answer = answer.await.map_err(|error| ErrorReport::new("redrive::Error", error.to_string()))?;
                let answer = serde_json::to_vec(&answer);
                answer.map(Bytes::from).map_err(|error| ErrorReport::new("serde_json::Error", error.to_string()))
            })
        };
        Self::new(Arc::new(function))
    }

    /// Creates a function from a closure that takes the event and returns the answer. Its error fails the invocation.
    pub fn closure<F, Fut, A, E>(function: F) -> Self
    where
        F: Fn(Bytes) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<A, E>> + Send,
        A: Into<Bytes>,
        E: Into<BoxError>,
    {
        let function = Arc::new(function);
        let function = move |invocation: Invocation| -> InvocationFuture {
            let function = function.clone();
            // The guard also covers the call of the closure, which may panic before its first await.
            Box::pin(async move {
                let answer = function(invocation.event).await;
                answer.map(A::into).map_err(|error| ErrorReport::new(type_name::<E>(), error.into().to_string()))
            })
        };
        Self::new(Arc::new(function))
    }

    fn new(function: Arc<dyn Fn(Invocation) -> InvocationFuture + Send + Sync>) -> Self {
        Self { slots: Slots::new(SLOTS), function }
    }

    /// Reslots the slots, which other functions may share.
    pub fn with_slots(self, slots: Slots) -> Self {
        Self { slots, ..self }
    }

    async fn run(&self, invocation: Invocation) -> Result<Bytes, InvokeError> {
        let timeout = invocation.timeout;
        let answer = tokio::time::timeout(timeout, guard(pin!(Some((self.function)(invocation))))).await;
        let answer = answer.map_err(|_| InvokeError::TimedOut { timeout })?;
        let answer = answer.unwrap_or_else(|panicked| Err(ErrorReport::new("Panicked", panicked.to_string())));
        let answer = answer.map_err(InvokeError::Raised)?;
        if answer.len() > PAYLOAD_LIMIT_BYTES {
            return Err(InvokeError::Raised(ErrorReport::too_large()));
        }
        Ok(answer)
    }
}

impl Function for InProcess {
    fn slots(&self) -> &Slots {
        &self.slots
    }

    fn ready(self: Arc<Self>) -> BoxFuture<'static, Result<Box<dyn Invoker>, InvokeError>> {
        Box::pin(async { Ok(Box::new(self) as Box<dyn Invoker>) })
    }

    fn try_ready(self: Arc<Self>) -> Option<Box<dyn Invoker>> {
        Some(Box::new(self))
    }
}

impl Invoker for Arc<InProcess> {
    fn invoke<'a>(&'a mut self, invocation: &'a Invocation) -> BoxFuture<'a, Result<Bytes, InvokeError>> {
        Box::pin(self.run(invocation.clone()))
    }
}

fn context(invocation: &Invocation) -> Context {
    let deadline = (SystemTime::now() + invocation.timeout).duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut context = Context::default();
    context.request_id = invocation.request_id.clone();
    context.deadline = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX);
    context.invoked_function_arn = invocation.function_arn.clone();
    context.xray_trace_id = invocation.trace_header.clone();
    context
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::time::Duration;

    use redrive::Body;

    use super::super::test_function::invocation;
    use super::*;

    const EVENT: &str = r#"{"Records": [
        {"messageId": "1", "body": "good", "eventSource": "aws:sqs", "eventSourceARN": "arn:aws:sqs:eu-west-1:1:q"},
        {"messageId": "2", "body": "bad", "eventSource": "aws:sqs", "eventSourceARN": "arn:aws:sqs:eu-west-1:1:q"}
    ]}"#;

    async fn good(Body(body): Body) -> Result<(), BoxError> {
        if body == "good" { Ok(()) } else { Err("it is bad".into()) }
    }

    fn raised(result: Result<Bytes, InvokeError>) -> ErrorReport {
        match result {
            Err(InvokeError::Raised(report)) => report,
            other => panic!("expected an error of the function, got {other:?}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn consumer_answers_with_the_failed_records() {
        let function = InProcess::consumer(&redrive::handler(good));
        let answer = function.run(invocation(EVENT)).await.unwrap();
        let answer: serde_json::Value = serde_json::from_slice(&answer).unwrap();
        assert_eq!(answer, serde_json::json!({"batchItemFailures": [{"itemIdentifier": "2"}]}));
    }

    #[tokio::test(start_paused = true)]
    async fn consumer_answers_before_the_timeout_when_a_handler_hangs() {
        let function = InProcess::consumer(&redrive::handler(|Body(_): Body| pending::<()>()));
        let began = tokio::time::Instant::now();
        let answer = function.run(invocation(EVENT)).await.unwrap();
        assert!(String::from_utf8_lossy(&answer).contains(r#""2""#));
        let took = began.elapsed();
        assert!(took < invocation(EVENT).timeout && took > invocation(EVENT).timeout / 2, "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn consumer_raises_an_error_for_an_event_that_is_not_from_sqs() {
        let report = raised(InProcess::consumer(&redrive::handler(good)).run(invocation("{}")).await);
        assert_eq!(report.error_type, "redrive::Error");
        assert!(report.message.contains("not an SQS event"), "{report}");
    }

    #[tokio::test(start_paused = true)]
    async fn handler_receives_the_context_of_the_invocation() {
        let handler = |context: redrive::Context| async move {
            let left = context.deadline().duration_since(std::time::SystemTime::now()).unwrap();
            assert!(left > Duration::from_secs(1), "{left:?}");
            assert_eq!(context.request_id, "request-1");
            assert_eq!(context.invoked_function_arn, invocation("").function_arn);
            assert_eq!(context.xray_trace_id, invocation("").trace_header);
        };
        let answer = InProcess::consumer(&redrive::handler(handler)).run(invocation(EVENT)).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&answer), r#"{"batchItemFailures":[]}"#);
    }

    #[tokio::test(start_paused = true)]
    async fn answer_of_a_closure_is_returned_unchanged() {
        let function = InProcess::closure(|event: Bytes| async move { Ok::<_, BoxError>(event) });
        assert_eq!(function.run(invocation("not JSON")).await.unwrap(), "not JSON");
    }

    #[tokio::test(start_paused = true)]
    async fn error_of_a_closure_has_its_type() {
        let function = InProcess::closure(|_| async { Err::<Bytes, _>(std::fmt::Error) });
        assert_eq!(raised(function.run(invocation("")).await).error_type, "core::fmt::Error");
    }

    #[tokio::test(start_paused = true)]
    async fn panic_is_an_error_of_the_invocation() {
        let in_future = InProcess::closure(|_| async { if true { panic!("within") } else { Ok::<_, BoxError>("") } });
        let in_call = InProcess::closure(|_| {
            if true {
                panic!("before")
            }
            async { Ok::<_, BoxError>("") }
        });
        assert!(raised(in_future.run(invocation("")).await).message.contains("within"));
        assert!(raised(in_call.run(invocation("")).await).message.contains("before"));
    }

    #[tokio::test(start_paused = true)]
    async fn function_ends_at_its_timeout() {
        let function = InProcess::closure(|_| pending::<Result<Bytes, BoxError>>());
        let mut invocation = invocation("");
        invocation.timeout = Duration::from_secs(900);
        let began = tokio::time::Instant::now();
        let timed_out = InvokeError::TimedOut { timeout: invocation.timeout };
        assert_eq!(function.run(invocation).await, Err(timed_out));
        assert_eq!(began.elapsed(), Duration::from_secs(900));
    }

    #[tokio::test(start_paused = true)]
    async fn answer_over_the_limit_is_an_error() {
        let of = |bytes: usize| InProcess::closure(move |_| async move { Ok::<_, BoxError>(vec![b' '; bytes]) });
        assert!(of(PAYLOAD_LIMIT_BYTES).run(invocation("")).await.is_ok());
        let report = raised(of(PAYLOAD_LIMIT_BYTES + 1).run(invocation("")).await);
        assert_eq!(report, ErrorReport::too_large());
    }
}
