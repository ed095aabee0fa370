//! Relays that die at any step.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::task::Poll;

use futures_util::future::BoxFuture;
use redrive::Outgoing;
use redrive_outbox::Relay;
use sqlx::{Database, Postgres};

use crate::database::{TestDatabase, on_each_database};
use crate::doom::{Doom, Step, Steps};
use crate::kit::{MOMENT, World, in_time, of, quick};
use crate::queue::counted;
use crate::tap::{Listener, tapped};

on_each_database! {
    fifo_messages_survive_a_death_at_any_step
    standard_messages_survive_a_death_at_any_step
    no_message_is_lost_or_doubled_wherever_a_relay_is_dropped
}

/// The limit of lives, far above the number needed.
const MOST_LIVES: usize = 3_000;

/// Makes calls to SQS steps too: before a call is sent, and before its answer is received.
#[derive(Debug)]
struct Calls {
    doom: Doom,
    /// The bodies that SQS accepted, whether the answer was received or not.
    taken: Mutex<Vec<String>>,
}

impl Listener for Calls {
    fn leaves<'a>(&'a self, _: &'a [String]) -> BoxFuture<'a, ()> {
        Box::pin(async {
            // By then the relay has written the results that need no answer.
            tokio::time::sleep(MOMENT * 2).await;
            // A dead relay is dropped while it waits here.
            let _ = self.doom.pass("a call is sent").await;
        })
    }

    fn answered<'a>(&'a self, _: &'a [String], taken: Option<&'a [String]>) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            self.taken.lock().unwrap().extend_from_slice(taken.unwrap_or_default());
            let _ = self.doom.pass("a call is answered").await;
        })
    }
}

/// Runs a relay as a process of its own that ends at that step, if it has not finished before. Returns the bodies that
/// SQS accepted from it.
async fn dies_at<DB: TestDatabase>(world: &World<DB>, steps: &mut Steps, step: Option<Step>) -> Vec<String> {
    let doom = Doom::at(step.clone());
    let calls = Arc::new(Calls { doom: doom.clone(), taken: Mutex::default() });
    let client = tapped(&world.queue.client(), calls.clone());
    let door = DB::door(&world.pool, doom.clone()).await;
    let life = async move || {
        let relay = quick(Relay::new(DB::enter(door).await, client)).park_after(1);
        // A relay that dies during its start returns an error.
        let _ = relay.drain_until(std::future::pending()).await;
    };
    in_time(doom.live(life)).await;
    DB::settle(&world.pool).await;
    steps.learn(step, &doom);
    std::mem::take(&mut *calls.taken.lock().unwrap())
}

/// Lets another relay take over after the dead relay's leases are over.
async fn takes_over<DB: TestDatabase>(world: &World<DB>, parked: u64, held: u64) {
    DB::end_leases(&world.pool).await;
    let until = world.until(|status| (status.pending, status.parked, status.held) == (0, parked, held));
    world.relay().park_after(1).run_until(until).await.unwrap();
}

/// The steps before and after which some relay must have died. Each line lists names of one step.
const ON_POSTGRES: [(&[&str], [&str; 2]); 6] = [
    (&["with fence"], ASKED),
    (&["select id"], ASKED),
    (&["set state = 'sent'", "set state = m.state"], ASKED),
    (
        &[
            "commit after update redrive_outbox o set state = 'sent'",
            "commit after update redrive_outbox o set state = m",
        ],
        ASKED,
    ),
    (&["redrive_outbox_lane set leased_until = '-infinity'"], ASKED),
    CALL,
];
const ON_SQLITE: [(&[&str], [&str; 2]); 4] =
    [(&["redrive_outbox_lane"], COMMITTED), (&["redrive_outbox "], COMMITTED), (&["nothing"], COMMITTED), CALL];
const CALL: (&[&str], [&str; 2]) = (&["a call"], ["is sent", "is answered"]);
const ASKED: [&str; 2] = ["is asked for", "is answered"];
const COMMITTED: [&str; 2] = ["begins", "is over"];

fn assert_died_everywhere<DB: TestDatabase>(steps: &BTreeSet<String>, lives: usize) {
    println!("{lives} lives, which ended at {steps:#?}");
    let expected = if DB::NAME == Postgres::NAME { &ON_POSTGRES[..] } else { &ON_SQLITE };
    for (names, sides) in expected {
        for side in sides {
            let is_one = |step: &String| step.ends_with(side) && names.iter().any(|name| step.contains(name));
            assert!(steps.iter().any(is_one), "no relay died as {names:?} {side}");
        }
    }
}

