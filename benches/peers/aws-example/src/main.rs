//! The benchmark's function in the pattern of AWS's own example: the event is parsed whole, bodies included, into JSON
//! values, and all records are handled at once by one task.
//!
//! The example: `examples/advanced-sqs-partial-batch-failures` of <https://github.com/aws/aws-lambda-rust-runtime>.
//! This is somewhat faster than that: it has no span for a record, and `noop` takes the body as the value it is.

use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEventObj};
use futures::future::join_all;
use lambda_runtime::{Error, LambdaEvent, run, service_fn, tracing};
use orders_work::{Handler, Store};
use serde_json::{Value, from_value};

async fn batch(
    event: LambdaEvent<SqsEventObj<Value>>,
    handle: impl AsyncFn(Value) -> Result<(), Error>,
) -> Result<SqsBatchResponse, Error> {
    let messages = event.payload.records.into_iter();
    let (ids, tasks): (Vec<_>, Vec<_>) =
        messages.map(|message| (message.message_id.unwrap_or_default(), handle(message.body))).unzip();
    let results = join_all(tasks).await;
    let failures = ids.into_iter().zip(results).filter_map(|(id, result)| {
        let error = result.err()?;
        tracing::error!("failed to process message {id}: {error}");
        Some(id)
    });
    let mut response = SqsBatchResponse::default();
    response.set_failures(failures);
    Ok(response)
}

async fn noop(_: Value) -> Result<(), Error> {
    Ok(())
}

async fn work(body: Value, store: &Store) -> Result<(), Error> {
    Ok(orders_work::work(from_value(body)?, store).await?)
}

async fn wait(body: Value) -> Result<(), Error> {
    Ok(orders_work::wait(from_value(body)?).await?)
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    tracing::init_default_subscriber();
    let store = &Store::default();
    match Handler::from_env() {
        Handler::Noop => run(service_fn(|event| batch(event, noop))).await,
        Handler::Work => run(service_fn(|event| batch(event, async |body| work(body, store).await))).await,
        Handler::Wait => run(service_fn(|event| batch(event, wait))).await,
    }
}
