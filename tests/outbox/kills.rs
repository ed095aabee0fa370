//! A relay that dies, wherever it is.

use std::future::poll_fn;
use std::task::Poll;

use crate::database::{TestDatabase, on_each_database};
use crate::kit::{World, in_time, of};
use crate::queue::{counted, secs};

on_each_database! {
    nothing_is_lost_or_doubled_wherever_a_relay_dies
}

/// Far more than it takes.
const MOST_STEPS: usize = 3_000;

/// So many runs, one after the other, in which all was over before the end came.
const ENOUGH: usize = 5;

/// Runs a relay that is gone after its first, its second, its third step and so on, until there is none left to die at. Another
/// one finishes each time, once the lease of the first is over.
async fn nothing_is_lost_or_doubled_wherever_a_relay_dies<DB: TestDatabase>() {
    let world = World::<DB>::new("orders.fifo").await;
    let (mut steps, mut survived) = (0, 0);
    while survived < ENOUGH {
        steps += 1;
        assert!(steps < MOST_STEPS);
        let bodies = ["a1", "b1", "a2", "a3", "b2"].map(|body| format!("{body} {steps}"));
        for body in &bodies {
            world.enqueue(of(&body[..1], body)).await;
        }
        // A claim that is under way when its relay dies begins to count after that.
        let relay = world.relay().lease(secs(1));
        in_time(dies_after(steps, relay.run_until(std::future::pending()))).await;
        let is_over = world.states().await.iter().all(|state| state == "sent");
        survived = if is_over { survived + 1 } else { 0 };
        DB::end_leases(&world.pool).await;
        world.relay_all().await;
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
    // The queue has taken each of them once: duplicates were dropped by their ids.
    assert!(counted(world.queue.bodies().await).is_empty());
}

/// Steps are polls: between two of them a future cannot be left.
async fn dies_after<F: Future>(steps: usize, future: F) {
    let mut future = Box::pin(future);
    let mut left = steps;
    poll_fn(|context| {
        left -= 1;
        let ended = future.as_mut().poll(context).is_ready();
        if ended || left == 0 { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}