async fn fifo_messages_survive_a_death_at_any_step<DB: TestDatabase>() {
    let world = World::<DB>::new("orders.fifo").await;
    let (mut steps, mut step) = (Steps::default(), None);
    for life in 1..MOST_LIVES {
        let bodies = ["a1", "b1", "a2", "c1", "c2"].map(|body| format!("{body} {life}"));
        for body in &bodies {
            world.enqueue(of(&body[..1], body)).await;
        }
        DB::execute(&world.pool, &format!("update redrive_outbox set body = '' where body = 'c1 {life}'")).await;
        dies_at(&world, &mut steps, step.clone()).await;
        takes_over(&world, 1, 1).await;
        assert_eq!(world.states().await, ["sent", "sent", "sent", "parked", "held"], "after {step:?}");
        let there = world.queue.bodies().await;
        let of_group = |group: &str| there.iter().filter(|body| body.starts_with(group)).collect::<Vec<_>>();
        // The queue holds each message once, because SQS dropped copies by their ids.
        assert_eq!(of_group("a"), [&bodies[0], &bodies[2]], "after {step:?}");
        assert_eq!(of_group("b"), [&bodies[1]], "after {step:?}");
        assert_eq!(there.len(), 3, "after {step:?}");
        DB::execute(&world.pool, "delete from redrive_outbox").await;
        step = steps.next();
        if step.is_none() {
            return assert_died_everywhere::<DB>(&steps.died_at, life);
        }
    }
    panic!("the steps never end");
}

async fn standard_messages_survive_a_death_at_any_step<DB: TestDatabase>() {
    let world = World::<DB>::new("orders").await;
    let (mut steps, mut step) = (Steps::default(), None);
    for life in 1..MOST_LIVES {
        let bodies: Vec<_> = (0..12).map(|n| format!("{n} {life}")).collect();
        for body in &bodies {
            world.enqueue(Outgoing::text(body)).await;
        }
        world.enqueue(Outgoing::text("poison")).await;
        DB::execute(&world.pool, "update redrive_outbox set body = '' where body = 'poison'").await;
        let taken = dies_at(&world, &mut steps, step.clone()).await;
        let unsent = DB::texts(&world.pool, "select body from redrive_outbox where state = 'pending'").await;
        takes_over(&world, 1, 0).await;
        let there = counted(world.queue.bodies().await);
        for body in &bodies {
            let expected = usize::from(taken.contains(body)) + usize::from(unsent.contains(body));
            assert!(expected > 0, "{body} is marked as sent, but SQS never received it, after {step:?}");
            // Only messages that SQS accepted without a written result have a copy.
            assert_eq!(there.get(body), Some(&expected), "{body} after {step:?}");
        }
        assert_eq!(there.len(), bodies.len());
        DB::execute(&world.pool, "delete from redrive_outbox").await;
        step = steps.next();
        if step.is_none() {
            return assert_died_everywhere::<DB>(&steps.died_at, life);
        }
    }
    panic!("the steps never end");
}

/// Stop after this many runs in a row that finished before their end came.
const ENOUGH: usize = 5;

/// Drops a relay's future after its first poll, its second poll and so on, in a process that continues, so that its
/// database requests finish. Another relay then finishes each time, after the first one's lease.
async fn no_message_is_lost_or_doubled_wherever_a_relay_is_dropped<DB: TestDatabase>() {
    let world = World::<DB>::new("orders.fifo").await;
    let (mut steps, mut survived) = (0, 0);
    while survived < ENOUGH {
        steps += 1;
        assert!(steps < MOST_LIVES);
        let bodies = ["a1", "b1", "a2", "a3", "b2"].map(|body| format!("{body} {steps}"));
        for body in &bodies {
            world.enqueue(of(&body[..1], body)).await;
        }
        in_time(dropped_after(steps, world.relay().run_until(std::future::pending()))).await;
        let is_over = world.states().await.iter().all(|state| state == "sent");
        survived = if is_over { survived + 1 } else { 0 };
        world.relay_all_despite_other_leases().await;
        let there = world.queue.bodies().await;
        for group in ["a", "b"] {
            let of_group = |bodies: &[String]| -> Vec<String> {
                bodies.iter().filter(|body| body.starts_with(group)).cloned().collect()
            };
            assert_eq!(of_group(&there), of_group(&bodies), "after {steps} steps");
        }
        DB::execute(&world.pool, "delete from redrive_outbox").await;
    }
    println!("{steps} steps");
    // The queue holds each message once, because SQS dropped copies by their ids.
    assert!(counted(world.queue.bodies().await).is_empty());
}

/// Polls the future this many times, then drops it. A future can only be dropped between polls.
async fn dropped_after<F: Future>(steps: usize, future: F) {
    let mut future = Box::pin(future);
    let mut left = steps;
    poll_fn(|context| {
        left -= 1;
        let ended = future.as_mut().poll(context).is_ready();
        if ended || left == 0 { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}
