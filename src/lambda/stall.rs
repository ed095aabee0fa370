//! Ends a process in which no handler can run any more.
//!
//! Handlers that block all threads leave none for those that come after. Every batch would be answered in time, and fail
//! unrun, until healthy messages have spent their receives and are in the dead-letter queue. Lambda
//! replaces a process that ends, so this one does.

use std::future::Future;
use std::pin::{Pin, pin};
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::task::{self, Poll};
use std::thread;
use std::time::{Duration, Instant};

use lambda_runtime::LambdaInvocation;
use tokio::runtime::Handle;
use tower::{Layer, Service};

use crate::outcome::BoxError;

/// A batch that is answered by then is not looked at.
const AFTER: Duration = Duration::from_millis(500);

/// How long a runtime is given to run a task that does nothing. A busy one takes milliseconds.
const LIMIT: Duration = Duration::from_secs(1);

/// How long the log is waited for: a handler that blocks may hold standard output.
const LOG_LIMIT: Duration = Duration::from_millis(200);

/// Whether the handlers' runtime has stalled. As a layer it ends the process, once the answer is out.
#[derive(Clone, Default)]
pub(super) struct Stall {
    found: Arc<AtomicBool>,
}

impl Stall {
    /// Waits for the answer to a batch, and sees meanwhile whether its handlers' runtime still runs anything.
    pub(super) async fn watch<T>(self, handlers: Handle, answered: impl Future<Output = T>) -> T {
        let mut answered = pin!(answered);
        if let Ok(answer) = tokio::time::timeout(AFTER, &mut answered).await {
            return answer;
        }
        let (probe, began) = (handlers.spawn(async {}), Instant::now());
        let answer = answered.await;
        if !probe.is_finished() && began.elapsed() >= LIMIT {
            self.found.store(true, Ordering::Relaxed);
        }
        answer
    }
}

fn end_process() -> ! {
    let (logged, log) = mpsc::channel();
    thread::spawn(move || {
        tracing::error!(
            "handlers block every thread of their runtime, and no other can run: the process ends, to be replaced; put \
             blocking work into tokio::task::spawn_blocking"
        );
        // Nobody waits for it any more if this fails.
        let _ = logged.send(());
    });
    let _ = log.recv_timeout(LOG_LIMIT);
    process::exit(1)
}

impl<S> Layer<S> for Stall {
    type Service = Ending<S>;

    fn layer(&self, inner: S) -> Ending<S> {
        Ending { stall: self.clone(), inner }
    }
}

#[derive(Clone)]
pub(super) struct Ending<S> {
    stall: Stall,
    inner: S,
}

impl<S> Service<LambdaInvocation> for Ending<S>
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

    fn call(&mut self, invocation: LambdaInvocation) -> Self::Future {
        let found = self.stall.found.clone();
        let answered = self.inner.call(invocation);
        Box::pin(async move {
            let result = answered.await;
            if found.load(Ordering::Relaxed) {
                end_process();
            }
            result
        })
    }
}
