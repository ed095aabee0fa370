//! What only lambda_runtime brings: its context, and its layers.

use ::lambda_runtime::Context;
use redrive::Outcome;

use crate::kit::{event, invoke, record};

#[tokio::test]
async fn the_lambda_context() {
    let consumer = redrive::handler(|context: Context| async move {
        if context.request_id == "r1" { Outcome::Done } else { Outcome::Retry }
    });
    let mut context = Context::default();
    context.request_id = "r1".into();
    assert!(invoke(&consumer, event([record("1", "")]), context).await.unwrap().is_empty());
}

async fn nothing() {}

/// This compiles, and that is what it shows: a consumer goes where lambda_runtime's functions go.
#[allow(dead_code)]
async fn lambda_runtimes_own_layers() -> Result<(), ::lambda_runtime::Error> {
    let runtime = ::lambda_runtime::Runtime::new(redrive::handler(nothing));
    runtime.layer(::lambda_runtime::layers::TracingLayer::new()).run_concurrent().await?;
    ::lambda_runtime::run(redrive::handler(nothing)).await
}
