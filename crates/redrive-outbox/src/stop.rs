//! The signal that ends a relay.

use std::future::Future;

use tokio::sync::watch;

/// Tells the relay's parts to start no more work.
#[derive(Debug)]
pub(super) struct Stop(watch::Sender<bool>);

impl Stop {
    pub(super) fn new() -> Self {
        Self(watch::Sender::new(false))
    }

    pub(super) fn set(&self) {
        self.0.send_replace(true);
    }

    pub(super) fn is_set(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits for the stop.
    pub(super) async fn is_said(&self) {
        // This holds the sender, so the wait cannot fail.
        let _ = self.0.subscribe().wait_for(|is_set| *is_set).await;
    }

    /// Waits for that future or for the stop, whichever comes first.
    pub(super) async fn unless_set(&self, wait: impl Future<Output = ()>) {
        tokio::select! {
            () = wait => {}
            () = self.is_said() => {}
        }
    }
}
