//! Matches invocations with polls.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use redrive_local::function::{ErrorReport, Invocation};
use tokio::sync::{mpsc, oneshot, watch};

use super::Answer;

/// The state that the server and its owner share.
pub(super) struct Dispatcher {
    /// Polls wait for this lock in the order of their arrival. A poll whose connection closes releases the lock and
    /// takes no invocation with it.
    queue: tokio::sync::Mutex<mpsc::Receiver<PendingInvocation>>,
    /// The number of running polls.
    pollers: watch::Sender<usize>,
    /// The invocation that the function is processing.
    running: Mutex<Option<RunningInvocation>>,
    init_error: watch::Sender<Option<ErrorReport>>,
}

/// An invocation that waits for a poll.
pub(super) struct PendingInvocation {
    pub(super) invocation: Invocation,
    pub(super) answer: oneshot::Sender<Answer>,
}

struct RunningInvocation {
    request_id: String,
    answer: oneshot::Sender<Answer>,
}

impl Dispatcher {
    pub(super) fn new(queue: mpsc::Receiver<PendingInvocation>) -> Self {
        Self {
            queue: tokio::sync::Mutex::new(queue),
            pollers: watch::Sender::new(0),
            running: Mutex::default(),
            init_error: watch::Sender::new(None),
        }
    }

    /// Returns the next invocation for a poll, or `None` when the Runtime API ends.
    pub(super) async fn next(&self) -> Option<Invocation> {
        let _polling = Polling::start(&self.pollers);
        let PendingInvocation { invocation, answer } = self.queue.lock().await.recv().await?;
        *self.running() = Some(RunningInvocation { request_id: invocation.request_id.clone(), answer });
        Some(invocation)
    }

    /// Accepts the first answer to an invocation. Like Lambda, refuses an answer to any other invocation.
    pub(super) fn settle(&self, request_id: &str, answer: Answer) -> bool {
        let running = self.running().take_if(|running| running.request_id == request_id);
        let is_running = running.is_some();
        if let Some(running) = running {
            // The receiver may have been dropped. The function did nothing wrong.
            let _ = running.answer.send(answer);
        }
        is_running
    }

    pub(super) fn is_running(&self, request_id: &str) -> bool {
        self.running().as_ref().is_some_and(|running| running.request_id == request_id)
    }

    pub(super) async fn polled(&self) {
        // The wait does not fail, because `self` owns the sender.
        let _ = self.pollers.subscribe().wait_for(|&pollers| pollers > 0).await;
    }

    /// Waits until no poll is running.
    #[cfg(test)]
    pub(super) async fn left(&self) {
        let _ = self.pollers.subscribe().wait_for(|&pollers| pollers == 0).await;
    }

    pub(super) fn fail_to_start(&self, report: ErrorReport) {
        self.init_error.send_replace(Some(report));
    }

    pub(super) async fn init_error(&self) -> ErrorReport {
        loop {
            let mut changed = self.init_error.subscribe();
            if let Some(report) = self.init_error_so_far() {
                return report;
            }
            let _ = changed.changed().await;
        }
    }

    pub(super) fn init_error_so_far(&self) -> Option<ErrorReport> {
        self.init_error.borrow().clone()
    }

    fn running(&self) -> MutexGuard<'_, Option<RunningInvocation>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts a poll while it waits, even if its connection closes without an invocation.
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

/// Returns the headers of an event. The invocation's timeout starts now.
pub(super) fn headers(invocation: &Invocation) -> HeaderMap {
    let deadline = (SystemTime::now() + invocation.timeout).duration_since(UNIX_EPOCH).unwrap_or_default();
    let deadline_ms = deadline.as_millis().to_string();
    let headers = [
        ("content-type", Some("application/json")),
        ("lambda-runtime-aws-request-id", Some(&*invocation.request_id)),
        ("lambda-runtime-deadline-ms", Some(&*deadline_ms)),
        ("lambda-runtime-invoked-function-arn", Some(&*invocation.function_arn)),
        // A producer may send any text as a trace header. A text that an HTTP header cannot hold is left out.
        ("lambda-runtime-trace-id", invocation.trace_header.as_deref()),
    ];
    let headers = headers
        .into_iter()
        .filter_map(|(name, value)| Some((HeaderName::from_static(name), HeaderValue::from_str(value?).ok()?)));
    headers.collect()
}
