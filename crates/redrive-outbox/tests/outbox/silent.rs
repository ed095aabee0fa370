//! A silent database: its connections stay open, but no answer arrives.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use redrive::{Backoff, Outgoing};
use redrive_local::Faults;
use redrive_outbox::{Outbox, OutboxError, Relay};
use sqlx::postgres::PgPoolOptions;
use sqlx::{Pool, Postgres};
use tokio::time::{Instant, sleep};

use crate::database::TestDatabase;
use crate::kit::{MOMENT, World, enqueue_all, in_time, of, quick};
use crate::latch::advance;
use crate::proxy::{Gate, Proxy};
use crate::queue::secs;

/// The relay's limit, far above the time of an answer.
const LIMIT: Duration = Duration::from_secs(1);

/// Silences the connection that reaches a certain step, and no other.
#[derive(Clone, Debug, Default)]
struct Mute(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    at: Option<String>,
    passed: BTreeSet<String>,
    is_silent: bool,
}

impl Mute {
    /// Silences the first step that begins like this.
    fn at(step: &str) -> Self {
        Self(Arc::new(Mutex::new(Inner { at: Some(step.to_owned()), ..Inner::default() })))
    }

    fn passed(&self) -> BTreeSet<String> {
        self.0.lock().unwrap().passed.clone()
    }

    fn is_silent(&self) -> bool {
        self.0.lock().unwrap().is_silent
    }
}

impl Gate for Mute {
    fn pass<'a>(&'a self, what: &'a str) -> BoxFuture<'a, bool> {
        // Each listener has its own channel, so the rest of the name differs.
        let what = if what.starts_with("listen") { "listen" } else { what };
        let is_silent = {
            let mut inner = self.0.lock().unwrap();
            inner.passed.insert(what.to_owned());
            let is_here = !inner.is_silent && inner.at.as_ref().is_some_and(|step| what.starts_with(&**step));
            inner.is_silent |= is_here;
            is_here
        };
        Box::pin(async move {
            if is_silent {
                std::future::pending::<()>().await;
            }
            true
        })
    }
}

async fn pool_through(world: &World<Postgres>, gate: impl Gate, connections: u32) -> (Pool<Postgres>, Proxy) {
    let name = Postgres::texts(&world.pool, "select current_database()::text").await.remove(0);
    let server = Postgres::numbers(&world.pool, "select inet_server_port()::bigint").await.remove(0);
    let proxy = Proxy::with_gate(u16::try_from(server).unwrap(), gate).await;
    let url = format!("postgres://redrive@127.0.0.1:{}/{name}", proxy.port);
    (PgPoolOptions::new().max_connections(connections).connect_lazy(&url).unwrap(), proxy)
}

fn relay(world: &World<Postgres>, pool: &Pool<Postgres>) -> Relay<Postgres> {
    quick(Relay::new(pool.clone(), world.queue.client())).database_timeout(LIMIT).park_after(1)
}

/// The database must go silent at each of these steps in some life.
const STEPS: [&str; 18] = [
    "a connection is asked for",
    "a connection is answered",
    "begin isolation level read committed",
    "a plan of with fence",
    "with fence as materialized",
    "a plan of with recursive",
    "with recursive queue",
    "select lane::bigint from",
    "a plan of select id, queue_url",
    "select id, queue_url",
    "update redrive_outbox o set state = 'sent'",
    "update redrive_outbox o set state = m.state",
    "update redrive_outbox_lane set leased_until = '-infinity'",
    "commit after with fence",
    "commit after select id",
    "commit after update redrive_outbox o set state = 'sent'",
    "commit after update redrive_outbox o set state = m.state",
    "commit after update redrive_outbox_lane set leased_until",
];

/// How many lives run at a time. A life spends most of its time in silence.
const LIVES: usize = 8;

