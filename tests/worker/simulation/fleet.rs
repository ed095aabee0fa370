//! Runs workers and mappings on one queue, injects faults, and replaces hosts that end.

use std::collections::BTreeSet;
use std::time::Duration;

use aws_sdk_sqs::types::SendMessageBatchRequestEntry as Entry;
use redrive::{Backoff, Effects, HandlerKind, Worker};
use redrive_local::{Faults, Kit, TestQueue};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tracing::subscriber::DefaultGuard;

use super::GROUPS;
use super::book::{Book, Shared};
use super::handlers::{is_poison, number_of, place, store};
use super::host::Host;
use crate::kit::secs;
use crate::log;

/// The visibility timeout of the queue and of most hosts.
const VISIBILITY_TIMEOUT: Duration = secs(30);

/// The number of hosts. Two of them are mappings, and every other worker has a batch handler.
const SLOTS: usize = 6;
const MAPPINGS: usize = 2;

/// An outage lasts longer than any visibility timeout.
const OUTAGE: Duration = secs(45);

/// The average time between two faults.
const EVERY: Duration = secs(8);

/// Returns the lease of the host in that slot.
fn lease(slot: usize) -> Duration {
    if slot >= MAPPINGS && slot.is_multiple_of(3) { secs(10) } else { VISIBILITY_TIMEOUT }
}

pub(super) struct Fleet {
    kit: Kit,
    queue: TestQueue,
    book: Shared,
    random: fastrand::Rng,
    running: Vec<Running>,
    /// The number of hosts that have begun.
    hosts: usize,
    /// Workers that are shutting down.
    ending: Vec<JoinHandle<()>>,
    messages: usize,
    _log: DefaultGuard,
}

struct Running {
    slot: usize,
    host: Host,
    task: JoinHandle<()>,
    /// The shutdown of a worker. A mapping has no shutdown.
    shutdown: Option<oneshot::Sender<()>>,
}

/// Returns the faults of the queue. A FIFO queue never hands out duplicates.
fn faults(is_fifo: bool) -> Faults {
    Faults::none()
        .duplicates(if is_fifo { 0.0 } else { 0.01 })
        .throttles(0.02)
        .lost_requests(0.01)
        .lost_answers(0.02)
        // Some answers take longer than an attempt waits.
        .slow_calls(0.03, secs(8))
        .failed_entries(0.02)
        .refused_entries(0.005)
}

impl Fleet {
    /// Starts the hosts on a queue with these messages.
    pub(super) async fn begin(name: &str, seed: u64, bodies: &[String]) -> Self {
        let kit = Kit::with_seed(seed);
        let is_fifo = name.ends_with(".fifo");
        let book = Shared::new(is_fifo.then_some(GROUPS));
        let listener = book.clone();
        let log = log::to(move |logged| listener.hear(&logged));
        // The receive limit is so high that SQS itself moves no message.
        let queue = kit.queue(name).visibility_timeout(VISIBILITY_TIMEOUT).max_receive_count(1_000);
        let queue = queue.create().await.unwrap();
        send(&queue, bodies, is_fifo).await;
        kit.set_faults(faults(is_fifo));
        let random = fastrand::Rng::with_seed(seed);
        let (running, ending, messages) = (Vec::new(), Vec::new(), bodies.len());
        let mut fleet = Self { kit, queue, book, random, running, hosts: 0, ending, messages, _log: log };
        (0..SLOTS).for_each(|slot| fleet.add(slot));
        fleet
    }

    /// Runs until the queue is empty, and injects one fault after another.
    pub(super) async fn run(mut self) -> Book {
        let kit = self.kit.clone();
        {
            let befalls = async {
                loop {
                    sleep(EVERY.mul_f64(2.0 * self.random.f64())).await;
                    self.trouble().await;
                }
            };
            tokio::select! {
                biased;
                () = kit.until_idle() => {}
                never = befalls => never,
            }
        }
        kit.set_faults(Faults::none());
        self.end().await;
        let mut book = self.book.close();
        self.assert_nothing_is_lost(&mut book);
        book
    }

