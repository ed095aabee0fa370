//! Watches directories for changes.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;
use tokio::time::timeout;

/// How long it must be quiet before the files are checked. An editor's save or a checkout changes many files in a row.
const QUIET: Duration = Duration::from_millis(100);

/// The limit of the wait for quiet. After that the files are checked while they change.
const MOST: Duration = Duration::from_secs(2);

/// Signals that something may have changed. The files have to be checked, because systems report different details, and
/// sometimes nothing.
pub(super) struct Changes {
    watcher: RecommendedWatcher,
    happened: Arc<Notify>,
}

impl Changes {
    pub(super) fn new() -> Result<Self, notify::Error> {
        let happened = Arc::new(Notify::new());
        let teller = happened.clone();
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Reading files to find changes is an access, which must not count as a change. After an error anything may
            // have changed.
            if !event.is_ok_and(|event| event.kind.is_access()) {
                teller.notify_one();
            }
        })?;
        Ok(Self { watcher, happened })
    }

    /// Watches directories without their subdirectories. Directories that are watched already are watched again,
    /// because they may have been replaced.
    pub(super) fn watch<P: AsRef<Path>>(&mut self, directories: impl IntoIterator<Item = P>) -> Result<(), String> {
        for directory in directories {
            let directory = directory.as_ref();
            let watched = self.watcher.watch(directory, RecursiveMode::NonRecursive);
            // The directory may have been removed just now.
            if let Err(error) = watched
                && directory.exists()
            {
                return Err(format!("cannot watch {}: {error}", directory.display()));
            }
        }
        Ok(())
    }

    /// Resolves when something may have changed and it is quiet. Changes while nobody waits are kept; changes during a
    /// dropped wait are lost.
    pub(super) async fn settled(&self) {
        settled(&self.happened).await;
    }
}

async fn settled(happened: &Notify) {
    happened.notified().await;
    let quiet = async { while timeout(QUIET, happened.notified()).await.is_ok() {} };
    // Quiet or not, it is time to check.
    let _ = timeout(MOST, quiet).await;
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, sleep};

    use super::*;

    /// Returns how long `settled` waits for changes with this number and distance.
    async fn waited(times: u32, apart: Duration) -> Duration {
        let (began, happened) = (Instant::now(), Notify::new());
        let changes = async {
            for _ in 0..times {
                happened.notify_one();
                sleep(apart).await;
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = settled(&happened) => began.elapsed(),
            () = changes => unreachable!(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn many_changes_are_one_after_it_is_quiet() {
        assert_eq!(waited(1, QUIET).await.as_millis(), 100);
        assert_eq!(waited(10, QUIET / 2).await.as_millis(), 9 * 50 + 100);
    }

    #[tokio::test(start_paused = true)]
    async fn endless_changes_are_reported_at_the_limit() {
        assert_eq!(waited(1_000, QUIET / 2).await, MOST);
    }

    #[tokio::test(start_paused = true)]
    async fn change_while_nobody_waits_is_reported() {
        let happened = Notify::new();
        happened.notify_one();
        timeout(MOST, settled(&happened)).await.unwrap();
    }
}