#[tokio::test]
async fn relay_recovers_from_silence_at_any_step() {
    let (mut known, mut tried) = (recovers_from(None).await, BTreeSet::new());
    loop {
        let next: Vec<String> = known.difference(&tried).take(LIVES).cloned().collect();
        if next.is_empty() {
            break;
        }
        let lives = next.iter().map(|step| recovers_from(Some(step)));
        known.extend(futures_util::future::join_all(lives).await.into_iter().flatten());
        tried.extend(next);
    }
    for expected in STEPS {
        assert!(tried.iter().any(|step| step.starts_with(expected)), "{expected} was never tried: {tried:#?}");
    }
    println!("{} steps", tried.len());
}

/// Sends some messages while the connection that reaches that step goes silent. Returns the relay's steps.
async fn recovers_from(step: Option<&str>) -> BTreeSet<String> {
    let world = World::<Postgres>::new("orders.fifo").await;
    enqueue_all(&world, &["a1", "b1", "a2", "c1", "c2"]).await;
    Postgres::execute(&world.pool, "update redrive_outbox set body = '' where body = 'c1'").await;
    let mute = step.map_or_else(Mute::default, Mute::at);
    let (pool, _proxy) = pool_through(&world, mute.clone(), 4).await;
    let all_sent = || world.until(|status| (status.pending, status.parked, status.held) == (0, 1, 1));
    // A relay does not start if the check for its tables is not answered.
    while in_time(relay(&world, &pool).run_until(all_sent())).await.is_err() {}
    assert_eq!(world.states().await, ["sent", "sent", "sent", "parked", "held"], "silent at {step:?}");
    let there = world.queue.bodies().await;
    let of_group = |group: &str| there.iter().filter(|body| body.starts_with(group)).collect::<Vec<_>>();
    // The queue holds each message once, because SQS dropped copies by their ids.
    assert_eq!(of_group("a"), ["a1", "a2"], "silent at {step:?}");
    assert_eq!(there.len(), 3, "silent at {step:?}");
    let attempts = "select cast(attempts as bigint) from redrive_outbox where state = 'parked'";
    assert_eq!(Postgres::numbers(&world.pool, attempts).await, [1], "silent at {step:?}");
    world.pool.close().await;
    mute.passed()
}

#[tokio::test]
async fn relay_recovers_when_all_connections_go_silent_at_once() {
    let world = World::<Postgres>::new("orders.fifo").await;
    let (pool, proxy) = pool_through(&world, Mute::default(), 10).await;
    let connections = futures_util::future::join_all((0..10).map(|_| pool.acquire())).await;
    assert!(connections.iter().all(Result::is_ok));
    drop(connections);
    world.enqueue(of("g", "before")).await;
    let relay = quick(Relay::new(pool.clone(), world.queue.client())).database_timeout(LIMIT);
    let recovered = async {
        world.until(|status| status.pending == 0).await;
        proxy.silence();
        let begin = Instant::now();
        world.enqueue(of("g", "after")).await;
        world.until(|status| status.pending == 0).await;
        // One limit detects the silence, and the pool's other connections are tested at once. Otherwise ten connections
        // would take ten limits.
        assert!(begin.elapsed() < secs(8), "{:?}", begin.elapsed());
    };
    relay.run_until(in_time(recovered)).await.unwrap();
    assert_eq!(world.queue.bodies().await, ["before", "after"]);
}

/// A refusal is counted once, although the result of its commit is unknown.
#[tokio::test]
async fn refusal_with_an_unanswered_commit_counts_once() {
    let world = World::<Postgres>::new("orders").await;
    world.enqueue(Outgoing::text("x")).await;
    world.queue.sqs.set_faults(Faults::none().refused_entries(1.0));
    let mute = Mute::at("commit after update redrive_outbox o set state = m.state, attempts is answered");
    let (pool, _proxy) = pool_through(&world, mute.clone(), 4).await;
    // The relay does not try it a second time meanwhile.
    let relay = Relay::new(pool, world.queue.client()).database_timeout(LIMIT);
    let relay = relay.backoff(Backoff::exponential(secs(600)..secs(600)));
    in_time(relay.drain_until(std::future::pending())).await.unwrap();
    assert!(mute.is_silent(), "{:#?}", mute.passed());
    let counts = "select cast(attempts as bigint) from redrive_outbox
        union all select cast(refusals as bigint) from redrive_outbox";
    assert_eq!(Postgres::numbers(&world.pool, counts).await, [1, 1], "{:#?}", mute.passed());
}

