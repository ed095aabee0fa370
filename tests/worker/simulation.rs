//! A fleet of workers and a mapping on one queue, under every fault, crashes and restarts; and then the account must balance.
//!
//! `REDRIVE_SIMULATION_MESSAGES` and `REDRIVE_SIMULATION_SEED` change a run, as in the simulation of the mapping alone.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_sqs::types::SendMessageBatchRequestEntry as Entry;
use redrive::local::{Faults, Kit, TestQueue};
use redrive::{Body, MessageId, ReceiveCount, State};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::{Layer, Registry};

use crate::kit::secs;
use crate::setting::messages_and_seed;

const MESSAGES: usize = 100_000;
const GROUPS: usize = 200;
const WORKERS: usize = 4;

/// What a crash takes with it: what was done before it and is not deleted yet.
const BEFORE_A_CRASH: Duration = Duration::from_secs(120);

fn faults() -> Faults {
    Faults::none()
        .throttles(0.02)
        .lost_requests(0.01)
        .lost_answers(0.02)
        .slow_calls(0.02, secs(5))
        .duplicates(0.01)
        .failed_entries(0.02)
        .refused_entries(0.005)
}

/// One run of a handler.
#[derive(Clone, Debug)]
struct Run {
    id: String,
    body: String,
    /// Of which host it was.
    host: usize,
    ended: Option<(Instant, bool)>,
}

/// Every run, in the order in which they began.
#[derive(Clone, Debug, Default)]
struct Runs(Arc<Mutex<Vec<Run>>>);

#[derive(Clone)]
struct Host {
    number: usize,
    runs: Runs,
}

/// Fails one message in twenty at its first receives, panics at one in a thousand, and takes its time: now and then more than a
/// visibility timeout.
async fn place(
    MessageId(id): MessageId,
    Body(body): Body,
    ReceiveCount(count): ReceiveCount,
    State(host): State<Host>,
) -> Result<(), &'static str> {
    let number: usize = body.rsplit('-').next().and_then(|number| number.parse().ok()).ok_or("not a number")?;
    let index = {
        let mut runs = host.runs.0.lock().unwrap();
        runs.push(Run { id, body, host: host.number, ended: None });
        runs.len() - 1
    };
    let takes = if number % 500 == 3 && count == 1 { secs(40) } else { Duration::from_millis((number % 50) as u64) };
    sleep(takes).await;
    let fails = number % 20 == 7 && count < 3;
    host.runs.0.lock().unwrap()[index].ended = Some((Instant::now(), !fails));
    if number % 1_000 == 500 && count < 2 {
        host.runs.0.lock().unwrap()[index].ended = None;
        panic!("once");
    }
    if fails { Err("not yet") } else { Ok(()) }
}

/// What the log says of messages: why one of them may run once more.
#[derive(Clone, Default)]
struct Causes(Arc<Mutex<HashSet<String>>>);

struct MessageIds<'a>(&'a mut HashSet<String>);

impl Visit for MessageIds<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message_id" {
            self.0.insert(value.to_owned());
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message_id" {
            self.0.insert(format!("{value:?}").trim_matches('"').to_owned());
        }
    }
}

/// Lost leases, deletes that failed and injected duplicates; not what handlers themselves failed with.
const FROM: [&str; 3] = ["redrive::worker", "redrive::local", "redrive::batch::report"];

impl<S: tracing::Subscriber> Layer<S> for Causes {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        if FROM.iter().any(|from| event.metadata().target().starts_with(from)) {
            event.record(&mut MessageIds(&mut self.0.lock().unwrap()));
        }
    }
}

/// Sends all, and each again until it is accepted.
async fn send(queue: &TestQueue, messages: &[(Option<String>, String)]) {
    for ten in messages.chunks(10) {
        let mut left: Vec<_> = (0..ten.len()).collect();
        while !left.is_empty() {
            let entries = left.iter().map(|&position| {
                let (group, body) = &ten[position];
                let entry = Entry::builder().id(position.to_string()).message_body(body);
                let id = group.as_ref().map(|_| body.clone());
                entry.set_message_group_id(group.clone()).set_message_deduplication_id(id).build().unwrap()
            });
            let send = queue.client().send_message_batch().queue_url(queue.url());
            let Ok(answer) = send.set_entries(Some(entries.collect())).send().await else { continue };
            let sent: BTreeSet<_> = answer.successful().iter().map(|entry| entry.id().to_owned()).collect();
            left.retain(|position| !sent.contains(&position.to_string()));
        }
    }
}

/// A worker that runs, and crashes when this is aborted.
fn begin(queue: &TestQueue, runs: &Runs, number: usize) -> JoinHandle<()> {
    let consumer = redrive::handler(place).with_state(Host { number, runs: runs.clone() });
    let worker = consumer.worker(queue.client().clone(), queue.url());
    tokio::spawn(async { worker.run_until(std::future::pending()).await.unwrap() })
}

