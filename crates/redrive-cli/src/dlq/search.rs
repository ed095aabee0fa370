//! Searches a dead-letter queue, and looks at each message once.

use std::time::Duration;

use tokio::time::Instant;

use super::browse::{BrowseSession, Look};
use super::dead_letter::DeadLetter;
use super::filter::Filter;
use crate::interrupt::Stop;

/// The end of a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SearchEnd {
    /// No more messages are visible, or all wanted ones were found.
    Seen,
    Interrupted,
    /// SQS hides no further message, so it shows no new one.
    Full,
}

/// How many empty receives in a row lead to a check of the counts.
const EMPTY_RECEIVES: u32 = 3;
/// How many receives in a row may return only messages that are known or late. They could continue forever.
const RECEIVES_WITHOUT_FRESH: u32 = 50;
/// The counts of SQS are correct after about a minute.
const COUNT_LAG: Duration = Duration::from_secs(60);
/// The wait between two checks of the counts.
const COUNT_WAIT: Duration = Duration::from_secs(5);

impl Filter {
    /// Receives until all are found, up to a limit, and handles each batch before the next receive. Each message is
    /// looked at once, however long it takes. Messages that arrive after the start are left alone, because a message
    /// that was moved back may fail and return.
    pub(super) async fn search(
        &mut self,
        session: &mut BrowseSession<'_>,
        mut limit: usize,
        stop: &Stop,
        mut deal_with: impl AsyncFnMut(&mut BrowseSession<'_>, Vec<DeadLetter>) -> Result<(), String>,
    ) -> Result<SearchEnd, String> {
        let mut quiet = Quiet::default();
        while !self.is_found() && limit > 0 {
            if stop.is_wanted() {
                return Ok(SearchEnd::Interrupted);
            }
            let Look { mut fresh, received, is_full } = session.receive(limit, stop).await?;
            if is_full {
                return Ok(SearchEnd::Full);
            }
            if fresh.is_empty() {
                if quiet.is_the_end(received, session, stop).await {
                    return Ok(if stop.is_wanted() { SearchEnd::Interrupted } else { SearchEnd::Seen });
                }
                continue;
            }
            quiet = Quiet::default();
            limit = limit.saturating_sub(fresh.len());
            fresh.retain(|dead_letter| self.takes(dead_letter));
            if !fresh.is_empty() {
                deal_with(session, fresh).await?;
            }
        }
        Ok(SearchEnd::Seen)
    }
}

/// Counts receives without a new message since the last one.
#[derive(Default)]
struct Quiet {
    empty: u32,
    without_fresh: u32,
    since: Option<Instant>,
}

impl Quiet {
    /// Returns whether the search has ended after a receive with that many messages, none of them new. It waits while
    /// that is unknown.
    async fn is_the_end(&mut self, received: usize, session: &BrowseSession<'_>, stop: &Stop) -> bool {
        if received > 0 {
            (self.empty, self.without_fresh) = (0, self.without_fresh + 1);
            return self.without_fresh == RECEIVES_WITHOUT_FRESH;
        }
        self.empty += 1;
        if let Some(until) = session.lost_until() {
            return !stop.sleep(until - Instant::now()).await;
        }
        if !session.expects_more() || session.hides_others() {
            return true;
        }
        let since = *self.since.get_or_insert_with(Instant::now);
        if self.empty < EMPTY_RECEIVES {
            return false;
        }
        since.elapsed() >= COUNT_LAG || !session.counts_more().await || !stop.sleep(COUNT_WAIT).await
    }
}
