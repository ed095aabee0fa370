//! The Lambda host, which polls the Lambda Runtime API.

use std::env;

use lambda_runtime::layers::TracingLayer;
use lambda_runtime::{LambdaEvent, Runtime};
use tokio::runtime::Handle;
use tower::service_fn;
use tower::util::MapResultLayer;

use super::service::invoke;
use super::stall::Stall;
use super::unparsed::{Ticket, Unparsed};
use crate::error::{Error, ErrorKind};
use crate::handler::{self, Consumer};
use crate::host_thread;
use crate::outcome::BoxError;
use crate::record::Event;

const RUNTIME_API: &str = "AWS_LAMBDA_RUNTIME_API";
/// Other variables that Lambda sets. lambda_runtime panics without them.
const FUNCTION: [&str; 3] = ["AWS_LAMBDA_FUNCTION_NAME", "AWS_LAMBDA_FUNCTION_VERSION", MEMORY_SIZE];
const MEMORY_SIZE: &str = "AWS_LAMBDA_FUNCTION_MEMORY_SIZE";

/// Returns whether this process runs as a Lambda function.
pub(crate) fn is_here() -> bool {
    env::var_os(RUNTIME_API).is_some()
}

fn check_environment() -> Result<(), Error> {
    let missing: Vec<_> = FUNCTION.into_iter().filter(|name| env::var(name).is_err()).collect();
    if !missing.is_empty() {
        let missing = missing.join(", ");
        let problem =
            format!("{RUNTIME_API} is set but {missing} is missing; set it too, or run under `cargo lambda watch`");
        return Err(ErrorKind::Environment(problem).into());
    }
    let memory = env::var(MEMORY_SIZE).unwrap_or_default();
    if memory.parse::<i32>().is_err() {
        let problem = format!("{MEMORY_SIZE} is {memory:?}, not a number; set it to a number of MB");
        return Err(ErrorKind::Environment(problem).into());
    }
    Ok(())
}

/// Polls the Runtime API until it is gone or until this future is dropped.
///
/// The poll loop and its timer run on a thread of their own. Handlers stay on the caller's runtime. So blocking
/// handlers cannot delay the answer, even if they block every thread of that runtime.
pub(crate) async fn run<K: handler::HandlerKind>(consumer: Consumer<K>) -> Result<(), Error> {
    check_environment()?;
    // Layers are created here so that the tasks they spawn run on the handlers' runtime and not on the host's thread.
    consumer.engine();
    let handlers = Handle::current();
    host_thread::run("redrive-lambda", move || serve(consumer, handlers)).await
}

/// Passes events to the consumer. Its handlers run on the runtime `handlers`.
async fn serve<K: handler::HandlerKind>(consumer: Consumer<K>, handlers: Handle) -> Result<(), Error> {
    let (unparsed, stall) = (Unparsed::default(), Stall::default());
    let (texts, watcher) = (unparsed.clone(), stall.clone());
    let function = service_fn(move |event: LambdaEvent<Ticket>| {
        let (ticket, context) = event.into_parts();
        let event = LambdaEvent::new(Event::of(texts.take(ticket)), context);
        watcher.clone().watch(handlers.clone(), invoke(&consumer, event, handlers.clone()))
    });
    let end_if_stalled = MapResultLayer::new(move |answered: Result<(), BoxError>| {
        stall.end_process_if_found();
        answered
    });
    let runtime = Runtime::new(function).layer(unparsed).layer(TracingLayer::new()).layer(end_if_stalled);
    runtime.run_concurrent().await.map_err(|error| ErrorKind::Host(error).into())
}
