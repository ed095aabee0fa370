//! The lanes of a batch: few at first, and one more whenever a record waits.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::{Instrument, Span};

use super::board::Board;
use super::cut::Cut;
use super::effect::{Effect, Failed, Leased, Wish};
use super::guard::guard;
use super::keeper::{self, Keeper, Wait};
use super::report::{End, Run, Verdict};
use super::{Work, lane};
use crate::handler::Options;
use crate::moment::Deadline;
use crate::record::Record;

/// What all lanes of a batch have, and more of them.
///
/// A lane costs more than a record that does not wait. So at first there are as many as there are threads, and where a
/// record waits, another lane goes on in its place, up to as many as records may run at a time.
pub(super) struct Crew {
    pub(super) shared: Shared,
    /// When the batch is answered at the latest, if there is an end to it.
    cut: Option<Instant>,
    /// When handlers end, so that there is time left for effects. `None` where there are none, or where there is no end.
    handlers_end: Option<Instant>,
    work: Work,
    /// Where handlers run.
    pub(super) handlers: Handle,
    /// Where calls to the queue are made: with the host, whom no handler can block.
    host: Handle,
    span: Span,
    /// How many lanes there may be.
    limit: usize,
    begun: AtomicUsize,
    lanes: Mutex<JoinSet<()>>,
}

/// What a batch has to do with.
pub(super) struct Shared {
    pub(super) board: Arc<Board>,
    pub(super) options: Arc<Options>,
    pub(super) keeper: Option<Arc<dyn Keeper>>,
    pub(super) may_fail_as_a_whole: bool,
}

/// After so long there are all lanes: what blocks its thread by `block_in_place` never says that it waits.
const FEW_LANES: Duration = Duration::from_millis(5);

impl Crew {
    /// Begins the first lanes. They are to end by the cut.
    pub(super) fn begin(shared: Shared, cut: Option<Instant>, work: Work, handlers: Handle, span: Span) -> Lanes {
        let width = match &work {
            Work::Each(_) => shared.board.width(),
            Work::Chunks { size, .. } => shared.board.width().div_ceil(size.get()),
        };
        let limit = width.min(shared.options.concurrency);
        let at_first = match &shared.keeper {
            // They are few, and have the permits to run.
            Some(_) => limit,
            None => handlers.metrics().num_workers(),
        };
        let handlers_end = cut.filter(|_| shared.options.on_failure.is_some()).map(before_effects);
        let (begun, lanes) = (AtomicUsize::new(0), Mutex::default());
        let host = Handle::current();
        let crew = Arc::new(Self { shared, cut, handlers_end, work, handlers, host, span, limit, begun, lanes });
        let (working, ended) = mpsc::channel(1);
        let lanes = Lanes { crew: crew.clone(), working: working.downgrade(), ended };
        let place = Place { crew, _working: working };
        for _ in 0..at_first {
            place.one_more();
        }
        lanes
    }

    /// The next record that may run, if there is one and there is time for it.
    pub(super) fn next(&self) -> Option<usize> {
        if self.handlers_end.is_some_and(|end| Instant::now() >= end) {
            return None;
        }
        let Shared { board, keeper, .. } = &self.shared;
        loop {
            let index = board.next()?;
            match keeper {
                Some(keeper) if !keeper.admits(index) => {
                    keeper.refused(&board.place(index));
                    board.finish(index, false);
                }
                _ => return Some(index),
            }
        }
    }

