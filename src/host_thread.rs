//! Runs the host on a thread of its own, so that no handler can block its timers and calls.

use std::any::Any;
use std::future::Future;
use std::thread;

use tokio::sync::oneshot;

use crate::error::{Error, ErrorKind};

/// Runs the host on a single-threaded runtime until it ends or until this future is dropped.
pub(crate) async fn run<F>(name: &str, host: impl FnOnce() -> F + Send + 'static) -> Result<(), Error>
where
    F: Future<Output = Result<(), Error>>,
{
    let (end, ended) = oneshot::channel();
    let spawned = thread::Builder::new().name(name.to_owned()).spawn(move || block_on(host, end));
    let thread = spawned.map_err(|error| ErrorKind::Host(error.into()))?;
    match ended.await {
        Ok(result) => result,
        Err(_) => Err(ErrorKind::Host(panic_of(thread).into()).into()),
    }
}

fn block_on<F>(host: impl FnOnce() -> F, mut end: oneshot::Sender<Result<(), Error>>)
where
    F: Future<Output = Result<(), Error>>,
{
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return drop(end.send(Err(ErrorKind::Host(error.into()).into()))),
    };
    let result = runtime.block_on(async {
        tokio::select! {
            result = host() => Some(result),
            () = end.closed() => None,
        }
    });
    if let Some(result) = result {
        // This fails if the caller was dropped. Then nobody reads the result.
        let _ = end.send(result);
    }
}

/// Returns why the thread ended without a result.
fn panic_of(host: thread::JoinHandle<()>) -> String {
    let payload: Box<dyn Any + Send> = match host.join() {
        Ok(()) => return "its thread ended".to_owned(),
        Err(payload) => payload,
    };
    let message = payload.downcast_ref::<String>().map(String::as_str).or(payload.downcast_ref::<&str>().copied());
    format!("its thread panicked: {}", message.unwrap_or("the payload is not a string"))
}
