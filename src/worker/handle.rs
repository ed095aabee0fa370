//! How a worker is paused.

use tokio::sync::watch;

/// Pauses a worker, and has it go on: see [`Worker::handle`](crate::Worker::handle). Clones are of the same worker.
///
/// ```no_run
/// # async fn example(client: aws_sdk_sqs::Client, handler: redrive::Consumer<impl redrive::Kind>) {
/// let worker = handler.worker(client, "http://127.0.0.1:9324/000000000000/orders");
/// let handle = worker.handle();
/// tokio::spawn(worker.run_until(std::future::pending()));
/// // While the downstream is being repaired:
/// handle.pause();
/// // ...
/// handle.resume();
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct WorkerHandle {
    is_paused: watch::Sender<bool>,
}

impl Default for WorkerHandle {
    fn default() -> Self {
        Self { is_paused: watch::Sender::new(false) }
    }
}

impl WorkerHandle {
    /// Has the worker poll no more. A poll under way may still bring messages, and what has begun runs to its end.
    pub fn pause(&self) {
        self.is_paused.send_replace(true);
    }

    /// Has the worker poll again.
    pub fn resume(&self) {
        self.is_paused.send_replace(false);
    }

    /// Whether the worker is paused.
    pub fn is_paused(&self) -> bool {
        *self.is_paused.borrow()
    }

    /// Waits for as long as the worker is paused.
    pub(super) async fn not_paused(&self) {
        // It cannot fail: this holds a sender.
        let _ = self.is_paused.subscribe().wait_for(|is_paused| !is_paused).await;
    }
}
