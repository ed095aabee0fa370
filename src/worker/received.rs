//! Runs the messages of one poll, from their receive until all are settled.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::Context;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::lease::Leases;
use super::permits::InFlight;
use super::recently_seen::MessageKey;
use super::settler::Receipt;
use super::shared::{Phase, Shared};
use crate::engine::{Cancel, Invocation, LeaseHolder, RecordSet, Settlement, Statuses, Wait};
use crate::moment::{Deadline, Moment};
use crate::record::{ReceivedMessage, ReceivedMessages, Records};

/// A message that is new and may run.
pub(super) struct Fresh {
    pub(super) key: MessageKey,
    pub(super) message: ReceivedMessage,
}

/// The messages of a poll, indexed by position.
struct Messages {
    shared: Arc<Shared>,
    leases: Leases,
    each: Vec<LeasedMessage>,
    /// Freed as messages end, so that others can run.
    in_flight: Mutex<InFlight>,
    /// Notified when a message is skipped.
    skipped: Notify,
    /// Notified when a message has ended.
    ended: Notify,
}

struct LeasedMessage {
    key: MessageKey,
    /// The position of the first message with the same id. Only that one runs, and its outcome applies to its copies.
    first: usize,
    stage: Mutex<RunStage>,
    /// The start of its handler.
    began: OnceLock<Instant>,
}

/// The progress of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RunStage {
    /// It may begin or be skipped. Both check and set the stage under one lock, so only one of them happens.
    Waiting,
    /// It will not run here and has to be released.
    Skipped,
    Running,
    /// Its handler has ended, and its outcome is being applied to the queue.
    Settling,
    Ended,
}

/// The running batches of all polls.
#[derive(Clone, Default)]
pub(super) struct RunningBatches(Arc<Mutex<JoinSet<()>>>);

impl RunningBatches {
    pub(super) fn spawn(&self, batch: impl Future<Output = ()> + Send + 'static) {
        let mut batches = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A `JoinSet` keeps finished tasks until they are joined.
        while batches.try_join_next().is_some() {}
        batches.spawn(batch);
    }

    /// Waits for all batches that have begun. Dropping the future cancels none of them.
    pub(super) async fn end(&self) {
        let next =
            |context: &mut Context<'_>| self.0.lock().unwrap_or_else(PoisonError::into_inner).poll_join_next(context);
        while poll_fn(next).await.is_some() {}
    }
}

/// Runs messages that were received at `received`, and settles them.
pub(super) async fn run(shared: Arc<Shared>, fresh: Vec<Fresh>, in_flight: InFlight, received: Moment) {
    let length = shared.queue.lease.as_duration();
    let ends = Deadline::after(received, length);
    let receipt = |fresh: &Fresh| Receipt::of(fresh.key.clone(), &fresh.message, ends);
    let receipts: Vec<_> = fresh.iter().map(receipt).collect();
    let (keys, messages): (Vec<_>, Vec<_>) = fresh.into_iter().map(|Fresh { key, message }| (key, message)).unzip();
    let records = Records::Received(ReceivedMessages::new(messages, shared.queue.source.arn().into()));
    let message = |(index, key)| LeasedMessage::new(key, records.copy_of(index).unwrap_or(index));
    let each = keys.into_iter().enumerate().map(message).collect();
    let leases = Leases::new(receipts, received, length);
    let (in_flight, skipped, ended) = (Mutex::new(in_flight), Notify::new(), Notify::new());
    let messages = Arc::new(Messages { shared: shared.clone(), leases, each, in_flight, skipped, ended });

    let invocation = Invocation {
        remaining: None,
        origin: Arc::new(()),
        handlers: shared.handlers.clone(),
        lease_holder: Some(messages.clone()),
        may_fail_as_a_whole: false,
    };
    let engine = shared.engine.clone().run(records, invocation);
    let visibility = shared.queue.visibility();
    let settled = async {
        let mut engine = pin!(engine);
        // A branch that is dropped here has taken no receipt without handing it over: see `Messages::release`.
        let left = tokio::select! {
            statuses = &mut engine => statuses.not_done(),
            () = messages.give_back_skipped() => messages.at(|_| true),
            () = shared.until(Phase::Cancelling) => {
                messages.cut_off(engine).await;
                messages.at(|_| true)
            }
        };
        messages.release(&left).await;
    };
    // Heartbeats run to the very end: a heartbeat that is dropped halfway may still arrive and hide a message that was
    // released.
    tokio::select! {
        () = settled => {}
        () = messages.leases.keep(&visibility, shared.resumed.subscribe()) => {}
    }
}