/// Workers that crash one after the other, and others that take their places. Gives back when each ended.
async fn crash_and_restart(queue: TestQueue, runs: Runs, crashes: Arc<Mutex<BTreeMap<usize, Instant>>>, plan: Plan) {
    let mut random = fastrand::Rng::with_seed(plan.seed);
    // Number 0 is the mapping.
    let mut workers: Vec<_> = (1..=WORKERS).map(|number| (number, begin(&queue, &runs, number))).collect();
    for next in WORKERS + 1.. {
        sleep(plan.crash_every.mul_f64(2.0 * random.f64())).await;
        let (number, worker) = workers.swap_remove(random.usize(..workers.len()));
        worker.abort();
        crashes.lock().unwrap().insert(number, Instant::now());
        workers.push((next, begin(&queue, &runs, next)));
    }
}

struct Plan {
    seed: u64,
    /// On average.
    crash_every: Duration,
}

/// Runs the whole fleet until the queue is empty.
async fn fleet(name: &str, messages: &[(Option<String>, String)], plan: Plan) -> Vec<Run> {
    let seed = plan.seed;
    let kit = Kit::with_seed(seed);
    let (runs, causes, crashes) = (Runs::default(), Causes::default(), Arc::new(Mutex::new(BTreeMap::new())));
    let _log = tracing::subscriber::set_default(Registry::default().with(causes.clone()));
    let queue = kit.queue(name).visibility_timeout(secs(30)).create().await.unwrap();
    kit.set_faults(faults());
    send(&queue, messages).await;
    let consumer = redrive::handler(place).with_state(Host { number: 0, runs: runs.clone() });
    let mapping = queue.mapping(consumer).function_timeout(secs(25)).maximum_concurrency(2);
    mapping.start().unwrap();
    let crashing = tokio::spawn(crash_and_restart(queue.clone(), runs.clone(), crashes.clone(), plan));
    kit.until_idle().await;
    crashing.abort();

    let (runs, crashes) = (runs.0.lock().unwrap().clone(), crashes.lock().unwrap().clone());
    let causes = causes.0.lock().unwrap().clone();
    println!("{} runs of {} messages, {} crashes", runs.len(), messages.len(), crashes.len());
    assert_causes(&runs, &crashes, &causes, &queue.problems());
    runs
}

/// Whether each run but a message's first has a cause: the one before it failed or was cut off, its host crashed, or the log says why.
fn assert_causes(runs: &[Run], crashes: &BTreeMap<usize, Instant>, causes: &HashSet<String>, problems: &[String]) {
    let mut before: HashMap<&str, &Run> = HashMap::new();
    for run in runs {
        let Some(last) = before.insert(&run.id, run) else { continue };
        let failed = !matches!(last.ended, Some((_, true)));
        let crashed = || {
            let ended = last.ended.map(|(ended, _)| ended);
            crashes.get(&last.host).is_some_and(|crash| ended.is_none_or(|ended| ended + BEFORE_A_CRASH > *crash))
        };
        let is_told = || causes.contains(&run.id) || problems.iter().any(|problem| problem.contains(&run.id));
        assert!(failed || crashed() || is_told(), "{run:?} has no cause after {last:?}");
    }
}

/// The bodies that were done, in the order in which each was done first.
fn done(runs: &[Run]) -> Vec<&str> {
    let ended = |run: &Run| run.ended.filter(|(_, done)| *done).map(|(ended, _)| ended);
    let mut done: Vec<_> = runs.iter().filter_map(|run| Some((ended(run)?, run.body.as_str()))).collect();
    done.sort_by_key(|(ended, _)| *ended);
    let mut seen = HashSet::new();
    done.into_iter().map(|(_, body)| body).filter(|body| seen.insert(*body)).collect()
}

#[tokio::test(start_paused = true)]
async fn no_message_is_lost_and_each_further_run_has_a_cause() {
    let (messages, seed) = messages_and_seed(MESSAGES, 44);
    let bodies: Vec<_> = (0..messages).map(|number| (None, format!("order-{number}"))).collect();
    let runs = fleet("orders", &bodies, Plan { seed, crash_every: secs(1) }).await;
    assert_eq!(done(&runs).len(), messages);
}

#[tokio::test(start_paused = true)]
async fn no_message_of_a_group_is_lost_or_overtaken() {
    let (messages, seed) = messages_and_seed(MESSAGES, 45);
    let group = |number: usize| format!("group{}", number % GROUPS);
    let bodies: Vec<_> =
        (0..messages).map(|number| (Some(group(number)), format!("{}-{number}", group(number)))).collect();
    let runs = fleet("orders.fifo", &bodies, Plan { seed, crash_every: secs(20) }).await;
    let done = done(&runs);
    assert_eq!(done.len(), messages);
    let mut last: HashMap<&str, usize> = HashMap::new();
    for body in done {
        let (group, number) = body.split_once('-').expect("a group and a number");
        let number: usize = number.parse().expect("a number");
        let before = last.insert(group, number);
        let of_both = || {
            let is_one =
                |run: &&Run| run.body == body || before.is_some_and(|before| run.body == format!("{group}-{before}"));
            runs.iter().filter(is_one).collect::<Vec<_>>()
        };
        assert!(before.is_none_or(|before| before < number), "{group}: {number} after {before:?}: {:#?}", of_both());
    }
}
