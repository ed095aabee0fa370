//! A function in this process, for tests: a consumer, or any async closure.

use std::any::type_name;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;

use axum::body::Bytes;
use tokio::runtime::Handle;

use super::error::FunctionError;
use super::places::Places;
use super::report::Report;
use super::{Invocation, PAYLOAD_LIMIT_BYTES};
use crate::engine::{self, guard};
use crate::handler::{self, Consumer};
use crate::local::mapping::config::MaximumConcurrency;
use crate::outcome::BoxError;
use crate::record::{Event, Origin};

/// As many as a mapping has batches with its function where nothing bounds it, so that only the mapping bounds it.
const PLACES: usize = MaximumConcurrency::WHERE_ABSENT;

type Answer = Pin<Box<dyn Future<Output = Result<Bytes, Report>> + Send>>;

/// A function that runs on the runtime of its caller, and by that runtime's clock: on a paused one its timeout costs
/// nothing.
///
/// It ends when it times out or its caller drops the invocation. A function that blocks its thread is ended by neither,
/// as there is no process to kill.
#[derive(Clone)]
pub(crate) struct InProcess {
    places: Places,
    function: Arc<dyn Fn(Invocation) -> Answer + Send + Sync>,
}

impl InProcess {
    /// Events go to the consumer's engine as they do on Lambda: with the same deadline, and a Lambda context.
    pub(crate) fn consumer<K: handler::Kind>(consumer: &Consumer<K>) -> Self {
        let engine = consumer.engine();
        let function = move |invocation: Invocation| -> Answer {
            let engine = engine.clone();
            Box::pin(async move {
                let (remaining, origin) = (Some(invocation.timeout), origin(&invocation));
                let event = Event::of(invocation.event.into());
                let invocation = engine::Invocation::of_a_whole_batch(remaining, origin, Handle::current());
                let answer = crate::lambda::answer(engine, event, invocation).await;
                let answer = answer.map_err(|error| Report::new("redrive::Error", error.to_string()))?;
                let answer = serde_json::to_vec(&answer);
                answer.map(Bytes::from).map_err(|error| Report::new("serde_json::Error", error.to_string()))
            })
        };
        Self::new(Arc::new(function))
    }

    /// The closure takes the event and gives the answer; its error is the invocation's.
    pub(crate) fn closure<F, Fut, A, E>(function: F) -> Self
    where
        F: Fn(Bytes) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<A, E>> + Send,
        A: Into<Bytes>,
        E: Into<BoxError>,
    {
        let function = Arc::new(function);
        let function = move |invocation: Invocation| -> Answer {
            let function = function.clone();
            // The closure itself is called under the guard as well.
            Box::pin(async move {
                let answer = function(invocation.event).await;
                answer.map(A::into).map_err(|error| Report::new(type_name::<E>(), error.into().to_string()))
            })
        };
        Self::new(Arc::new(function))
    }

    fn new(function: Arc<dyn Fn(Invocation) -> Answer + Send + Sync>) -> Self {
        Self { places: Places::new(PLACES), function }
    }

    /// The same with these places, which other functions may share.
    pub(crate) fn with_places(self, places: Places) -> Self {
        Self { places, ..self }
    }

    pub(super) fn places(&self) -> &Places {
        &self.places
    }

    pub(super) async fn invoke(&self, invocation: Invocation) -> Result<Bytes, FunctionError> {
        let timeout = invocation.timeout;
        let answer = tokio::time::timeout(timeout, guard(pin!(Some((self.function)(invocation))))).await;
        let answer = answer.map_err(|_| FunctionError::TimedOut { timeout })?;
        let answer = answer.unwrap_or_else(|panicked| Err(Report::new("Panicked", panicked.to_string())));
        let answer = answer.map_err(FunctionError::Raised)?;
        if answer.len() > PAYLOAD_LIMIT_BYTES {
            return Err(FunctionError::Raised(Report::too_large()));
        }
        Ok(answer)
    }
}

/// What `Context` is made from where there is a Lambda host.
#[cfg(feature = "lambda")]
fn origin(invocation: &Invocation) -> Origin {
    use std::time::{SystemTime, UNIX_EPOCH};

    let deadline = (SystemTime::now() + invocation.timeout).duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut context = crate::lambda::Context::default();
    context.request_id = invocation.request_id.clone();
    context.deadline = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX);
    context.invoked_function_arn = invocation.function_arn.clone();
    context.xray_trace_id = invocation.trace_header.clone();
    Arc::new(context)
}

