//! Collects entries of concurrent requests into batch calls, and repeats entries that may succeed later.

use std::future::Future;
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Backoff;
use super::entries::EntryError;
use super::limits::MAX_ENTRIES;

/// A batch call that accepts up to ten entries and returns a result for each.
pub trait BatchCall: Send + Sync + 'static {
    type Entry: Send + Sync + 'static;

    /// Makes the call. Results are by position, and positions are the entries' ids, because a message may be in a call
    /// twice.
    fn call(&self, entries: &[Self::Entry]) -> impl Future<Output = Vec<Result<(), EntryError>>> + Send;
}

/// How long the first entry of a call waits for others.
const LINGER: Duration = Duration::from_millis(5);

/// If a task lingers longer than this, nobody polls its runtime. The next entry starts another task.
const OVERDUE: Duration = Duration::from_secs(1);

/// The limit of attempts for an entry that may succeed later. The SDK also repeats a failed call itself.
const ATTEMPTS: u32 = 4;
/// The limits of the waits before the second and the last attempt.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_millis(400);

/// Collects entries into calls: a call is sent when it is full, or a few milliseconds after its first entry.
pub struct Coalescer<C: BatchCall> {
    inner: Arc<CoalescerInner<C>>,
}

struct CoalescerInner<C: BatchCall> {
    call: C,
    next: Mutex<NextCall<C::Entry>>,
}

/// The entries of the next call.
struct NextCall<E> {
    entries: Vec<PendingEntry<E>>,
    /// The turn of the task that sends them. A task whose call was sent already must not send the next one early.
    turn: u64,
    /// When that task started.
    since: Instant,
}

struct PendingEntry<E> {
    entry: E,
    reply: Reply,
}

/// Receives the result of an entry. If the entry is dropped because its runtime ended, the result is an error: its
/// outcome is unknown.
struct Reply(Option<ReplyFn>);

type ReplyFn = Box<dyn FnOnce(Result<(), EntryError>) + Send>;

impl Reply {
    fn send(mut self, result: Result<(), EntryError>) {
        if let Some(reply) = self.0.take() {
            reply(result);
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if let Some(reply) = self.0.take() {
            reply(Err(EntryError::MayPass("the runtime that should send it ended".to_owned())));
        }
    }
}

impl<C: BatchCall> Coalescer<C> {
    pub fn new(call: C) -> Self {
        let next = Mutex::new(NextCall { entries: Vec::new(), turn: 0, since: Instant::now() });
        Self { inner: Arc::new(CoalescerInner { call, next }) }
    }

    /// Sends the entry. The future returns its result. Dropping the future does not cancel the entry.
    pub fn submit(&self, entry: C::Entry) -> impl Future<Output = Result<(), EntryError>> + use<C> {
        let (sender, result) = oneshot::channel();
        // If sending the result fails, the caller was dropped.
        self.submit_then(entry, |result| drop(sender.send(result)));
        async { result.await.unwrap_or_else(|_| Err(EntryError::MayPass("its result was never reported".into()))) }
    }

    /// Sends the entry, then calls `reply` with the result. If the runtime ends first, the result is an error.
    pub fn submit_then(&self, entry: C::Entry, reply: impl FnOnce(Result<(), EntryError>) + Send + 'static) {
        self.inner.clone().add(PendingEntry { entry, reply: Reply(Some(Box::new(reply))) });
    }
}

impl<C: BatchCall> CoalescerInner<C> {
    fn add(self: Arc<Self>, waiting: PendingEntry<C::Entry>) {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        next.entries.push(waiting);
        if next.entries.len() == MAX_ENTRIES {
            let full = next.take();
            drop(next);
            tokio::spawn(async move { Box::pin(self.send(full)).await });
        } else if next.entries.len() == 1 || next.is_overdue() {
            let turn = next.next_turn();
            drop(next);
            tokio::spawn(Lingering { inner: self, turn }.run());
        }
    }

    /// Takes the waiting entries if that turn is not over.
    fn take_at(&self, turn: u64) -> Vec<PendingEntry<C::Entry>> {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        if next.turn == turn { next.take() } else { Vec::new() }
    }

