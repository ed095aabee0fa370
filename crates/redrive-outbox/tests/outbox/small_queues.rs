//! Queues with a size limit below 1 MiB.

use aws_sdk_sqs::types::QueueAttributeName as Name;
use redrive::{Outgoing, TraceContext};

use crate::database::{TestDatabase, on_each_database};
use crate::kit::{World, of};
use crate::queue::text;

on_each_database! {
    row_at_the_size_limit_is_sent_without_added_attributes
    row_above_the_size_limit_is_parked_with_the_limit
    send_id_can_be_turned_off
}

const LIMIT_BYTES: usize = 2_048;

async fn small<DB: TestDatabase>(name: &str) -> World<DB> {
    let mut world = World::<DB>::new(name).await;
    let set = world.queue.sqs.client().set_queue_attributes().queue_url(&world.queue.url);
    set.attributes(Name::MaximumMessageSize, LIMIT_BYTES.to_string()).send().await.unwrap();
    let trace = || TraceContext::default().traceparent("0".repeat(55));
    world.outbox = world.outbox.clone().trace_context(trace);
    world
}

async fn row_at_the_size_limit_is_sent_without_added_attributes<DB: TestDatabase>() {
    for name in ["orders", "orders.fifo"] {
        let world = small::<DB>(name).await;
        for number in 1..=3 {
            world.enqueue(of("g", &format!("{number}{}", "x".repeat(LIMIT_BYTES - 1)))).await;
        }
        world.relay_all().await;
        assert_eq!(world.states().await, ["sent", "sent", "sent"]);
        let messages = world.queue.take_all().await;
        assert!(messages.iter().all(|message| message.message_attributes().is_none()));
        let mut numbers: String = messages.iter().map(|message| &message.body().unwrap()[..1]).collect();
        if name == "orders" {
            numbers = ["1", "2", "3"].into_iter().filter(|number| numbers.contains(number)).collect();
        }
        assert_eq!(numbers, "123");
    }
}

async fn row_above_the_size_limit_is_parked_with_the_limit<DB: TestDatabase>() {
    let world = small::<DB>("orders").await;
    world.enqueue(Outgoing::text("x".repeat(LIMIT_BYTES + 1))).await;
    world.relay().park_after(2).run_until(world.until(|status| status.parked == 1)).await.unwrap();
    let parked = redrive_outbox::Outbox::parked(&world.pool, 1).await.unwrap().pop().unwrap();
    assert!(parked.error.contains("2048"), "{}", parked.error);
}

async fn send_id_can_be_turned_off<DB: TestDatabase>() {
    for name in ["orders", "orders.fifo"] {
        let world = World::<DB>::new(name).await;
        world.enqueue(of("g", "an order")).await;
        let sent = world.until(|status| status.pending == 0);
        world.relay().without_send_id().run_until(sent).await.unwrap();
        let message = world.queue.take_all().await.remove(0);
        assert_eq!(text(&message, "redrive.id"), None);
    }
}
