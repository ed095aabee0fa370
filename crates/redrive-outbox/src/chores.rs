//! A relay's periodic work apart from sending. No message waits for it.

use std::time::Duration;

use sqlx::Pool;
use tokio::time::{Instant, sleep_until};

use super::OutboxDatabase;
use super::access::{Access, WHOLE_TABLE_TIMEOUT};
use super::settings::Settings;
use super::stop::Stop;
use super::store::OutboxStatus;

/// How many rows one statement deletes. A statement that deletes a million rows locks all of them.
const CLEANED: usize = 1_000;
const CLEAN_EVERY: Duration = Duration::from_secs(10);
/// How often held rows are released and rows are counted. Both read all waiting and held rows.
const TIDY_EVERY: Duration = Duration::from_secs(60);

pub(super) struct Chores<DB: OutboxDatabase> {
    access: Access<DB>,
    clean_at: Instant,
    tidy_at: Instant,
}

impl<DB: OutboxDatabase> Chores<DB> {
    pub(super) fn new(pool: &Pool<DB>) -> Self {
        let now = Instant::now();
        // Chores have their own connection, so that passes do not wait for them.
        Self { access: Access::once(pool, WHOLE_TABLE_TIMEOUT), clean_at: now, tidy_at: now }
    }

    /// Runs the chores periodically until a stop. The future never completes; its caller drops it.
    pub(super) async fn go_on(&mut self, settings: &Settings, stop: &Stop) {
        while !stop.is_set() {
            self.do_all(settings, stop).await;
            stop.unless_set(sleep_until(self.clean_at.min(self.tidy_at))).await;
        }
        std::future::pending().await
    }

    /// Runs the chores that are due.
    pub(super) async fn do_all(&mut self, settings: &Settings, stop: &Stop) {
        if self.tidy_at <= Instant::now() {
            self.tidy_at = Instant::now() + TIDY_EVERY;
            log_failure(DB::release_held(&self.access, settings.policy.when_parked.holds()).await);
            log_failure(DB::status(&self.access).await.map(|status| report(&status)));
        }
        if self.clean_at <= Instant::now() {
            self.clean(settings, stop).await;
            self.clean_at = Instant::now() + CLEAN_EVERY;
        }
    }

    /// Deletes old rows in parts.
    async fn clean(&self, settings: &Settings, stop: &Stop) {
        while !stop.is_set() {
            let cleaned = DB::clean(&self.access, settings.keep_sent, CLEANED).await;
            let is_all = cleaned.as_ref().map_or(true, |&rows| rows < CLEANED as u64);
            log_failure(cleaned.map(drop));
            if is_all {
                return;
            }
        }
    }
}

fn report(status: &OutboxStatus) {
    let OutboxStatus { pending, held, parked, lag } = *status;
    let lag_s = lag.unwrap_or_default().as_secs_f64();
    if parked > 0 {
        tracing::warn!(
            pending,
            held,
            parked,
            lag_s,
            "the outbox has parked messages; run `redrive outbox parked` to list them"
        );
    } else {
        tracing::info!(pending, held, parked, lag_s, "the outbox");
    }
}

fn log_failure(result: Result<(), sqlx::Error>) {
    if let Err(error) = result {
        tracing::warn!(%error, "a chore of the relay failed in the outbox's database; it is repeated later");
    }
}
