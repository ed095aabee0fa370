//! Waits for the user to end the command.

use std::time::Duration;

use tokio::sync::watch;

/// Waits for Ctrl-C, or for the signal of a process manager.
pub(super) async fn interrupted() -> &'static str {
    #[cfg(unix)]
    if let Ok(mut terminate) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        return tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = tokio::signal::ctrl_c() => "Ctrl-C",
        };
    }
    // Without a handler the signal ends the process, which is acceptable too.
    let _ = tokio::signal::ctrl_c().await;
    "Ctrl-C"
}

/// Tells running work to stop.
pub(super) struct Stop(watch::Receiver<bool>);

impl Stop {
    pub(super) fn is_wanted(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits for the stop.
    pub(super) async fn wanted(&self) {
        let mut wanted = self.0.clone();
        // An error means that the sender is gone, so no stop can follow.
        if wanted.wait_for(|wanted| *wanted).await.is_err() {
            std::future::pending().await
        }
    }

    /// Waits that long and returns `true`, or returns `false` at once at a stop.
    pub(super) async fn sleep(&self, wait: Duration) -> bool {
        tokio::select! {
            biased;
            () = self.wanted() => false,
            () = tokio::time::sleep(wait) => true,
        }
    }

    /// Creates a stop with its sender.
    #[cfg(test)]
    pub(super) fn told() -> (watch::Sender<bool>, Self) {
        let (stop, wanted) = watch::channel(false);
        (stop, Self(wanted))
    }
}

/// Runs the work. At a first signal it tells the work to stop, and prints `meaning`. A second signal drops the work and
/// returns `None`.
pub(super) async fn until_hurried<T>(meaning: &str, work: impl AsyncFnOnce(Stop) -> T) -> Option<T> {
    let (stop, wanted) = watch::channel(false);
    let signals = async {
        let signal = interrupted().await;
        eprintln!("redrive: {signal}: {meaning}; press again to end now");
        stop.send_replace(true);
        interrupted().await;
    };
    tokio::select! {
        done = work(Stop(wanted)) => Some(done),
        () = signals => None,
    }
}