    /// When the handler of that record is cut off.
    pub(super) fn cut(&self, index: usize) -> Cut<'_> {
        Cut { end: self.handlers_end, lost: self.shared.keeper.as_ref().map(|keeper| keeper.lost(index)) }
    }

    /// When the handler of a chunk is cut off: the time is over, or `lost` ends.
    pub(super) fn cut_of_chunk<'a>(&self, lost: Option<Wait<'a>>) -> Cut<'a> {
        Cut { end: self.handlers_end, lost }
    }

    /// Whether something may have to happen at the queue before the record is settled.
    pub(super) fn owes(&self, verdict: &Verdict) -> bool {
        let Shared { options, keeper, .. } = &self.shared;
        keeper.is_some() || (options.on_failure.is_some() && !verdict.passes())
    }

    /// Has happen what must, before the record in that place is settled.
    pub(super) async fn settle(&self, index: usize, run: &Run, verdict: Verdict) -> End {
        let wish = self.wish(run, &verdict);
        if let Some(keeper) = &self.shared.keeper {
            return self.settle_kept(&**keeper, index, run, verdict, wish).await;
        }
        if wish == Wish::Nothing {
            return verdict.end_without_effect(run);
        }
        let effect = self.take_effect(&self.shared.board.place(index), run, &verdict, wish).await;
        verdict.end(effect)
    }

    /// The same, where the record is ours only for as long as it is kept.
    async fn settle_kept(&self, keeper: &dyn Keeper, index: usize, run: &Run, verdict: Verdict, wish: Wish) -> End {
        let place = self.shared.board.place(index);
        let effect = match wish {
            // It takes its time, and touches no visibility: the record stays ours meanwhile, and what is behind it.
            Wish::DeadLetter(_) if keeper.ends(index) => {
                let effect = self.take_effect(&place, run, &verdict, wish).await;
                if !keeper.let_go(&place).await && effect == Effect::DeadLettered {
                    run.warn_of_a_lost_dead_letter();
                }
                effect
            }
            wish if keeper.let_go(&place).await => self.take_effect(&place, run, &verdict, wish).await,
            // Another one may have it by now: whatever is done to it would be done to theirs.
            _ => Effect::ComesBack,
        };
        let end = match self.shared.options.on_failure {
            Some(_) => verdict.end(effect),
            None => verdict.end_without_effect(run),
        };
        let goes_on = keeper.settle(&place, end.fate()).await;
        end.only_if(goes_on)
    }

    fn wish(&self, run: &Run, verdict: &Verdict) -> Wish {
        match &self.shared.options.on_failure {
            Some(on_failure) if !verdict.passes() => {
                let wish = on_failure.wish(&verdict.failure_of(run.record()));
                on_failure.remember_failure(run.record());
                wish
            }
            _ => Wish::Nothing,
        }
    }

    /// Where nobody keeps the record, its visibility may be changed until the batch is answered: from then on the process may be frozen,
    /// and what it sends afterwards may find the message with another consumer.
    fn leased(&self, index: usize, record: Record) -> Leased {
        let until = self.shared.keeper.as_ref().map(|keeper| keeper.lease_end(index));
        let until = until.or_else(|| self.cut.map(Deadline::at));
        Leased { record, until }
    }

    async fn take_effect(&self, place: &keeper::Place, run: &Run, verdict: &Verdict, wish: Wish) -> Effect {
        let Some(on_failure) = self.shared.options.on_failure.clone().filter(|_| wish != Wish::Nothing) else {
            return Effect::ComesBack;
        };
        let leased = |&index: &usize| self.leased(index, self.shared.board.ledger().record(index));
        let failed = Failed {
            head: self.leased(place.index, run.record().clone()),
            copies: place.copies.iter().map(leased).collect(),
            behind: place.behind.iter().map(leased).collect(),
            error: verdict.error.clone(),
            longest_delay: self.shared.keeper.as_ref().map(|keeper| keeper.longest_delay()),
            delete: self.shared.may_fail_as_a_whole,
        };
        let mut effect = JoinSet::new();
        effect
            .spawn_on(async move { on_failure.fulfil(wish, failed).await }.instrument(run.span().clone()), &self.host);
        match effect.join_next().await {
            Some(Ok(effect)) => effect,
            // It broke, or the host is gone: nobody knows of an effect.
            _ => Effect::ComesBack,
        }
    }
}

/// What is kept for effects of the time until the cut: as much as a slow call takes, and at most a quarter.
const EFFECT_TIME: Duration = Duration::from_secs(1);

fn before_effects(cut: Instant) -> Instant {
    cut - EFFECT_TIME.min(cut.saturating_duration_since(Instant::now()) / 4)
}

/// A lane's place in its crew.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) crew: Arc<Crew>,
    /// Dropped with the lane. Nothing is ever sent: to wake the host for every lane costs a batch of a thousand more than
    /// the lanes do.
    _working: mpsc::Sender<Infallible>,
}

impl Place {
    /// Begins another lane, if there may be one. Says whether there may.
    ///
    /// Lanes that have ended still count. A lane ends where no record is left for it, and none will be: records that
    /// stand in lines have no more lines at the end of one than before.
    fn one_more(&self) -> bool {
        let crew = &self.crew;
        let one_more = |begun| (begun < crew.limit).then_some(begun + 1);
        let begins = crew.begun.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok();
        if begins {
            // In a box, as it is large, and is handed on some times until it runs.
            let lane = Box::pin(lane::run(self.clone(), crew.work.clone()));
            let lane = guarded(lane.instrument(crew.span.clone()));
            crew.lanes.lock().unwrap_or_else(PoisonError::into_inner).spawn_on(lane, &crew.handlers);
        }
        begins
    }

    /// Waits for a run, while another lane goes on.
    pub(super) async fn wait<F: Future>(&self, mut run: Pin<&mut F>) -> F::Output {
        let mut waits = false;
        poll_fn(|context| {
            let poll = run.as_mut().poll(context);
            if poll.is_pending() && !waits {
                waits = true;
                self.one_more();
            }
            poll
        })
        .await
    }
}

async fn guarded(lane: impl Future<Output = ()>) {
    if let Err(error) = guard(pin!(Some(lane))).await {
        // Handlers have guards of their own: this is a fault of ours. The record that the lane had has failed.
        tracing::error!(%error, "a lane broke; what it had not finished is reported as failed");
    }
}

/// The lanes, for who waits for them. Those that have not ended when this is dropped are cancelled.
pub(super) struct Lanes {
    crew: Arc<Crew>,
    working: mpsc::WeakSender<Infallible>,
    /// Closed by the last lane that ends.
    ended: mpsc::Receiver<Infallible>,
}

impl Lanes {
    /// Waits for all lanes, but not beyond that time. Says whether all came to their end.
    pub(super) async fn end_by(&mut self, cut: Option<Instant>) -> bool {
        match cut {
            Some(cut) => timeout_at(cut, self.end()).await.is_ok(),
            None => {
                self.end().await;
                true
            }
        }
    }

    async fn end(&mut self) {
        // Where all have begun, as those of a worker have, it would be woken for nothing.
        let are_few = self.crew.begun.load(Ordering::Relaxed) < self.crew.limit;
        if are_few && timeout(FEW_LANES, self.ended.recv()).await.is_err() {
            self.begin_all();
        }
        self.ended.recv().await;
    }

    fn begin_all(&self) {
        // Nobody works any more where there is no sender left.
        let Some(working) = self.working.upgrade() else { return };
        let place = Place { crew: self.crew.clone(), _working: working };
        while place.one_more() {}
    }
}

impl Drop for Lanes {
    fn drop(&mut self) {
        self.crew.lanes.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
    }
}