impl LeasedMessage {
    fn new(key: MessageKey, first: usize) -> Self {
        Self { key, first, stage: Mutex::new(RunStage::Waiting), began: OnceLock::new() }
    }
}

impl RunStage {
    /// Notes that the handler has ended. Returns whether its outcome may be applied.
    fn settles(&mut self) -> bool {
        if *self == Self::Running {
            *self = Self::Settling;
        }
        *self == Self::Settling
    }

    /// Discards the outcome of a running handler. A message that is being settled stays as it is.
    fn cut_off(&mut self) {
        if *self == Self::Running {
            *self = Self::Skipped;
        }
    }
}

impl Messages {
    fn look<T>(&self, index: usize, look: impl FnOnce(&mut RunStage) -> T) -> T {
        // No user code runs under this lock, so its data is valid even if it is poisoned.
        look(&mut self.each[index].stage.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns the stage of the run that decides about this message.
    fn stage(&self, index: usize) -> RunStage {
        self.look(self.each[index].first, |stage| *stage)
    }

    /// Returns the positions of the messages whose stage matches.
    fn at(&self, stage: impl Fn(RunStage) -> bool) -> Vec<usize> {
        (0..self.each.len()).filter(|&index| stage(self.stage(index))).collect()
    }

    /// Records how long the handler of that message ran.
    fn note_run_time(&self, index: usize) {
        if let Some(began) = self.each[index].began.get() {
            self.shared.run_times.note(began.elapsed());
        }
    }

    /// Skips the message if it has not begun.
    fn skip(&self, index: usize) {
        self.look(index, |stage| {
            if *stage == RunStage::Waiting {
                *stage = RunStage::Skipped;
            }
        });
    }

    /// Releases skipped messages while others run. Never returns.
    async fn give_back_skipped(&self) {
        loop {
            self.skipped.notified().await;
            self.release(&self.at(|stage| stage == RunStage::Skipped)).await;
        }
    }

    /// Cancels the running handlers and releases their messages. Messages whose handlers have ended are settled
    /// meanwhile, so that they neither run again nor are lost.
    async fn cut_off(&self, engine: Pin<&mut impl Future<Output = Statuses>>) {
        tracing::warn!("the drain timeout is over; running handlers are cancelled, and their messages are released");
        for index in 0..self.each.len() {
            self.look(index, RunStage::cut_off);
        }
        let running = self.at(|stage| stage != RunStage::Settling);
        self.leases.cut_off(&running);
        let settled = async {
            tokio::select! {
                _ = engine => {}
                // Handlers that block their thread never end, so the engine alone is not waited for.
                () = self.nothing_settles() => {}
            }
        };
        tokio::join!(self.release(&running), settled);
    }

    /// Waits until no message is being settled.
    async fn nothing_settles(&self) {
        loop {
            let mut ended = pin!(self.ended.notified());
            ended.as_mut().enable();
            if self.at(|stage| stage == RunStage::Settling).is_empty() {
                return;
            }
            ended.await;
        }
    }

    /// Makes those messages visible that are neither settled nor lost. The future may be dropped and called again: it
    /// takes receipts and hands them over in one step without an await.
    async fn release(&self, indices: &[usize]) {
        let permits = self.shared.settler.permits(indices.len()).await;
        let receipts = self.leases.take(indices).await;
        self.shared.settler.release(permits, receipts);
        indices.iter().for_each(|&index| self.end(index));
    }

    /// Notes that the message has ended.
    fn end(&self, index: usize) {
        let stage = self.look(index, |stage| std::mem::replace(stage, RunStage::Ended));
        // A message that had already ended may have been received again since.
        if stage != RunStage::Ended {
            self.shared.recently_seen().ended(&self.each[index].key);
            self.in_flight.lock().unwrap_or_else(PoisonError::into_inner).one_ended();
        }
        self.ended.notify_waiters();
    }

    /// Deletes a processed message and its copies. Returns whether the rest of its group may run.
    async fn delete(&self, set: &RecordSet) -> bool {
        let shared = &self.shared;
        shared.recently_seen().done(&self.each[set.index].key, Instant::now());
        let permits = shared.settler.permits(1 + set.copies.len()).await;
        let all = set.copies.iter().chain([&set.index]);
        let receipts = all.map(|&index| self.leases.receipt(index)).collect();
        if shared.queue.source.is_fifo() {
            // The delete has to be confirmed before the next message of the group runs. If this process died after
            // that, the message would otherwise return behind its successor.
            return shared.settler.delete_all(permits, receipts).await;
        }
        shared.settler.delete(permits, receipts);
        true
    }
}

impl LeaseHolder for Messages {
    fn may_start(&self, index: usize) -> bool {
        self.look(index, |stage| {
            let may_start = *stage == RunStage::Waiting && self.shared.may_begin() && self.leases.is_ours(index);
            if may_start {
                *stage = RunStage::Running;
                self.each[index].began.get_or_init(Instant::now);
            }
            may_start
        })
    }

    fn skipped(&self, set: &RecordSet) {
        for &index in [&set.index].into_iter().chain(&set.behind) {
            self.skip(index);
        }
        self.skipped.notify_one();
    }

    fn lease_lost(&self, index: usize) -> Wait<'_, Cancel> {
        Box::pin(self.leases.lost(index))
    }

    fn begin_settling(&self, index: usize) -> bool {
        self.note_run_time(index);
        self.look(index, RunStage::settles) && self.leases.is_ours(index)
    }

    fn stop_heartbeat<'a>(&'a self, set: &'a RecordSet) -> Wait<'a, bool> {
        self.note_run_time(set.index);
        if !self.look(set.index, RunStage::settles) {
            // The cancellation came before the handler ended: the message has been released or will be.
            self.leases.cut_off(&[set.index]);
        }
        Box::pin(self.leases.stop_heartbeat(set.index, &set.copies, &set.behind))
    }

    fn lease_end(&self, index: usize) -> Deadline {
        match self.stage(index) {
            // It is being released or was: another consumer may receive it at any time.
            RunStage::Skipped | RunStage::Ended => Deadline::at(Instant::now()),
            RunStage::Waiting | RunStage::Running | RunStage::Settling => self.leases.end_of(index),
        }
    }

    fn max_delay(&self) -> Duration {
        self.leases.max_delay()
    }

    fn settle<'a>(&'a self, set: &'a RecordSet, settlement: Settlement) -> Wait<'a, bool> {
        Box::pin(async move {
            let goes_on = match settlement {
                Settlement::Delete | Settlement::DeadLettered => {
                    self.leases.resume_heartbeat(&set.behind);
                    self.delete(set).await
                }
                Settlement::Retry | Settlement::Delayed | Settlement::LeaseLost => false,
            };
            for &index in set.copies.iter().chain([&set.index]) {
                self.end(index);
            }
            if goes_on {
                return true;
            }
            match settlement {
                // The queue has delayed them together with the head of their group.
                Settlement::Delayed => {
                    self.leases.take(&set.behind).await;
                    set.behind.iter().for_each(|&index| self.end(index));
                }
                Settlement::Delete | Settlement::DeadLettered | Settlement::Retry | Settlement::LeaseLost => {
                    self.release(&set.behind).await;
                }
            }
            false
        })
    }
}

impl fmt::Debug for Messages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Messages").field("len", &self.each.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::moment::set_wall_clock_ahead;
    use crate::worker::WorkerSettings;
    use crate::worker::handle::WorkerHandle;
    use crate::worker::health::Health;
    use redrive_local::Sqs;

