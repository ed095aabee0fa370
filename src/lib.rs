//! One async fn becomes an SQS consumer.
//!
//! ```no_run
//! use redrive::Json;
//!
//! # #[derive(serde::Deserialize)] struct Order {}
//! async fn place(Json(order): Json<Order>) -> anyhow::Result<()> { /* ... */ Ok(()) }
//!
//! #[tokio::main]
//! async fn main() -> Result<(), redrive::Error> {
//!     redrive::run(place).await
//! }
//! ```

#![cfg_attr(not(feature = "lambda"), allow(dead_code, unused_imports, reason = "without a host nothing runs"))]

mod batch;
mod error;
mod event;
mod extract;
mod handler;
mod json;
#[cfg(feature = "lambda")]
mod lambda;
mod outcome;
mod per_lane;
mod record;
mod run;
#[cfg(feature = "lambda")]
mod subscriber;

pub mod docs;

pub use self::error::Error;
pub use self::event::Event;
pub use self::extract::{
    Attribute, AttributeValue, Body, DeduplicationId, EventBridge, FirstReceivedAt, FromAttribute, FromRecord, FromRef,
    GroupId, Json, Message, MessageId, QueueArn, ReceiptHandle, ReceiveCount, Rejection, S3, S3Notification, S3Record,
    SenderId, SentAt, SequenceNumber, Sns, State, TraceHeader,
};
pub use self::handler::{
    Bulk, BulkArgs, Consumer, Each, Fifo, Handler, IntoOutcomes, Kind, RecordService, batch, handler,
};
pub use self::json::JsonError;
#[cfg(feature = "lambda")]
pub use self::lambda::Context;
pub use self::outcome::{BoxError, HandlerError, IntoOutcome, Outcome};
pub use self::record::Record;
pub use self::run::run;