#[cfg(not(feature = "lambda"))]
fn origin(_: &Invocation) -> Origin {
    Arc::new(())
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::time::Duration;

    use super::super::test_function::invocation;
    use super::*;
    use crate::extract::Body;

    const EVENT: &str = r#"{"Records": [
        {"messageId": "1", "body": "good", "eventSource": "aws:sqs", "eventSourceARN": "arn:aws:sqs:eu-west-1:1:q"},
        {"messageId": "2", "body": "bad", "eventSource": "aws:sqs", "eventSourceARN": "arn:aws:sqs:eu-west-1:1:q"}
    ]}"#;

    async fn good(Body(body): Body) -> Result<(), BoxError> {
        if body == "good" { Ok(()) } else { Err("it is bad".into()) }
    }

    fn raised(result: Result<Bytes, FunctionError>) -> Report {
        match result {
            Err(FunctionError::Raised(report)) => report,
            other => panic!("expected an error of the function's own, got {other:?}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_consumer_answers_with_the_records_that_failed() {
        let function = InProcess::consumer(&crate::handler(good));
        let answer = function.invoke(invocation(EVENT)).await.unwrap();
        let answer: serde_json::Value = serde_json::from_slice(&answer).unwrap();
        assert_eq!(answer, serde_json::json!({"batchItemFailures": [{"itemIdentifier": "2"}]}));
    }

    #[tokio::test(start_paused = true)]
    async fn a_consumer_answers_before_the_timeout_whatever_its_handlers_do() {
        let function = InProcess::consumer(&crate::handler(|Body(_): Body| pending::<()>()));
        let began = tokio::time::Instant::now();
        let answer = function.invoke(invocation(EVENT)).await.unwrap();
        assert!(String::from_utf8_lossy(&answer).contains(r#""2""#));
        let took = began.elapsed();
        assert!(took < invocation(EVENT).timeout && took > invocation(EVENT).timeout / 2, "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_consumer_that_is_handed_no_event_of_sqs_raises_an_error() {
        let report = raised(InProcess::consumer(&crate::handler(good)).invoke(invocation("{}")).await);
        assert_eq!(report.error_type, "redrive::Error");
        assert!(report.message.contains("not an SQS event"), "{report}");
    }

    #[cfg(feature = "lambda")]
    #[tokio::test(start_paused = true)]
    async fn a_handler_sees_the_context_of_the_invocation() {
        let handler = |context: crate::Context| async move {
            let left = context.deadline().duration_since(std::time::SystemTime::now()).unwrap();
            assert!(left > Duration::from_secs(1), "{left:?}");
            assert_eq!(context.request_id, "request-1");
            assert_eq!(context.invoked_function_arn, invocation("").function_arn);
            assert_eq!(context.xray_trace_id, invocation("").trace_header);
        };
        let answer = InProcess::consumer(&crate::handler(handler)).invoke(invocation(EVENT)).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&answer), r#"{"batchItemFailures":[]}"#);
    }

    #[tokio::test(start_paused = true)]
    async fn a_closure_has_its_answer_passed_on_as_it_is() {
        let function = InProcess::closure(|event: Bytes| async move { Ok::<_, BoxError>(event) });
        assert_eq!(function.invoke(invocation("not JSON")).await.unwrap(), "not JSON");
    }

    #[tokio::test(start_paused = true)]
    async fn an_error_of_a_closure_comes_with_its_type() {
        let function = InProcess::closure(|_| async { Err::<Bytes, _>(std::fmt::Error) });
        assert_eq!(raised(function.invoke(invocation("")).await).error_type, "core::fmt::Error");
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_is_an_error_of_the_invocation() {
        let in_future = InProcess::closure(|_| async { if true { panic!("within") } else { Ok::<_, BoxError>("") } });
        let in_call = InProcess::closure(|_| {
            if true {
                panic!("before")
            }
            async { Ok::<_, BoxError>("") }
        });
        assert!(raised(in_future.invoke(invocation("")).await).message.contains("within"));
        assert!(raised(in_call.invoke(invocation("")).await).message.contains("before"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_function_is_ended_at_its_timeout() {
        let function = InProcess::closure(|_| pending::<Result<Bytes, BoxError>>());
        let mut invocation = invocation("");
        invocation.timeout = Duration::from_secs(900);
        let began = tokio::time::Instant::now();
        let timed_out = FunctionError::TimedOut { timeout: invocation.timeout };
        assert_eq!(function.invoke(invocation).await, Err(timed_out));
        assert_eq!(began.elapsed(), Duration::from_secs(900));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_over_the_limit_is_an_error() {
        let of = |bytes: usize| InProcess::closure(move |_| async move { Ok::<_, BoxError>(vec![b' '; bytes]) });
        assert!(of(PAYLOAD_LIMIT_BYTES).invoke(invocation("")).await.is_ok());
        let report = raised(of(PAYLOAD_LIMIT_BYTES + 1).invoke(invocation("")).await);
        assert_eq!(report, Report::too_large());
    }
}
