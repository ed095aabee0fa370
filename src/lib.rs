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
//! - Messages that belong to a transaction of a database, with the feature `outbox`: `docs::outbox`.
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
//! | `outbox` | messages that are written in a transaction, and sent once it is committed: `Outbox`, `Relay` | no |
//! | `worker` | the same handler as a worker that polls the queue itself: `Worker` | no |
//! | `local` | SQS, event source mappings and a test kit on this machine: `redrive::local` | no |
//! | `cli` | the `redrive` command: `dev`, `send`, `dlq`, `queue`, `check`, `iam`, and with `outbox` that too | no |

#![cfg_attr(
    not(any(feature = "lambda", feature = "worker")),
    allow(dead_code, unused_imports, reason = "without a host nothing runs")
)]

#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
mod engine;
mod error;
mod extract;
mod handler;
#[cfg(any(feature = "lambda", feature = "worker"))]
mod host_thread;
mod json;
#[cfg(any(feature = "lambda", feature = "local"))]
mod lambda;
#[cfg(feature = "large-messages")]
mod large;
#[cfg(feature = "local")]
pub mod local;
#[cfg(feature = "worker")]
mod log_writer;
mod moment;
#[cfg(feature = "outbox")]
mod outbox;
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
pub use self::extract::{
    Attribute, AttributeValue, Body, DeduplicationId, EventBridge, FirstReceivedAt, FromAttribute, FromRecord, FromRef,
    GroupId, Json, LastReceive, Message, MessageId, QueueArn, ReceiptHandle, ReceiveCount, Rejection, S3,
    S3Notification, S3Record, SendId, SenderId, SentAt, SequenceNumber, Sns, SnsAttribute, State, TraceHeader,
};
pub use self::handler::{Bulk, BulkArgs, Consumer, Each, Handler, IntoOutcomes, Kind, batch, handler};
pub use self::json::JsonError;
#[cfg(feature = "lambda")]
pub use self::lambda::Context;
#[cfg(feature = "large-messages")]
pub use self::large::LargeMessages;
#[cfg(feature = "outbox")]
pub use self::outbox::{
    Migration, Outbox, OutboxDatabase, OutboxError, OutboxStatus, ParkedMessage, Relay, WhenParked,
};
pub use self::outcome::{BoxError, HandlerError, IntoOutcome, Outcome};
#[cfg(feature = "producer")]
pub use self::producer::{IntoOutgoing, Order, Outgoing, Producer, ProducerBuilder, SendError, Sent, TraceContext};
pub use self::record::{Event, Record};
pub use self::run::run;
#[cfg(feature = "sqs")]
pub use self::sqs::{Backoff, Effects};
#[cfg(feature = "worker")]
pub use self::worker::{Worker, WorkerHandle};
