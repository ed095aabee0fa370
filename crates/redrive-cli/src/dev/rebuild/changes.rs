//! When something changes in directories.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;
use tokio::time::timeout;

/// How long nothing more may change before it is looked what has. An editor that saves a file, and a checkout, change
/// many things one after the other.
const QUIET: Duration = Duration::from_millis(100);

/// How long it is waited for quiet. What changes without end is looked at while it changes.
const MOST: Duration = Duration::from_secs(2);

/// Tells that something may have changed. What it was has to be looked up: systems differ in what they tell, and at times
/// tell of nothing.
pub(super) struct Changes {
    watcher: RecommendedWatcher,
    happened: Arc<Notify>,
}

impl Changes {
    pub(super) fn new() -> Result<Self, notify::Error> {
        let happened = Arc::new(Notify::new());
        let teller = happened.clone();
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // To look for changes is an access, and must not be taken for one. After an error nobody knows.
            if !event.is_ok_and(|event| event.kind.is_access()) {
                teller.notify_one();
            }
        })?;
        Ok(Self { watcher, happened })
    }

    /// Watches directories, each without those in it. Those that are watched already may be others of the same name by
    /// now, and are watched anew.
    pub(super) fn watch<P: AsRef<Path>>(&mut self, directories: impl IntoIterator<Item = P>) -> Result<(), String> {
        for directory in directories {
            let directory = directory.as_ref();
            let watched = self.watcher.watch(directory, RecursiveMode::NonRecursive);
            // It may have been removed just now.
            if let Err(error) = watched
                && directory.exists()
            {
                return Err(format!("cannot watch {}: {error}", directory.display()));
            }
        }
        Ok(())
    }

    /// Resolves when something may have changed, and nothing does any more. What happened before it is dropped is lost, and what
    /// happens while nobody waits is not.
    pub(super) async fn settled(&self) {
        settled(&self.happened).await;
    }
}

async fn settled(happened: &Notify) {
    happened.notified().await;
    let quiet = async { while timeout(QUIET, happened.notified()).await.is_ok() {} };
    // Whether it has become quiet or not, it is time to look.
    let _ = timeout(MOST, quiet).await;
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, sleep};

    use super::*;

    /// How long something that changes so often, and so far apart, is waited for.
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
    async fn many_changes_are_one_when_it_has_become_quiet() {
        assert_eq!(waited(1, QUIET).await.as_millis(), 100);
        assert_eq!(waited(10, QUIET / 2).await.as_millis(), 9 * 50 + 100);
    }

    #[tokio::test(start_paused = true)]
    async fn what_never_becomes_quiet_is_looked_at_all_the_same() {
        assert_eq!(waited(1_000, QUIET / 2).await, MOST);
    }

    #[tokio::test(start_paused = true)]
    async fn what_changed_while_nobody_waited_is_told() {
        let happened = Notify::new();
        happened.notify_one();
        timeout(MOST, settled(&happened)).await.unwrap();
    }
}
