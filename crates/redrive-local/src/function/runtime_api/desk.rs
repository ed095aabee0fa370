//! Where invocations wait for a poll, and pollers for an invocation.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use tokio::sync::{mpsc, oneshot, watch};

use super::Answer;
use crate::function::{Invocation, Report};

/// What the server and its owner share.
pub(super) struct Desk {
    /// Pollers wait for this lock in the order of their coming. One whose connection closes lets go of it, and takes no
    /// invocation along.
    queue: tokio::sync::Mutex<mpsc::Receiver<Handed>>,
    /// How many poll.
    pollers: watch::Sender<usize>,
    /// What the function works on.
    out: Mutex<Option<Out>>,
    init_error: watch::Sender<Option<Report>>,
}

/// An invocation that waits for a poll.
pub(super) struct Handed {
    pub(super) invocation: Invocation,
    pub(super) answer: oneshot::Sender<Answer>,
}

struct Out {
    request_id: String,
    answer: oneshot::Sender<Answer>,
}

impl Desk {
    pub(super) fn new(queue: mpsc::Receiver<Handed>) -> Self {
        Self {
            queue: tokio::sync::Mutex::new(queue),
            pollers: watch::Sender::new(0),
            out: Mutex::default(),
            init_error: watch::Sender::new(None),
        }
    }

    /// The invocation for a poller; none when there will be no more.
    pub(super) async fn next(&self) -> Option<Invocation> {
        let _polling = Polling::start(&self.pollers);
        let Handed { invocation, answer } = self.queue.lock().await.recv().await?;
        *self.out() = Some(Out { request_id: invocation.request_id.clone(), answer });
        Some(invocation)
    }

    /// Takes an answer, and only the first: Lambda too refuses one to an invocation that is not out.
    pub(super) fn settle(&self, request_id: &str, answer: Answer) -> bool {
        let out = self.out().take_if(|out| out.request_id == request_id);
        let is_out = out.is_some();
        if let Some(out) = out {
            // Its receiver may have given up, which is not the function's fault.
            let _ = out.answer.send(answer);
        }
        is_out
    }

    pub(super) fn is_out(&self, request_id: &str) -> bool {
        self.out().as_ref().is_some_and(|out| out.request_id == request_id)
    }

    pub(super) async fn polled(&self) {
        // It does not fail: the sender is here.
        let _ = self.pollers.subscribe().wait_for(|&pollers| pollers > 0).await;
    }

    /// Waits until nobody polls.
    #[cfg(test)]
    pub(super) async fn left(&self) {
        let _ = self.pollers.subscribe().wait_for(|&pollers| pollers == 0).await;
    }

    pub(super) fn fail_to_start(&self, report: Report) {
        self.init_error.send_replace(Some(report));
    }

    pub(super) async fn init_error(&self) -> Report {
        loop {
            let mut changed = self.init_error.subscribe();
            if let Some(report) = self.init_error_so_far() {
                return report;
            }
            let _ = changed.changed().await;
        }
    }

    pub(super) fn init_error_so_far(&self) -> Option<Report> {
        self.init_error.borrow().clone()
    }

    fn out(&self) -> MutexGuard<'_, Option<Out>> {
        self.out.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts a poller for as long as it waits, also where it goes away without an invocation.
struct Polling<'a>(&'a watch::Sender<usize>);

impl<'a> Polling<'a> {
    fn start(pollers: &'a watch::Sender<usize>) -> Self {
        pollers.send_modify(|pollers| *pollers += 1);
        Self(pollers)
    }
}

impl Drop for Polling<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|pollers| *pollers -= 1);
    }
}

/// What comes with an event. The time of an invocation runs from here.
pub(super) fn headers(invocation: &Invocation) -> HeaderMap {
    let deadline = (SystemTime::now() + invocation.timeout).duration_since(UNIX_EPOCH).unwrap_or_default();
    let deadline_ms = deadline.as_millis().to_string();
    let headers = [
        ("content-type", Some("application/json")),
        ("lambda-runtime-aws-request-id", Some(&*invocation.request_id)),
        ("lambda-runtime-deadline-ms", Some(&*deadline_ms)),
        ("lambda-runtime-invoked-function-arn", Some(&*invocation.function_arn)),
        // A producer's word. One that no header can hold is left out.
        ("lambda-runtime-trace-id", invocation.trace_header.as_deref()),
    ];
    let headers = headers
        .into_iter()
        .filter_map(|(name, value)| Some((HeaderName::from_static(name), HeaderValue::from_str(value?).ok()?)));
    headers.collect()
}
