//! Tests the Lambda context and the layers of lambda_runtime.

use ::lambda_runtime::Context;
use redrive::Outcome;

use crate::kit::{event, invoke, record};

#[tokio::test]
async fn handler_takes_the_lambda_context() {
    let consumer = redrive::handler(|context: Context| async move {
        if context.request_id == "r1" { Outcome::Done } else { Outcome::Retry }
    });
    let mut context = Context::default();
    context.request_id = "r1".into();
    assert!(invoke(&consumer, event([record("1", "")]), context).await.unwrap().is_empty());
}

async fn nothing() {}

/// This only has to compile: a consumer fits where lambda_runtime expects a function.
#[allow(dead_code)]
async fn consumer_accepts_the_layers_of_lambda_runtime() -> Result<(), ::lambda_runtime::Error> {
    let runtime = ::lambda_runtime::Runtime::new(redrive::handler(nothing));
    runtime.layer(::lambda_runtime::layers::TracingLayer::new()).run_concurrent().await?;
    ::lambda_runtime::run(redrive::handler(nothing)).await
}
