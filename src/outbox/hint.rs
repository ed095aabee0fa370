//! A word that there may be something to send. It may be lost, and then it is found by looking.

use std::time::Duration;

use sqlx::postgres::PgListener;
use tokio::time::timeout;

/// Who tells of committed rows, if anyone does.
pub struct Hint(Option<PgListener>);

impl Hint {
    pub(super) fn none() -> Self {
        Self(None)
    }

    pub(super) fn of(listener: PgListener) -> Self {
        Self(Some(listener))
    }

    /// Waits for a word, no longer than that.
    pub(super) async fn word_within(&mut self, time: Duration) {
        // Who waits longer looks for itself.
        let _ = timeout(time, self.word()).await;
    }

    async fn word(&mut self) {
        let Some(listener) = &mut self.0 else { return std::future::pending().await };
        // It connects anew by itself. What was said meanwhile is lost, and that it may be is as good as a word.
        if let Err(error) = listener.recv().await {
            tracing::debug!(%error, "nobody tells of new rows any more; they are looked for");
            self.0 = None;
            return;
        }
        // Many transactions are one reason to look.
        while listener.next_buffered().is_some() {}
    }

    /// Whether somebody is there to give one.
    pub(super) fn is_none(&self) -> bool {
        self.0.is_none()
    }
}
