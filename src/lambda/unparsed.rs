//! Passes events around lambda_runtime's parser.
//!
//! lambda_runtime parses an event before it calls the function. This crate only needs the text. A parser that skips
//! over the text takes about as long as finding the records in it, and the text would then be copied. So a layer keeps
//! the text under a ticket, and lambda_runtime parses only the ticket's number.

use std::collections::HashMap;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{self, Poll};

use lambda_runtime::LambdaInvocation;
use serde::Deserialize;
use tower::{Layer, Service};

use crate::outcome::BoxError;

/// The texts of events that have arrived and whose function has not been called yet. As a layer, it collects them.
#[derive(Clone, Default)]
pub(super) struct Unparsed {
    texts: Arc<Mutex<Texts>>,
}

#[derive(Default)]
struct Texts {
    by_ticket: HashMap<Ticket, Vec<u8>>,
    last: Ticket,
}

/// The number that an invocation carries in place of its event.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Deserialize)]
pub(super) struct Ticket(u64);

impl Unparsed {
    fn leave(&self, text: Vec<u8>) -> Ticket {
        let mut texts = self.lock();
        texts.last = Ticket(texts.last.0.wrapping_add(1));
        let ticket = texts.last;
        texts.by_ticket.insert(ticket, text);
        ticket
    }

    /// Takes the text of a ticket. It is empty after the first call.
    pub(super) fn take(&self, ticket: Ticket) -> Vec<u8> {
        self.lock().by_ticket.remove(&ticket).unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, Texts> {
        self.texts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S> Layer<S> for Unparsed {
    type Service = Unparsing<S>;

    fn layer(&self, inner: S) -> Unparsing<S> {
        Unparsing { unparsed: self.clone(), inner }
    }
}

#[derive(Clone)]
pub(super) struct Unparsing<S> {
    unparsed: Unparsed,
    inner: S,
}

impl<S> Service<LambdaInvocation> for Unparsing<S>
where
    S: Service<LambdaInvocation, Response = (), Error = BoxError>,
    S::Future: Send + 'static,
{
    type Response = ();
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut task::Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut invocation: LambdaInvocation) -> Self::Future {
        let unparsed = self.unparsed.clone();
        let ticket = unparsed.leave(mem::take(&mut invocation.body).into());
        invocation.body = ticket.0.to_string().into();
        let answered = self.inner.call(invocation);
        Box::pin(async move {
            let result = answered.await;
            // If the function was never called, its event is still stored.
            drop(unparsed.take(ticket));
            result
        })
    }
}

#[cfg(test)]
mod tests {
    use lambda_runtime::Context;
    use tower::service_fn;

    use super::*;

    fn invocation(event: &'static str) -> LambdaInvocation {
        let (parts, ()) = axum::http::Response::new(()).into_parts();
        LambdaInvocation { parts, body: event.into(), context: Context::default() }
    }

    #[tokio::test]
    async fn each_invocation_takes_its_own_text_once() {
        let unparsed = Unparsed::default();
        let function = {
            let unparsed = unparsed.clone();
            move |invocation: LambdaInvocation| {
                let ticket = serde_json::from_slice(&invocation.body);
                let text = ticket.map(|ticket| (unparsed.take(ticket), unparsed.take(ticket)));
                async move {
                    assert_eq!(text?, (invocation.context.request_id.into_bytes(), Vec::new()));
                    Ok::<_, BoxError>(())
                }
            }
        };
        let mut service = unparsed.layer(service_fn(function));
        for event in ["{}", "not JSON"] {
            let mut invocation = invocation(event);
            invocation.context.request_id = event.to_owned();
            service.call(invocation).await.unwrap();
        }
    }

    #[test]
    fn concurrent_texts_are_kept_apart() {
        let unparsed = Unparsed::default();
        let (first, second) = (unparsed.leave(b"1".to_vec()), unparsed.leave(b"2".to_vec()));
        assert_eq!((unparsed.take(second), unparsed.take(first)), (b"2".to_vec(), b"1".to_vec()));
    }

    #[tokio::test]
    async fn text_is_dropped_when_the_function_was_not_called() {
        let unparsed = Unparsed::default();
        let mut service = unparsed.layer(service_fn(|_: LambdaInvocation| async { Ok::<_, BoxError>(()) }));
        let answered = service.call(invocation("{}"));
        assert_eq!(unparsed.lock().by_ticket.len(), 1);
        answered.await.unwrap();
        assert!(unparsed.lock().by_ticket.is_empty());
    }
}
