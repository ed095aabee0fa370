//! Runs a consumer as an AWS Lambda function. The local event source mapping uses the same answers.

mod answer;
#[cfg(feature = "lambda")]
mod host;
#[cfg(feature = "lambda")]
mod service;
#[cfg(feature = "lambda")]
mod stall;
#[cfg(feature = "lambda")]
mod unparsed;

#[cfg(feature = "lambda")]
pub use lambda_runtime::Context;

#[cfg(all(feature = "lambda", feature = "sqs"))]
pub(crate) use self::answer::answer;
#[cfg(feature = "lambda")]
pub(crate) use self::host::{is_here, run};
#[cfg(all(feature = "lambda", feature = "sqs"))]
pub use self::service::AnswerFuture;