    /// Sends the entries, and repeats those that may succeed later.
    async fn send(&self, waiting: Vec<PendingEntry<C::Entry>>) {
        let (mut entries, mut replies): (Vec<_>, Vec<_>) =
            waiting.into_iter().map(|each| (each.entry, each.reply)).unzip();
        let backoff = Backoff::exponential(FIRST_WAIT..LONGEST_WAIT);
        for attempt in 1.. {
            if entries.is_empty() {
                return;
            }
            let results = self.call.call(&entries).await;
            let mut again = (Vec::new(), Vec::new());
            for ((entry, reply), result) in entries.into_iter().zip(replies).zip(results) {
                match result {
                    Err(EntryError::MayPass(_)) if attempt < ATTEMPTS => {
                        again.0.push(entry);
                        again.1.push(reply);
                    }
                    result => reply.send(result),
                }
            }
            (entries, replies) = again;
            if !entries.is_empty() {
                tokio::time::sleep(backoff.delay(attempt)).await;
            }
        }
    }
}

impl<E> NextCall<E> {
    fn take(&mut self) -> Vec<PendingEntry<E>> {
        self.turn += 1;
        mem::take(&mut self.entries)
    }

    /// Starts the turn of another task, which sends the entries that wait then.
    fn next_turn(&mut self) -> u64 {
        self.turn += 1;
        self.since = Instant::now();
        self.turn
    }