    async fn messages() -> Messages {
        let client = Sqs::new().client();
        let url = client.create_queue().queue_name("orders").send().await.unwrap().queue_url.unwrap();
        let engine = crate::handler(|| async {}).engine();
        let health = Arc::new(Health::new(WorkerHandle::default()));
        let shared = Shared::begin(engine, &client, url, WorkerSettings::default(), health).await.unwrap();
        let key = MessageKey::of("m");
        let (now, length) = (Moment::now(), Duration::from_secs(30));
        let receipt = Receipt { key: key.clone(), receipt_handle: "r".to_owned(), ends: Deadline::after(now, length) };
        let leases = Leases::new([receipt], now, length);
        let each = vec![LeasedMessage::new(key, 0)];
        let in_flight = Mutex::new(shared.permits.in_flight(shared.permits.grant().await.permits, each.len()));
        Messages { shared, leases, each, in_flight, skipped: Notify::new(), ended: Notify::new() }
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_whose_lease_ended_during_a_suspension_does_not_begin() {
        let messages = messages().await;
        set_wall_clock_ahead(Duration::from_secs(3_600));
        assert!(!messages.may_start(0), "another consumer may have it");
    }

    #[tokio::test]
    async fn a_message_does_not_begin_after_the_cut() {
        let messages = messages().await;
        messages.shared.enter(Phase::Cancelling);
        assert!(!messages.may_start(0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_closing_worker_begins_only_messages_that_can_end_before_the_cut() {
        const SECOND: Duration = Duration::from_secs(1);
        for (longest, begins) in [(Duration::ZERO, true), (4 * SECOND, true), (5 * SECOND, false)] {
            let messages = messages().await;
            messages.shared.run_times.note(longest);
            messages.shared.close_by(Instant::now() + 5 * SECOND);
            assert_eq!(messages.may_start(0), begins, "other messages took {longest:?}");
        }
        let messages = messages().await;
        messages.shared.close_by(Instant::now() + SECOND);
        tokio::time::advance(SECOND).await;
        assert!(!messages.may_start(0), "there is no time left");
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_of_a_run_is_the_expected_time_of_the_next_one() {
        let messages = messages().await;
        assert!(messages.may_start(0));
        tokio::time::advance(Duration::from_secs(7)).await;
        assert!(messages.begin_settling(0));
        assert_eq!(messages.shared.run_times.expected(), Duration::from_secs(7));
    }

    #[tokio::test]
    async fn a_skipped_message_does_not_begin() {
        let messages = messages().await;
        messages.skip(0);
        assert!(!messages.may_start(0), "the worker was open when the caller looked");
        assert_eq!(messages.stage(0), RunStage::Skipped);
    }

    #[tokio::test]
    async fn a_running_message_is_not_skipped() {
        let messages = messages().await;
        assert!(messages.may_start(0));
        messages.skip(0);
        assert_eq!(messages.stage(0), RunStage::Running);
    }

    #[tokio::test]
    async fn a_skipped_message_is_not_delayed_with_the_head_of_its_group() {
        let messages = messages().await;
        assert!(!messages.lease_end(0).is_over());
        messages.skip(0);
        assert!(messages.lease_end(0).is_over(), "another consumer may have it");
    }

    #[tokio::test]
    async fn a_message_whose_handler_ends_after_the_cut_is_released_without_effects() {
        let messages = messages().await;
        assert!(messages.may_start(0));
        messages.look(0, RunStage::cut_off);
        let set = RecordSet { index: 0, copies: Vec::new(), behind: Vec::new() };
        assert!(!messages.begin_settling(0) && !messages.stop_heartbeat(&set).await, "the message has to be released");
        assert_eq!(messages.leases.take(&[0]).await.len(), 1);
    }

    /// Returns whether a release completes that is dropped at its first wait.
    async fn release_at_once(messages: &Messages) -> bool {
        tokio::time::timeout(Duration::ZERO, messages.release(&[0])).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn a_release_that_is_dropped_takes_no_lease() {
        let messages = messages().await;
        let mut permits = Vec::new();
        for _ in 0..100 {
            permits.push(messages.shared.settler.permits(10).await);
        }
        assert!(!release_at_once(&messages).await && messages.leases.is_ours(0));
        drop(permits);
        assert!(release_at_once(&messages).await && !messages.leases.is_ours(0));
    }
}
