//! Redrive turns one `async fn` into an SQS consumer for AWS Lambda, and the same program into a worker for a container
//! or a server.
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
//! Records are processed concurrently up to a limit, and each message group of a FIFO queue stays in order. A malformed
//! body or a panic fails only its own record. The batch is answered before Lambda's deadline, and only failed and
//! unfinished records are retried.
//!
//! The event source mapping must enable
//! [`ReportBatchItemFailures`](https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html#services-sqs-batchfailurereporting).
//! Without it Lambda ignores the answer and deletes every record.
//!
//! # Contents
//!
//! - Arguments of a handler: [`FromRecord`] and the extractors that implement it.
//! - Return values of a handler: [`IntoOutcome`]. An [`Outcome`] delays, discards or dead-letters a record.
//! - Settings: [`handler`](handler()) creates a [`Consumer`] with state, layers, error classification and limits.
//! - Many records in one call: [`batch`](batch()).
//! - Setup, deadlines and limits on Lambda: [`docs::lambda`].
//! - Containers and servers, with the feature `worker`: `docs::worker`.
//! - Delays and dead letters, with the feature `sqs`: `docs::effects`.
//! - Sending messages, with the feature `producer`: `docs::producer`.
//! - Messages over 1 MiB, with the feature `large-messages`: `docs::large_messages`.
//! - Other crates: `redrive-outbox` is a transactional outbox, `redrive-local` is the test kit, and `redrive-cli` is
//!   the command.
//! - Internals and decisions: [`docs::architecture`].
//!
//! # Features
//!
//! | Feature | Adds | Default |
//! |---|---|---|
//! | `lambda` | the Lambda host: [`run`](run()), `Context`, and consumers as tower services of lambda_runtime | yes |
//! | `sqs` | delays, and dead letters with their reason: `Effects` | no |
//! | `producer` | sends messages in batches and reports the result of each: `Producer` | no |
//! | `large-messages` | messages over 1 MiB, with bodies in S3: `LargeMessages` | no |
//! | `worker` | runs the same handler as a worker that polls the queue: `Worker` | no |

#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(
    not(any(feature = "lambda", feature = "worker")),
    allow(dead_code, unused_imports, reason = "nothing runs without a host")
)]
#![cfg_attr(
    not(feature = "producer"),
    allow(unreachable_pub, reason = "features select the exports of `internals`; the lint runs with all features")
)]

mod engine;
mod error;
mod extract;
mod handler;
#[cfg(any(feature = "lambda", feature = "worker"))]
mod host_thread;
#[cfg(feature = "sqs")]
#[doc(hidden)]
#[allow(missing_docs, reason = "internal API")]
pub mod internals;
mod json;
#[cfg(feature = "lambda")]
mod lambda;
#[cfg(feature = "large-messages")]
mod large;
#[cfg(feature = "worker")]
mod log_writer;
#[cfg_attr(feature = "sqs", allow(missing_docs, reason = "internal API"))]
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