#[tokio::test]
async fn silent_connection_is_not_reused() {
    let world = World::<Postgres>::new("orders").await;
    world.enqueue(Outgoing::text("x")).await;
    let mute = Mute::at("with fence");
    let (pool, _proxy) = pool_through(&world, mute.clone(), 1).await;
    let silent = async {
        while !mute.is_silent() {
            sleep(MOMENT).await;
        }
        // The pool's only connection was silent, so another one takes its place.
        in_time(async { while Outbox::status(&pool).await.unwrap().pending > 0 {} }).await;
    };
    relay(&world, &pool).run_until(silent).await.unwrap();
    assert_eq!(world.states().await, ["sent"]);
    // Closing a pool waits for all its connections.
    in_time(pool.close()).await;
}

/// Advances this process's clock until the work ends. The database is real, and on a busy machine it must still answer
/// within the relay's limits. So each step of the clock leaves the network this much time.
async fn in_quick_time<T>(work: impl Future<Output = T>) -> T {
    const STEP: Duration = secs(2);
    const STEPS: u32 = 1_000;
    const FOR_THE_NETWORK: Duration = Duration::from_millis(100);
    let mut work = std::pin::pin!(work);
    for _ in 0..STEPS {
        if let Ok(done) = tokio::time::timeout(FOR_THE_NETWORK, &mut work).await {
            return done;
        }
        advance(STEP).await;
    }
    panic!("still waiting after {:?}", STEP * STEPS);
}

#[tokio::test]
async fn each_outbox_operation_has_a_time_limit() {
    let world = World::<Postgres>::new("orders").await;
    let silent_at = async |step: &str| pool_through(&world, Mute::at(step), 1).await;
    let is_timeout = |error: Option<OutboxError>| error.is_some_and(|error| error.is_timeout());
    for step in ["begin", "a plan of select p.count", "select p.count", "commit after select p.count"] {
        let (pool, _proxy) = silent_at(step).await;
        assert!(is_timeout(in_quick_time(Outbox::status(&pool)).await.err()), "{step}");
    }
    let (pool, _proxy) = silent_at("select id, queue_url").await;
    assert!(is_timeout(in_quick_time(Outbox::parked(&pool, 1)).await.err()));
    let (pool, _proxy) = silent_at("commit after update redrive_outbox").await;
    assert!(is_timeout(in_quick_time(Outbox::retry(&pool, None)).await.err()));
    let (pool, _proxy) = silent_at("select pg_advisory_xact_lock").await;
    assert!(is_timeout(in_quick_time(Outbox::migrate(&pool)).await.err()));
}

#[tokio::test]
async fn relay_fails_to_start_on_a_silent_database() {
    let world = World::<Postgres>::new("orders").await;
    let (pool, _proxy) = pool_through(&world, Mute::at("select to_regclass"), 1).await;
    let error = in_time(relay(&world, &pool).run_until(std::future::pending())).await.unwrap_err();
    assert!(error.is_timeout() && error.to_string().contains("no answer within 1 s"), "{error}");
}

#[tokio::test]
async fn silent_notification_connection_is_replaced() {
    let world = World::<Postgres>::new("orders").await;
    let (pool, proxy) = pool_through(&world, Mute::default(), 2).await;
    let relay = Relay::new(pool, world.queue.client()).poll_interval(secs(3_600));
    let listening = "select count(*) from pg_stat_activity where query like 'LISTEN%' and datname = current_database()";
    let replaced = async {
        let heard = async {
            while Postgres::numbers(&world.pool, listening).await == [0] {
                sleep(MOMENT).await;
            }
        };
        in_time(heard).await;
        sleep(MOMENT * 20).await;
        proxy.silence();
        world.enqueue(Outgoing::text("x")).await;
        // The connection is tested after 30 s and given up 5 s later. Then the relay looks for rows.
        let sent = async {
            while world.states().await != ["sent"] {
                sleep(MOMENT).await;
            }
        };
        in_quick_time(sent).await;
    };
    relay.run_until(replaced).await.unwrap();
}
