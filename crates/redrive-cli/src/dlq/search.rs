//! Looks through a dead-letter queue, at each of its messages once.

use std::time::Duration;

use tokio::time::Instant;

use super::choice::Wanted;
use super::hold::{Hold, Look};
use super::letter::Letter;
use crate::interrupt::Stop;

/// How a search came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Nothing more can be seen, or all that was asked for was found.
    Seen,
    Interrupted,
    /// SQS hides no more messages, and so shows none that is not known.
    Full,
}

/// Receives without a message, one after the other, until the counts are asked whether there are more.
const EMPTY_RECEIVES: u32 = 3;
/// Receives that bring only what was met before, or came later. There may be no end to those.
const RECEIVES_WITHOUT_FRESH: u32 = 50;
/// The counts of SQS are right after about a minute.
const COUNT_LAG: Duration = Duration::from_secs(60);
/// Between two questions for them.
const COUNT_WAIT: Duration = Duration::from_secs(5);

impl Wanted {
    /// Receives until all are found, up to so many messages, and has each batch of them dealt with before the next is received. Each
    /// message is met once, however long that takes, and what comes after the beginning is left alone: what was moved back may
    /// fail again, and be here once more.
    pub(super) async fn search(
        &mut self,
        hold: &mut Hold<'_>,
        mut limit: usize,
        stop: &Stop,
        mut deal_with: impl AsyncFnMut(&mut Hold<'_>, Vec<Letter>) -> Result<(), String>,
    ) -> Result<End, String> {
        let mut quiet = Quiet::default();
        while !self.is_found() && limit > 0 {
            if stop.is_wanted() {
                return Ok(End::Interrupted);
            }
            let Look { mut fresh, received, is_full } = hold.receive(limit, stop).await?;
            if is_full {
                return Ok(End::Full);
            }
            if fresh.is_empty() {
                if quiet.is_the_end(received, hold, stop).await {
                    return Ok(if stop.is_wanted() { End::Interrupted } else { End::Seen });
                }
                continue;
            }
            quiet = Quiet::default();
            limit = limit.saturating_sub(fresh.len());
            fresh.retain(|letter| self.takes(letter));
            if !fresh.is_empty() {
                deal_with(hold, fresh).await?;
            }
        }
        Ok(End::Seen)
    }
}

/// Receives that have brought nothing new, since one has.
#[derive(Default)]
struct Quiet {
    empty: u32,
    without_fresh: u32,
    since: Option<Instant>,
}

impl Quiet {
    /// Whether there is nothing more, after another receive that brought so many messages, none of them new. Waits where that is
    /// not known yet.
    async fn is_the_end(&mut self, received: usize, hold: &Hold<'_>, stop: &Stop) -> bool {
        if received > 0 {
            (self.empty, self.without_fresh) = (0, self.without_fresh + 1);
            return self.without_fresh == RECEIVES_WITHOUT_FRESH;
        }
        self.empty += 1;
        if let Some(until) = hold.lost_until() {
            return !stop.sleep(until - Instant::now()).await;
        }
        if !hold.expects_more() || hold.hides_others() {
            return true;
        }
        let since = *self.since.get_or_insert_with(Instant::now);
        if self.empty < EMPTY_RECEIVES {
            return false;
        }
        since.elapsed() >= COUNT_LAG || !hold.counts_more().await || !stop.sleep(COUNT_WAIT).await
    }
}
