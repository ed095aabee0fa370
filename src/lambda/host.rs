//! The host: polls the Lambda Runtime API.

use std::any::Any;
use std::env;
use std::thread;

use lambda_runtime::layers::TracingLayer;
use lambda_runtime::{LambdaEvent, Runtime};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tower::service_fn;
use tower::util::MapResultLayer;

use super::answer;
use super::stall::Stall;
use super::unparsed::{Ticket, Unparsed};
use crate::batch::note_places;
use crate::error::{Error, Kind};
use crate::event::Event;
use crate::handler::{self, Consumer};
use crate::outcome::BoxError;

const RUNTIME_API: &str = "AWS_LAMBDA_RUNTIME_API";
/// What else Lambda sets, and lambda_runtime would panic without.
const FUNCTION: [&str; 3] = ["AWS_LAMBDA_FUNCTION_NAME", "AWS_LAMBDA_FUNCTION_VERSION", MEMORY_SIZE];
const MEMORY_SIZE: &str = "AWS_LAMBDA_FUNCTION_MEMORY_SIZE";

/// Whether this process is a Lambda function.
pub(crate) fn is_here() -> bool {
    env::var_os(RUNTIME_API).is_some()
}

fn check_environment() -> Result<(), Error> {
    let missing: Vec<_> = FUNCTION.into_iter().filter(|name| env::var(name).is_err()).collect();
    if !missing.is_empty() {
        let missing = missing.join(", ");
        let problem = format!(
            "{RUNTIME_API} is set, as on AWS Lambda, but {missing} not; set them too, or run under `cargo lambda watch`"
        );
        return Err(Kind::Environment(problem).into());
    }
    let memory = env::var(MEMORY_SIZE).unwrap_or_default();
    if memory.parse::<i32>().is_err() {
        let problem = format!("{MEMORY_SIZE} is {memory:?}, and should be a number of MB");
        return Err(Kind::Environment(problem).into());
    }
    Ok(())
}

/// Polls the Runtime API until it is gone, or until this future is dropped.
///
/// The poll loop and its timer have a thread of their own, and handlers keep the caller's runtime. So a handler that
/// blocks its thread holds up no answer, though every thread of that runtime be blocked.
pub(crate) async fn run<K: handler::Kind>(consumer: Consumer<K>) -> Result<(), Error> {
    check_environment()?;
    crate::subscriber::install();
    note_places();
    warn_of_abort();
    // Layers are made here, where what they spawn runs beside the handlers, and not on the host's thread.
    consumer.engine();
    let handlers = Handle::current();
    let (end, ended) = oneshot::channel();
    let host = thread::Builder::new().name("redrive-lambda".to_owned());
    let host = host.spawn(move || poll(consumer, handlers, end)).map_err(|error| Kind::Host(error.into()))?;
    match ended.await {
        Ok(result) => result.map_err(|error| Kind::Host(error).into()),
        Err(_) => Err(Kind::Host(panic_of(host).into()).into()),
    }
}

/// A profile that aborts cannot be undone at run time, and cargo-lambda brings one along unasked.
fn warn_of_abort() {
    if cfg!(panic = "abort") {
        tracing::warn!(
            "built with panic = \"abort\": a panic ends the process and fails its whole batch. cargo-lambda sets this for \
             release builds; put panic = \"unwind\" into [profile.release] of Cargo.toml"
        );
    }
}

/// The host thread: a runtime of its own, and lambda_runtime on it.
fn poll<K: handler::Kind>(consumer: Consumer<K>, handlers: Handle, mut end: oneshot::Sender<Result<(), BoxError>>) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return drop(end.send(Err(error.into()))),
    };
    let result = runtime.block_on(async {
        tokio::select! {
            result = serve(consumer, handlers) => Some(result),
            () = end.closed() => None,
        }
    });
    if let Some(result) = result {
        // Nobody waits for it any more if this fails.
        let _ = end.send(result);
    }
}

/// Hands events to the consumer, whose handlers run on a runtime other than this one.
async fn serve<K: handler::Kind>(consumer: Consumer<K>, handlers: Handle) -> Result<(), BoxError> {
    let (unparsed, stall) = (Unparsed::default(), Stall::default());
    let (texts, watcher) = (unparsed.clone(), stall.clone());
    let function = service_fn(move |event: LambdaEvent<Ticket>| {
        let (ticket, context) = event.into_parts();
        let event = LambdaEvent::new(Event::of(texts.take(ticket)), context);
        watcher.clone().watch(handlers.clone(), answer(&consumer, event, handlers.clone()))
    });
    let end_if_stalled = MapResultLayer::new(move |answered: Result<(), BoxError>| {
        stall.end_process_if_found();
        answered
    });
    let runtime = Runtime::new(function).layer(unparsed).layer(TracingLayer::new()).layer(end_if_stalled);
    runtime.run_concurrent().await
}

/// Why the host thread ended without a result.
fn panic_of(host: thread::JoinHandle<()>) -> String {
    let payload: Box<dyn Any + Send> = match host.join() {
        Ok(()) => return "its thread ended".to_owned(),
        Err(payload) => payload,
    };
    let message = payload.downcast_ref::<String>().map(String::as_str).or(payload.downcast_ref::<&str>().copied());
    format!("its thread panicked: {}", message.unwrap_or("with a payload that is no text"))
}
