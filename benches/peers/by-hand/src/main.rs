//! The benchmark's function as a careful user would write it. It parses each body separately into its type, and a body
//! that does not parse fails alone.

use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use futures::future::join_all;
use lambda_runtime::{Error, LambdaEvent, run, service_fn, tracing};
use orders_work::{Handler, OrderError, Store};
use serde::de::DeserializeOwned;

async fn batch<T: DeserializeOwned>(
    event: LambdaEvent<SqsEvent>,
    handle: impl AsyncFn(T) -> Result<(), OrderError>,
) -> Result<SqsBatchResponse, Error> {
    let messages = event.payload.records;
    let results = join_all(messages.iter().map(|message| record(message, &handle))).await;
    let mut response = SqsBatchResponse::default();
    for (message, result) in messages.iter().zip(results) {
        if let Err(error) = result {
            let id = message.message_id.clone().ok_or("a message that failed has no id")?;
            tracing::error!("failed to process message {id}: {error}");
            response.add_failure(id);
        }
    }
    Ok(response)
}

async fn record<T: DeserializeOwned>(
    message: &SqsMessage,
    handle: &impl AsyncFn(T) -> Result<(), OrderError>,
) -> Result<(), Error> {
    let body = message.body.as_deref().ok_or("the message has no body")?;
    Ok(handle(serde_json::from_str(body)?).await?)
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
