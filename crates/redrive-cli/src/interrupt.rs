//! Whether somebody wants to go home.

use std::time::Duration;

use tokio::sync::watch;

/// Waits for Ctrl-C, or for what a process manager sends in its place.
pub(super) async fn interrupted() -> &'static str {
    #[cfg(unix)]
    if let Ok(mut terminate) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        return tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = tokio::signal::ctrl_c() => "Ctrl-C",
        };
    }
    // Without a handler for it the signal ends the process, which is as good.
    let _ = tokio::signal::ctrl_c().await;
    "Ctrl-C"
}

/// Whether work is to come to its end.
pub(super) struct Stop(watch::Receiver<bool>);

impl Stop {
    pub(super) fn is_wanted(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until it is.
    pub(super) async fn wanted(&self) {
        let mut wanted = self.0.clone();
        // It is an error only where nobody is left to want it.
        if wanted.wait_for(|wanted| *wanted).await.is_err() {
            std::future::pending().await
        }
    }

    /// Waits that long. Returns at once, and `false`, where work is to come to its end.
    pub(super) async fn sleep(&self, wait: Duration) -> bool {
        tokio::select! {
            biased;
            () = self.wanted() => false,
            () = tokio::time::sleep(wait) => true,
        }
    }

    /// What is told once somebody wants it.
    #[cfg(test)]
    pub(super) fn told() -> (watch::Sender<bool>, Self) {
        let (stop, wanted) = watch::channel(false);
        (stop, Self(wanted))
    }
}

/// Does the work, which is told of a first signal, and says what that means. `None`: there was a second one, and the work was
/// dropped where it stood.
pub(super) async fn until_hurried<T>(meaning: &str, work: impl AsyncFnOnce(Stop) -> T) -> Option<T> {
    let (stop, wanted) = watch::channel(false);
    let signals = async {
        let signal = interrupted().await;
        eprintln!("redrive: {signal}: {meaning}; once more ends it now");
        stop.send_replace(true);
        interrupted().await;
    };
    tokio::select! {
        done = work(Stop(wanted)) => Some(done),
        () = signals => None,
    }
}