    async fn trouble(&mut self) {
        let chosen = self.random.usize(..self.running.len());
        let name = match self.random.u32(..100) {
            0..30 => {
                let Running { slot, host, task, .. } = self.running.swap_remove(chosen);
                host.crash();
                task.abort();
                self.add(slot);
                "crash"
            }
            30..45 if self.running[chosen].shutdown.is_some() => {
                let Running { slot, task, shutdown, .. } = self.running.swap_remove(chosen);
                drop(shutdown);
                self.ending.push(task);
                self.add(slot);
                "shutdown"
            }
            45..72 => {
                let time = secs(self.random.u64(5..60));
                self.running[chosen].host.be_apart(time);
                "partition"
            }
            72..84 => {
                // From an unnoticeable pause to one that is longer than any visibility timeout.
                let time = secs(self.random.u64(1..90));
                self.running[chosen].host.be_suspended(time);
                "suspended"
            }
            84..96 => {
                let time = secs(self.random.u64(10..120));
                // An attempt waits for five seconds, so some answers come too late.
                let delay = Duration::from_millis(self.random.u64(50..4_500));
                self.running[chosen].host.be_late(time, delay);
                "late"
            }
            96.. => {
                let loses_all = self.random.bool();
                let outage = if loses_all { Faults::none().lost_answers(1.0) } else { Faults::none().throttles(1.0) };
                self.kit.set_faults(outage);
                sleep(OUTAGE).await;
                self.kit.set_faults(faults(self.queue.url().ends_with(".fifo")));
                "outage"
            }
            _ => return,
        };
        self.book.open().trouble(name);
    }

    /// Starts a new host in that slot.
    fn add(&mut self, slot: usize) {
        self.hosts += 1;
        let host = Host::new(self.hosts, self.book.clone());
        let client = host.client(self.queue.client());
        self.book.open().hosts.leases.insert(host.number, lease(slot));
        let effects = Effects::with_client(client.clone()).backoff(Backoff::exponential(secs(1)..secs(20)));
        let each = redrive::handler(place).concurrency(32);
        let (task, shutdown) = if slot < MAPPINGS {
            self.book.open().hosts.mappings.insert(host.number);
            let mapping = self.queue.mapping(each.effects(effects).with_state(host.clone())).client(client);
            let mapping = mapping.function_timeout(secs(25)).maximum_concurrency(2).run().unwrap();
            (tokio::spawn(mapping), None)
        } else if slot.is_multiple_of(2) {
            self.work(slot, each.effects(effects).with_state(host.clone()).worker(client, self.queue.url()))
        } else {
            let batch = redrive::batch(store).concurrency(2).chunk_size(slot).effects(effects);
            self.work(slot, batch.with_state(host.clone()).worker(client, self.queue.url()))
        };
        self.running.push(Running { slot, host, task, shutdown });
    }

    /// Starts a worker that runs until its shutdown.
    fn work<K: HandlerKind>(&self, slot: usize, worker: Worker<K>) -> (JoinHandle<()>, Option<oneshot::Sender<()>>) {
        let worker = worker.visibility_timeout(lease(slot)).drain_timeout(secs(5));
        let (shutdown, asked) = oneshot::channel::<()>();
        let asked = async move { asked.await.unwrap_or(()) };
        (tokio::spawn(async { worker.run_until(asked).await.unwrap() }), Some(shutdown))
    }

    /// Ends all running hosts. Each worker has to end in time, whatever faults it has seen.
    async fn end(&mut self) {
        for Running { task, shutdown, .. } in self.running.drain(..) {
            match shutdown {
                Some(shutdown) => {
                    drop(shutdown);
                    self.ending.push(task);
                }
                None => task.abort(),
            }
        }
        for worker in self.ending.drain(..) {
            timeout(secs(120), worker).await.expect("the worker does not end").unwrap();
        }
    }

    fn assert_nothing_is_lost(&self, book: &mut Book) {
        if book.settled.len() != self.messages {
            book.wrong.push(format!("of {} messages only {} are done or dead", self.messages, book.settled.len()));
        }
        let dead: BTreeSet<_> = self.queue.dead_letters().iter().map(|letter| number_of(&letter.body)).collect();
        let poison: BTreeSet<_> = (0..self.messages).filter(|number| is_poison(*number)).collect();
        if dead != poison {
            let (missing, healthy): (Vec<_>, Vec<_>) =
                (poison.difference(&dead).collect(), dead.difference(&poison).collect());
            book.wrong.push(format!(
                "poison messages that are not dead: {missing:?}; healthy messages that are dead: {healthy:?}"
            ));
        }
    }
}

/// Sends all messages before the first fault.
async fn send(queue: &TestQueue, bodies: &[String], is_fifo: bool) {
    for ten in bodies.chunks(10) {
        let entries = ten.iter().enumerate().map(|(position, body)| {
            let entry = Entry::builder().id(position.to_string()).message_body(body);
            let group = body.split('-').next().filter(|_| is_fifo).map(str::to_owned);
            let id = group.as_ref().map(|_| body.clone());
            entry.set_message_group_id(group).set_message_deduplication_id(id).build().unwrap()
        });
        let send = queue.client().send_message_batch().queue_url(queue.url()).set_entries(Some(entries.collect()));
        assert_eq!(send.send().await.unwrap().failed().len(), 0);
    }
}
