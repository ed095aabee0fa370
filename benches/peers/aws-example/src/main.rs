//! The benchmark's function in the pattern of AWS's own example. It parses the whole event, bodies included, into JSON
//! values. One task handles all records concurrently and converts each value into the handler's type.
//!
//! The example is `examples/advanced-sqs-partial-batch-failures` of <https://github.com/aws/aws-lambda-rust-runtime>.
//! Its span for each record is left out here: at this subscriber's level redrive's span is disabled, and the example's
//! would be enabled.

use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEventObj};
use futures::future::join_all;
use lambda_runtime::{Error, LambdaEvent, run, service_fn, tracing};
use orders_work::{Handler, OrderError, Store};
use serde::de::DeserializeOwned;
use serde_json::{Value, from_value};

async fn batch<T: DeserializeOwned>(
    event: LambdaEvent<SqsEventObj<Value>>,
    handle: impl AsyncFn(T) -> Result<(), OrderError>,
) -> Result<SqsBatchResponse, Error> {
    let messages = event.payload.records.into_iter();
    let (ids, tasks): (Vec<_>, Vec<_>) =
        messages.map(|message| (message.message_id.unwrap_or_default(), record(message.body, &handle))).unzip();
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

async fn record<T: DeserializeOwned>(
    body: Value,
    handle: &impl AsyncFn(T) -> Result<(), OrderError>,
) -> Result<(), Error> {
    Ok(handle(from_value(body)?).await?)
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    tracing::init_default_subscriber();
    let store = &Store::default();
    match Handler::from_env() {
        Handler::Noop => run(service_fn(|event| batch(event, orders_work::noop))).await,
        Handler::Work => {
            run(service_fn(|event| batch(event, async |order| orders_work::work(order, store).await))).await
        }
        Handler::Wait => run(service_fn(|event| batch(event, orders_work::wait))).await,
    }
}
