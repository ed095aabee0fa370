//! Which host there is to run on.

use crate::error::{Error, Kind};
use crate::extract::FromRecord;
use crate::handler::{self, Consumer, Handler};
use crate::outcome::IntoOutcome;
#[cfg(any(feature = "lambda", feature = "worker"))]
use crate::subscriber::Lines;

/// Runs an async function as an SQS consumer, where the process finds itself: as an AWS Lambda function, if the
/// [Lambda Runtime API](https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html) is there; else, with the feature
/// `worker`, as a worker that polls the queue of `REDRIVE_QUEUE_URL`.
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
/// It is short for [`handler(f)`](crate::handler()) and its [`run`](Consumer::run). What it does on Lambda beside polling
/// is in [the chapter on Lambda](crate::docs::lambda). On one point it takes the process into its hands: where handlers
/// have blocked every thread until a batch was cut off, it exits with code 1, after the answer, for Lambda to start another
/// one. As a worker it exits with code 1 at the second signal, and with 0 where a handler blocks its thread after the drain timeout.
///
/// Whoever drops its future ends the polling; a batch under way is then not answered, and comes back.
///
/// # Errors
///
/// Where no host is there, where its environment is incomplete, and when it stops.
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
    /// Runs the consumer where the process finds itself: see [`run`](crate::run).
    ///
    /// # Errors
    ///
    /// Where no host is there that brings batches, or the one that is there stops.
    // The bound stands here and not on the block, where the compiler would not say what of it is not met.
    pub async fn run(self) -> Result<(), Error>
    where
        K: handler::Kind,
    {
        run_here(self).await
    }
}

/// Finds the host, and runs the consumer on it.
async fn run_here<K: handler::Kind>(consumer: Consumer<K>) -> Result<(), Error> {
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
    Err(Kind::NoHost.into())
}

/// What a process that is all a consumer's is given.
#[cfg(any(feature = "lambda", feature = "worker"))]
fn prepare(lines: Lines) {
    crate::subscriber::install(lines);
    crate::engine::note_places();
    // A profile that aborts cannot be undone at run time, and cargo-lambda brings one along unasked.
    if cfg!(panic = "abort") {
        tracing::warn!(
            "built with panic = \"abort\": a panic ends the process and fails its whole batch. cargo-lambda sets this for \
             release builds; put panic = \"unwind\" into [profile.release] of Cargo.toml"
        );
    }
}
