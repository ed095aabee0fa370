//! A database that goes silent: its connections stay open, and no answer ever comes.

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

/// Far more than an answer takes.
const LIMIT: Duration = Duration::from_secs(1);

/// Silences the connection that comes to a step, and no other one.
#[derive(Clone, Debug, Default)]
struct Mute(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    at: Option<String>,
    passed: BTreeSet<String>,
    is_silent: bool,
}

impl Mute {
    /// At the first step that begins like that.
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
        // Each listener has a channel of its own.
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

/// Each of these has to be among the steps at which the database goes silent.
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

/// So many at a time: most of the time of a life is silence.
const LIVES: usize = 8;

#[tokio::test]
async fn a_relay_recovers_wherever_the_database_goes_silent() {
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

/// Sends some messages while the connection that comes to that step goes silent. Returns the steps that the relay came to.
async fn recovers_from(step: Option<&str>) -> BTreeSet<String> {
    let world = World::<Postgres>::new("orders.fifo").await;
    enqueue_all(&world, &["a1", "b1", "a2", "c1", "c2"]).await;
    Postgres::execute(&world.pool, "update redrive_outbox set body = '' where body = 'c1'").await;
    let mute = step.map_or_else(Mute::default, Mute::at);
    let (pool, _proxy) = pool_through(&world, mute.clone(), 4).await;
    let all_sent = || world.until(|status| (status.pending, status.parked, status.held) == (0, 1, 1));
    // A relay that does not hear whether there are tables does not begin.
    while in_time(relay(&world, &pool).run_until(all_sent())).await.is_err() {}
    assert_eq!(world.states().await, ["sent", "sent", "sent", "parked", "held"], "silent at {step:?}");
    let there = world.queue.bodies().await;
    let of_group = |group: &str| there.iter().filter(|body| body.starts_with(group)).collect::<Vec<_>>();
    // The queue has taken each of them once: duplicates were dropped by their ids.
    assert_eq!(of_group("a"), ["a1", "a2"], "silent at {step:?}");
    assert_eq!(there.len(), 3, "silent at {step:?}");
    let attempts = "select cast(attempts as bigint) from redrive_outbox where state = 'parked'";
    assert_eq!(Postgres::numbers(&world.pool, attempts).await, [1], "silent at {step:?}");
    world.pool.close().await;
    mute.passed()
}

#[tokio::test]
async fn a_relay_recovers_when_all_connections_go_silent_at_once() {
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
        // One limit finds the silence, and the others of the pool are tested at once. Ten connections would take ten limits.
        assert!(begin.elapsed() < secs(8), "{:?}", begin.elapsed());
    };
    relay.run_until(in_time(recovered)).await.unwrap();
    assert_eq!(world.queue.bodies().await, ["before", "after"]);
}

/// What SQS refuses is counted, though it is unknown whether the count was committed.
#[tokio::test]
async fn a_refusal_whose_commit_is_not_answered_counts_once() {
    let world = World::<Postgres>::new("orders").await;
    world.enqueue(Outgoing::text("x")).await;
    world.queue.sqs.set_faults(Faults::none().refused_entries(1.0));
    let mute = Mute::at("commit after update redrive_outbox o set state = m.state, attempts is answered");
    let (pool, _proxy) = pool_through(&world, mute.clone(), 4).await;
    // It is not tried a second time meanwhile.
    let relay = Relay::new(pool, world.queue.client()).database_timeout(LIMIT);
    let relay = relay.backoff(Backoff::exponential(secs(600)..secs(600)));
    in_time(relay.drain_until(std::future::pending())).await.unwrap();
    assert!(mute.is_silent(), "{:#?}", mute.passed());
    let counts = "select cast(attempts as bigint) from redrive_outbox
        union all select cast(refusals as bigint) from redrive_outbox";
    assert_eq!(Postgres::numbers(&world.pool, counts).await, [1, 1], "{:#?}", mute.passed());
}

#[tokio::test]
async fn a_silent_connection_goes_to_nobody_else() {
    let world = World::<Postgres>::new("orders").await;
    world.enqueue(Outgoing::text("x")).await;
    let mute = Mute::at("with fence");
    let (pool, _proxy) = pool_through(&world, mute.clone(), 1).await;
    let silent = async {
        while !mute.is_silent() {
            sleep(MOMENT).await;
        }
        // The only connection of the pool was silent: another one takes its place.
        in_time(async { while Outbox::status(&pool).await.unwrap().pending > 0 {} }).await;
    };
    relay(&world, &pool).run_until(silent).await.unwrap();
    assert_eq!(world.states().await, ["sent"]);
    // A pool waits for all its connections when it is closed.
    in_time(pool.close()).await;
}

/// Advances the clock of this process until the work ends. The database is real, and a busy machine must still let it answer within the
/// relay's own limits: each step of the clock leaves the network this much time.
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
async fn what_is_asked_of_an_outbox_has_a_limit() {
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
async fn a_relay_that_does_not_hear_whether_there_are_tables_says_so() {
    let world = World::<Postgres>::new("orders").await;
    let (pool, _proxy) = pool_through(&world, Mute::at("select to_regclass"), 1).await;
    let error = in_time(relay(&world, &pool).run_until(std::future::pending())).await.unwrap_err();
    assert!(error.is_timeout() && error.to_string().contains("no answer within 1 s"), "{error}");
}

#[tokio::test]
async fn the_connection_for_notifications_is_replaced_when_it_goes_silent() {
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
        // The connection is tested after 30 s, given up 5 s later, and then it is looked for.
        let sent = async {
            while world.states().await != ["sent"] {
                sleep(MOMENT).await;
            }
        };
        in_quick_time(sent).await;
    };
    relay.run_until(replaced).await.unwrap();
}
