//! Finds the host and runs a consumer on it.

use crate::error::{Error, ErrorKind};
use crate::extract::FromRecord;
use crate::handler::{self, Consumer, Handler};
use crate::outcome::IntoOutcome;
#[cfg(any(feature = "lambda", feature = "worker"))]
use crate::subscriber::Lines;

/// Runs an async function as an SQS consumer. The process is an AWS Lambda function if the [Lambda Runtime
/// API](https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html) is present. Otherwise, with the feature
/// `worker`, it is a worker that polls the queue of `REDRIVE_QUEUE_URL`.
///
/// ```no_run
/// use redrive::Json;
///
/// #[derive(serde::Deserialize)]
/// struct Order { order_id: String }
///
/// async fn place(Json(order): Json<Order>) -> anyhow::Result<()> { /* ... */ Ok(()) }
///
/// #[tokio::main]
/// async fn main() -> Result<(), redrive::Error> {
///     redrive::run(place).await
/// }
/// ```
///
/// This is short for [`handler(f)`](crate::handler()) and its [`run`](Consumer::run). [The chapter on
/// Lambda](crate::docs::lambda) lists what it does there besides polling.
///
/// `run` can end the process:
///
/// - On Lambda it exits with code 1, after the answer, if handlers have blocked every thread until a batch was cut off.
///   Lambda then starts a new process.
/// - As a worker it exits with code 1 at the second signal.
/// - As a worker it exits with code 0 if a handler still blocks its thread after the drain timeout.
///
/// Dropping the future stops the polling. A running batch is then not answered, and its records are retried.
///
/// # Errors
///
/// Returns an error if there is no host, if the host's environment is incomplete, or if the host stops.
pub async fn run<H, Args>(handler: H) -> Result<(), Error>
where
    H: Handler<Args>,
    H::Output: IntoOutcome,
    H::Future: Send,
    Args: FromRecord<()> + Send + 'static,
{
    handler::handler(handler).run().await
}

impl<K> Consumer<K> {
    /// Runs the consumer on the host of this process: see [`run`](crate::run).
    ///
    /// # Errors
    ///
    /// Returns an error if there is no host, if the host's environment is incomplete, or if the host stops.
    // The bound is on the method and not on the block. On the block, the compiler would not name the part that is not
    // met.
    pub async fn run(self) -> Result<(), Error>
    where
        K: handler::HandlerKind,
    {
        run_here(self).await
    }
}

/// Finds the host and runs the consumer on it.
async fn run_here<K: handler::HandlerKind>(consumer: Consumer<K>) -> Result<(), Error> {
    #[cfg(feature = "lambda")]
    if crate::lambda::is_here() {
        prepare(Lines::AtOnce);
        return crate::lambda::run(consumer).await;
    }
    #[cfg(feature = "worker")]
    if let Some(queue_url) = crate::worker::queue_url()? {
        prepare(Lines::Buffered);
        return crate::worker::run(consumer, queue_url).await;
    }
    let _ = consumer;
    Err(ErrorKind::NoHost.into())
}

/// Sets up logging and panic places for a process that only runs a consumer.
#[cfg(any(feature = "lambda", feature = "worker"))]
fn prepare(lines: Lines) {
    crate::subscriber::install(lines);
    crate::engine::note_places();
    // `panic = "abort"` cannot be changed at run time, and cargo-lambda sets it by default.
    if cfg!(panic = "abort") {
        tracing::warn!(
            "built with panic = \"abort\"; a panic ends the process and fails its whole batch; cargo-lambda sets this for \
             release builds; set panic = \"unwind\" in [profile.release] of Cargo.toml"
        );
    }
}
