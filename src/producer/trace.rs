//! The trace context of a message.

use std::env;
use std::fmt;
use std::sync::Arc;

use super::checked::Checked;
use super::outgoing::problem_of_text;
use crate::extract::{AttributeValue, TRACEPARENT};

/// The trace context that is sent with a message, so that its receiver continues the trace: see
/// [`ProducerBuilder::trace_context`](crate::ProducerBuilder::trace_context).
///
/// ```
/// use redrive::TraceContext;
///
/// let context = TraceContext::of_lambda().traceparent("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TraceContext {
    /// The message system attribute `AWSTraceHeader`, which
    /// [X-Ray](https://docs.aws.amazon.com/xray/latest/devguide/xray-services-sqs.html) reads. It does not count
    /// against the message's size.
    pub trace_header: Option<String>,
    /// The message attribute `traceparent` of [W3C Trace Context](https://www.w3.org/TR/trace-context/), which
    /// OpenTelemetry uses. It is left out first if a message is too large for its queue.
    pub traceparent: Option<String>,
}

impl TraceContext {
    /// Returns the context of the current invocation, which AWS Lambda sets in `_X_AMZN_TRACE_ID`. Elsewhere it is
    /// empty.
    pub fn of_lambda() -> Self {
        Self { trace_header: env::var("_X_AMZN_TRACE_ID").ok().filter(|header| !header.is_empty()), traceparent: None }
    }

    /// Sets the message attribute `traceparent`. The default is none.
    #[must_use = "it returns the changed context"]
    pub fn traceparent(self, traceparent: impl Into<String>) -> Self {
        Self { traceparent: Some(traceparent.into()), ..self }
    }

    /// Sets the message system attribute `AWSTraceHeader`. The default is none.
    #[must_use = "it returns the changed context"]
    pub fn trace_header(self, header: impl Into<String>) -> Self {
        Self { trace_header: Some(header.into()), ..self }
    }

    /// Adds this context to a message that has none of its own.
    pub(crate) fn complete(&self, checked: &mut Checked) {
        let Self { trace_header, traceparent } = self;
        if let Some(header) = trace_header
            && checked.message.trace_header.is_none()
            && is_taken("AWSTraceHeader", header)
        {
            checked.message.trace_header = Some(header.clone());
        }
        if let Some(traceparent) = traceparent
            && is_taken("traceparent", traceparent)
        {
            checked.add_if_there_is_room(TRACEPARENT, AttributeValue::string(traceparent));
        }
    }
}

/// The source of a message's trace context.
#[derive(Clone)]
pub struct TraceSource(Arc<dyn Fn() -> TraceContext + Send + Sync>);

impl TraceSource {
    pub fn new(context: impl Fn() -> TraceContext + Send + Sync + 'static) -> Self {
        Self(Arc::new(context))
    }

    /// Returns the current context.
    pub(crate) fn now(&self) -> TraceContext {
        (self.0)()
    }
}

/// Returns whether SQS accepts the text. A trace that it would refuse must not fail the message.
fn is_taken(what: &str, text: &str) -> bool {
    let problem = problem_of_text(text);
    if let Some(problem) = &problem {
        tracing::debug!(what, problem, "SQS would refuse a part of the trace context; the message is sent without it");
    }
    problem.is_none()
}

impl Default for TraceSource {
    fn default() -> Self {
        Self::new(TraceContext::of_lambda)
    }
}

impl fmt::Debug for TraceSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TraceSource")
    }
}
