//! Pauses and resumes a worker.

use tokio::sync::watch;

/// Pauses and resumes a worker. [`Worker::handle`](crate::Worker::handle) returns one. All clones control the same
/// worker.
///
/// While the downstream system is being repaired:
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
    /// Stops the worker from polling. A poll under way may still receive messages. Running handlers finish.
    pub fn pause(&self) {
        self.is_paused.send_replace(true);
    }

    /// Lets the worker poll again.
    pub fn resume(&self) {
        self.is_paused.send_replace(false);
    }

    /// Returns whether the worker is paused.
    pub fn is_paused(&self) -> bool {
        *self.is_paused.borrow()
    }

    /// Waits until the worker is not paused.
    pub(super) async fn not_paused(&self) {
        // The wait cannot fail, because `self` holds a sender.
        let _ = self.is_paused.subscribe().wait_for(|is_paused| !is_paused).await;
    }
}
