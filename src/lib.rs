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
//!
//! # Stability
//!
//! Redrive follows [semantic versioning as Cargo defines it](https://doc.rust-lang.org/cargo/reference/semver.html):
//! before 1.0 a breaking release raises the minor version. Its public API contains types and traits of these crates:
//!
//! | Crate | Major version | In the API of redrive | Feature |
//! |---|---|---|---|
//! | `serde` | 1 | bounds `Serialize` and `DeserializeOwned`; some types implement `Deserialize` | |
//! | `serde_json` | 1 | `Error`, which converts into [`JsonError`] | |
//! | `tower` | 0.5 | `Layer` and `Service` in [`Consumer::layer`]; `BoxCloneService`, which is [`RecordService`] | |
//! | `aws_lambda_events` | 1 | `SqsMessage` in [`Message`]; `SqsBatchResponse`, the answer of a consumer | |
//! | `lambda_runtime` | 1 | `Context`, the only re-export; `LambdaEvent`; `Diagnostic` | `lambda` |
//! | `aws-sdk-sqs` | 1 | `Client` for effects, workers and producers | `sqs` |
//! | `aws-sdk-s3` | 1 | `Client` for large messages | `large-messages` |
//! | `tokio` | 1 | `TcpListener` for probes. Every host needs a runtime of this version | `worker` |
//! | `tracing` | 0.1 | no type, but a subscriber of this version receives the logs | |
//!
//! A breaking version of one of these crates reaches redrive in a breaking release of redrive. Until then keep the old
//! version for the values that you pass to redrive. Cargo can build both versions into one program. All other
//! dependencies may change in any release.
//!
//! The minimum Rust version is `rust-version` in the manifest: the highest minimum of the dependencies, usually that of
//! the AWS SDK. Raising it is not a breaking change. Cargo's resolver 3 prefers releases that fit an older compiler.
//!
//! These parts may change in any release:
//!
//! - `internals`, the feature `test-util`, and everything else that is hidden in the documentation;
//! - the texts of errors (`Display` and `Debug`): use the predicates, such as [`Error::is_invalid_event`];
//! - the texts, levels, spans and fields of logs;
//! - the number, order and timing of calls to AWS;
//! - implementations of [`Handler`] by hand.
//!
//! A default changes in a breaking release only, and the changelog names it.

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
pub use self::handler::{Bulk, BulkArgs, Consumer, Each, Handler, HandlerKind, IntoOutcomes, batch, handler};
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