    fn is_overdue(&self) -> bool {
        self.since.elapsed() >= OVERDUE
    }
}

/// The task that waits for more entries and then sends them. It owns the entries of its turn, so that a runtime that
/// ends drops both. Otherwise the entries would wait forever.
struct Lingering<C: BatchCall> {
    inner: Arc<CoalescerInner<C>>,
    turn: u64,
}

impl<C: BatchCall> Lingering<C> {
    async fn run(self) {
        tokio::time::sleep(LINGER).await;
        let lingered = self.inner.take_at(self.turn);
        // The future is boxed because it is large and most tasks find that their call was sent already.
        if !lingered.is_empty() {
            Box::pin(self.inner.send(lingered)).await;
        }
    }
}

impl<C: BatchCall> Drop for Lingering<C> {
    fn drop(&mut self) {
        drop(self.inner.take_at(self.turn));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::future::poll_fn;
    use std::pin::pin;
    use std::task::Poll;

    use tokio::runtime::{Builder, Runtime};

    use super::*;

    /// Records each call's entries and its time after the first call. It gives the answers that it was created with, and
    /// then answers with success.
    #[derive(Clone)]
    struct Noted {
        begun: Instant,
        calls: Arc<Mutex<Vec<NotedCall>>>,
        answers: Arc<Mutex<VecDeque<CallResults>>>,
    }

    type NotedCall = (Duration, Vec<u32>);
    type CallResults = Vec<Result<(), EntryError>>;

    impl BatchCall for Noted {
        type Entry = u32;

        async fn call(&self, entries: &[u32]) -> CallResults {
            self.calls.lock().unwrap().push((self.begun.elapsed(), entries.to_vec()));
            self.answers.lock().unwrap().pop_front().unwrap_or_else(|| vec![Ok(()); entries.len()])
        }
    }

    impl Noted {
        fn answering(answers: impl IntoIterator<Item = CallResults>) -> Self {
            let answers = Arc::new(Mutex::new(answers.into_iter().collect()));
            Self { begun: Instant::now(), calls: Arc::default(), answers }
        }

        fn entries(&self) -> Vec<Vec<u32>> {
            self.calls.lock().unwrap().iter().map(|(_, entries)| entries.clone()).collect()
        }
    }

    async fn submit_all(noted: &Noted, entries: impl IntoIterator<Item = u32>) -> CallResults {
        let coalescer = Coalescer::new(noted.clone());
        let submitted: Vec<_> = entries.into_iter().map(|entry| coalescer.submit(entry)).collect();
        let mut results = Vec::new();
        for each in submitted {
            results.push(each.await);
        }
        results
    }

    fn may_pass() -> Result<(), EntryError> {
        Err(EntryError::MayPass("busy".into()))
    }

    fn never() -> Result<(), EntryError> {
        Err(EntryError::SenderFault("no".into()))
    }

    #[tokio::test(start_paused = true)]
    async fn ten_entries_are_sent_at_once_and_fewer_after_lingering() {
        let noted = Noted::answering([]);
        assert!(submit_all(&noted, 0..23).await.iter().all(Result::is_ok));
        assert_eq!(noted.entries(), [(0..10).collect::<Vec<_>>(), (10..20).collect(), (20..23).collect()]);
        let times: Vec<_> = noted.calls.lock().unwrap().iter().map(|(time, _)| *time).collect();
        assert_eq!(times[..2], [Duration::ZERO; 2]);
        assert!((LINGER..LINGER * 2).contains(&times[2]), "{times:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn only_entries_that_may_succeed_are_sent_again() {
        let noted = Noted::answering([vec![Ok(()), never(), may_pass()], vec![may_pass()]]);
        assert_eq!(submit_all(&noted, [1, 2, 3]).await, [Ok(()), never(), Ok(())]);
        assert_eq!(noted.entries(), [vec![1, 2, 3], vec![3], vec![3]]);
    }

    #[tokio::test(start_paused = true)]
    async fn attempts_are_limited() {
        let noted = Noted::answering((0..100).map(|_| vec![may_pass()]));
        assert_eq!(submit_all(&noted, [1]).await, [may_pass()]);
        assert_eq!(noted.entries().len(), ATTEMPTS as usize);
    }

    #[tokio::test(start_paused = true)]
    async fn task_of_a_sent_call_does_not_send_the_next_one_early() {
        let noted = Noted::answering([]);
        let coalescer = Coalescer::new(noted.clone());
        let first: Vec<_> = (0..9).map(|entry| coalescer.submit(entry)).collect();
        // The timer of these entries has started. One more entry fills their call, and another one starts a call with
        // its own timer.
        tokio::time::sleep(LINGER / 2).await;
        let (_full, next) = (coalescer.submit(9), coalescer.submit(10));
        next.await.unwrap();
        drop(first);
        let times: Vec<_> = noted.calls.lock().unwrap().iter().map(|(time, _)| *time).collect();
        assert!(times[1] >= LINGER / 2 + LINGER, "{times:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn entry_is_sent_after_its_caller_was_dropped() {
        let noted = Noted::answering([]);
        drop(Coalescer::new(noted.clone()).submit(7));
        tokio::time::sleep(LINGER * 2).await;
        assert_eq!(noted.entries(), [vec![7]]);
    }

    fn runtime() -> Runtime {
        Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
    }

    /// Polls the future once and returns its output if it has ended.
    async fn poll_once<F: Future>(future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        poll_fn(|context| match future.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => Poll::Ready(None),
        })
        .await
    }

    #[test]
    fn entries_of_an_ended_runtime_fail_and_later_ones_are_sent() {
        let (first, second) = (runtime(), runtime());
        let noted = second.block_on(async { Noted::answering([]) });
        let coalescer = Coalescer::new(noted.clone());
        let left: Vec<_> = first.block_on(async { (0..3).map(|entry| coalescer.submit(entry)).collect() });
        drop(first);
        second.block_on(async {
            for each in left {
                let result = poll_once(each).await.expect("its result is there already");
                assert!(matches!(&result, Err(EntryError::MayPass(why)) if why.contains("runtime")), "{result:?}");
            }
            assert_eq!(tokio::time::timeout(LINGER * 2, coalescer.submit(7)).await, Ok(Ok(())));
        });
        assert_eq!(noted.entries(), [vec![7]], "a failed entry is not sent");
    }

    #[test]
    fn entries_in_flight_fail_when_their_runtime_ends() {
        struct EndlessCall;
        impl BatchCall for EndlessCall {
            type Entry = u32;

            async fn call(&self, _: &[u32]) -> CallResults {
                std::future::pending().await
            }
        }
        let (sender, results) = std::sync::mpsc::channel();
        let first = runtime();
        first.block_on(async {
            let coalescer = Coalescer::new(EndlessCall);
            (0..13).for_each(|entry| {
                let sender = sender.clone();
                coalescer.submit_then(entry, move |result| sender.send(result).unwrap());
            });
            tokio::time::sleep(LINGER * 2).await;
        });
        drop((first, sender));
        let results: Vec<_> = results.iter().collect();
        assert!(results.len() == 13 && results.iter().all(Result::is_err), "{results:?}");
    }

    #[test]
    fn entries_of_an_unpolled_runtime_are_sent_with_the_next_ones() {
        let (first, second) = (runtime(), runtime());
        let noted = second.block_on(async { Noted::answering([]) });
        let coalescer = Coalescer::new(noted.clone());
        let left = {
            let _entered = first.enter();
            coalescer.submit(1)
        };
        second.block_on(async {
            tokio::time::sleep(OVERDUE).await;
            assert_eq!(tokio::time::timeout(LINGER * 2, coalescer.submit(2)).await, Ok(Ok(())));
            assert_eq!(left.await, Ok(()));
        });
        assert_eq!(noted.entries(), [vec![1, 2]]);
    }
}
