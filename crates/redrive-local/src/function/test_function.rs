//! Provides an invocation and a scripted function for the tests of this crate.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;

use super::{BoxFuture, Function, Invocation, InvokeError, Invoker, Slots};

/// Answers an invocation.
type Script = dyn Fn(Bytes) -> BoxFuture<'static, Result<Bytes, InvokeError>> + Send + Sync;

/// A function elsewhere, like a server behind a URL: it may not be ready, and it may outlast its timeout.
pub(crate) struct Scripted {
    slots: Slots,
    /// `None` for a function that never becomes ready.
    script: Option<Box<Script>>,
}

impl Scripted {
    pub(crate) fn never_ready(slots: usize) -> Arc<dyn Function> {
        Arc::new(Self { slots: Slots::new(slots), script: None })
    }

    pub(crate) fn answering<F, Fut>(slots: usize, script: F) -> Arc<dyn Function>
    where
        F: Fn(Bytes) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Bytes, InvokeError>> + Send + 'static,
    {
        let script = Box::new(move |event| -> BoxFuture<'static, _> { Box::pin(script(event)) });
        Arc::new(Self { slots: Slots::new(slots), script: Some(script) })
    }
}

impl Function for Scripted {
    fn slots(&self) -> &Slots {
        &self.slots
    }

    fn ready(self: Arc<Self>) -> BoxFuture<'static, Result<Box<dyn Invoker>, InvokeError>> {
        let not_ready = || InvokeError::NotRun("cannot start /no/such/function".to_owned());
        Box::pin(async move { self.try_ready().ok_or_else(not_ready) })
    }

    fn try_ready(self: Arc<Self>) -> Option<Box<dyn Invoker>> {
        self.script.is_some().then(|| Box::new(self) as Box<dyn Invoker>)
    }

    fn may_outlast_timeout(&self) -> bool {
        true
    }
}

impl Invoker for Arc<Scripted> {
    fn invoke<'a>(&'a mut self, invocation: &'a Invocation) -> BoxFuture<'a, Result<Bytes, InvokeError>> {
        (self.script.as_ref().expect("only a function with a script becomes ready"))(invocation.event.clone())
    }
}

pub(super) fn invocation(event: impl Into<Bytes>) -> Invocation {
    Invocation {
        request_id: "request-1".to_owned(),
        event: event.into(),
        function_arn: "arn:aws:lambda:eu-west-1:123456789012:function:orders".to_owned(),
        timeout: Duration::from_secs(20),
        trace_header: Some("Root=1-65a1b2c3-0123456789abcdef01234567".to_owned()),
    }
}
