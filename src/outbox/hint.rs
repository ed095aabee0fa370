//! A word that there may be something to send. It may be lost, and then it is found by looking.

use std::time::Duration;

use sqlx::Pool;
use sqlx::postgres::PgListener;
use tokio::time::{Instant, timeout};

use super::store::Store;

/// Who tells of committed rows, if anyone does.
pub struct Hint(Option<PgListener>);

impl Hint {
    pub(super) fn none() -> Self {
        Self(None)
    }

    pub(super) fn of(listener: PgListener) -> Self {
        Self(Some(listener))
    }

    async fn word(&mut self) {
        let Some(listener) = &mut self.0 else { return std::future::pending().await };
        match listener.try_recv().await {
            // Many transactions are one reason to look.
            Ok(Some(_)) => while listener.next_buffered().is_some() {},
            // It has lost its connection, and has another. What was said meanwhile is lost, and that it may be is as good as a word.
            Ok(None) => {}
            Err(error) => {
                tracing::debug!(%error, "nobody tells of new rows any more; they are looked for");
                self.0 = None;
            }
        }
    }
}

/// Hints, from whoever tells of rows at the time.
pub(super) struct Hints {
    from: Hint,
    /// When to look for somebody, or never where the database knows of nobody.
    listen_at: Option<Instant>,
}

/// A database that has no connection left, or none for this, is not asked for one after each round.
const LISTEN_EVERY: Duration = Duration::from_secs(10);

impl Hints {
    pub(super) fn none() -> Self {
        Self { from: Hint::none(), listen_at: Some(Instant::now()) }
    }

    /// Looks for somebody where there is nobody, and it is time for that. Says whether there is somebody now.
    pub(super) async fn begin_to_listen<DB: Store>(&mut self, pool: &Pool<DB>) -> bool {
        if self.from.0.is_some() || self.listen_at.is_none_or(|at| at > Instant::now()) {
            return false;
        }
        self.listen_at = Some(Instant::now() + LISTEN_EVERY);
        match DB::listen(pool).await {
            Ok(Hint(None)) => self.listen_at = None,
            Ok(from) => self.from = from,
            Err(error) => tracing::debug!(%error, "nobody tells of new rows; they are looked for"),
        }
        self.from.0.is_some()
    }

    /// Waits for a word, no longer than that. Where somebody was to tell and does not, it waits until that is tried again.
    pub(super) async fn word_within(&mut self, time: Duration) {
        let until_listening = self.listen_at.filter(|_| self.from.0.is_none());
        let until_listening = until_listening.map(|at| at.saturating_duration_since(Instant::now()));
        let time = time.min(until_listening.unwrap_or(time));
        // Who waits longer looks for itself.
        let _ = timeout(time, self.from.word()).await;
    }

    /// Takes what has been said already: PostgreSQL keeps for all what one of its listeners does not take.
    pub(super) async fn drain(&mut self) {
        while self.from.0.is_some() && timeout(Duration::ZERO, self.from.word()).await.is_ok() {}
    }
}
