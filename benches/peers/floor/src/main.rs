//! The minimum that a function on lambda_runtime can do with an event: it skips over the JSON, waits once if the others
//! wait, and answers.

use aws_lambda_events::event::sqs::SqsBatchResponse;
use lambda_runtime::{Error, LambdaEvent, run, service_fn, tracing};
use orders_work::{Handler, WAIT};
use serde::de::IgnoredAny;

async fn skip(_: LambdaEvent<IgnoredAny>) -> Result<SqsBatchResponse, Error> {
    Ok(SqsBatchResponse::default())
}

async fn wait(_: LambdaEvent<IgnoredAny>) -> Result<SqsBatchResponse, Error> {
    tokio::time::sleep(WAIT).await;
    Ok(SqsBatchResponse::default())
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    tracing::init_default_subscriber();
    match Handler::from_env() {
        Handler::Noop | Handler::Work => run(service_fn(skip)).await,
        Handler::Wait => run(service_fn(wait)).await,
    }
}
