//! One async fn becomes an SQS consumer on AWS Lambda.
//!
//! ```no_run
//! use redrive::Json;
//!
//! #[derive(serde::Deserialize)]
//! struct Order { order_id: String }
//!
//! async fn place(Json(order): Json<Order>) -> anyhow::Result<()> { /* ... */ Ok(()) }
//!
//! #[tokio::main]
//! async fn main() -> Result<(), redrive::Error> {
//!     redrive::run(place).await
//! }
//! ```
//!
//! That program runs the records of a batch concurrently within a bound, keeps the message groups of a FIFO queue in
//! order, isolates bad bodies and panics, answers before Lambda's deadline, and reports exactly the records that must come
//! back. The event source mapping must have
//! [`ReportBatchItemFailures`](https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html#services-sqs-batchfailurereporting)
//! on: without it Lambda ignores the answer and deletes every record.
//!
//! - What a handler may take: [`FromRecord`], and the extractors that implement it.
//! - What it may return: [`IntoOutcome`], and [`Outcome`] for all that is neither done nor an error.
//! - What can be set: [`handler`](handler()) makes a [`Consumer`], with state, layers, classification of errors and
//!   bounds.
//! - Many records at once: [`batch`](batch()).
//! - What happens on Lambda, and what cannot be helped: [`docs::lambda`].
//! - Everywhere else, with the feature `worker`: `docs::worker`. Delays and dead letters, with the feature `sqs`: `docs::effects`.
//! - The other end of the queue, with the feature `producer`: `docs::producer`.
//! - Messages over 1 MiB, with the feature `large-messages`: `docs::large_messages`.
//! - A transactional outbox, a test kit and the command are crates of their own: `redrive-outbox`, `redrive-local` and `redrive-cli`.
//! - How it is built: [`docs::architecture`].
//!
//! # Features
//!
//! | Feature | Adds | Default |
//! |---|---|---|
//! | `lambda` | the Lambda host: [`run`](run()), `Context`, and consumers as tower services of lambda_runtime | yes |
//! | `sqs` | effects on the queue: delays, and dead letters with their reason: `Effects` | no |
//! | `producer` | sends messages, together and none dropped: `Producer` | no |
//! | `large-messages` | messages over 1 MiB, whose bodies go through S3: `LargeMessages` | no |
//! | `worker` | the same handler as a worker that polls the queue itself: `Worker` | no |

#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(
    not(any(feature = "lambda", feature = "worker")),
    allow(dead_code, unused_imports, reason = "without a host nothing runs")
)]
#![cfg_attr(
    not(feature = "producer"),
    allow(unreachable_pub, reason = "the features decide what the seams export; with all of them the lint looks")
)]

mod engine;
mod error;
mod extract;
mod handler;
#[cfg(any(feature = "lambda", feature = "worker"))]
mod host_thread;
#[cfg(feature = "sqs")]
#[doc(hidden)]
#[allow(missing_docs, reason = "seams")]
pub mod internals;
mod json;
#[cfg(feature = "lambda")]
mod lambda;
#[cfg(feature = "large-messages")]
mod large;
#[cfg(feature = "worker")]
mod log_writer;
#[cfg_attr(feature = "sqs", allow(missing_docs, reason = "a seam"))]
mod moment;
mod outcome;
mod per_lane;
#[cfg(any(feature = "lambda", feature = "worker"))]
mod process_end;
#[cfg(feature = "producer")]
mod producer;
mod record;
mod run;
#[cfg(feature = "sqs")]
mod sqs;
#[cfg(any(feature = "lambda", feature = "worker"))]
mod subscriber;
#[cfg(feature = "worker")]
mod worker;

pub mod docs;

pub use self::engine::{Fifo, RecordService, Settled, SettledAs};
pub use self::error::Error;
#[cfg(feature = "sqs")]
pub use self::extract::LastReceive;
pub use self::extract::{
    Attribute, AttributeValue, Body, DeduplicationId, EventBridge, FirstReceivedAt, FromAttribute, FromRecord, FromRef,
    GroupId, Json, Message, MessageId, QueueArn, ReceiptHandle, ReceiveCount, Rejection, S3, S3Notification, S3Record,
    SendId, SenderId, SentAt, SequenceNumber, Sns, SnsAttribute, State, TraceHeader,
};
pub use self::handler::{Bulk, BulkArgs, Consumer, Each, Handler, IntoOutcomes, Kind, batch, handler};
pub use self::json::JsonError;
#[cfg(feature = "lambda")]
pub use self::lambda::Context;
#[cfg(feature = "large-messages")]
pub use self::large::LargeMessages;
pub use self::outcome::{BoxError, HandlerError, IntoOutcome, Outcome};
#[cfg(feature = "producer")]
pub use self::producer::{
    GroupOrder, IntoOutgoing, Outgoing, Producer, ProducerBuilder, SendError, Sent, TraceContext,
};
pub use self::record::{Event, Record};
pub use self::run::run;
#[cfg(feature = "sqs")]
pub use self::sqs::{Backoff, Effects};
#[cfg(feature = "worker")]
pub use self::worker::{Worker, WorkerHandle};
