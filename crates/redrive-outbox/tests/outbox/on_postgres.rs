//! Tests of PostgreSQL alone: concurrent writers, network failures, notifications and restarts.

use std::time::Duration;

use redrive::Outgoing;
use redrive_outbox::{Outbox, Relay};
use sqlx::Postgres;
use sqlx::postgres::PgPoolOptions;
use tokio::time::Instant;

use crate::database::{TestDatabase, postgres};
use crate::kit::{World, in_time, of, quick};
use crate::latch::{Latch, advance, pool_and_proxy, pool_through};
use crate::postgres::Server;
use crate::proxy::Proxy;
use crate::queue::secs;

#[tokio::test]
async fn row_that_commits_late_is_sent() {
    let world = World::<Postgres>::new("orders.fifo").await;
    let mut late = world.pool.begin().await.unwrap();
    world.outbox.enqueue(&mut late, of("g", "first written, last committed")).await.unwrap();
    world.enqueue(of("g", "in between")).await;
    world.relay_all().await;
    assert_eq!(world.queue.bodies().await, ["in between"]);
    late.commit().await.unwrap();
    world.enqueue(of("g", "last")).await;
    world.relay_all().await;
    assert_eq!(world.queue.bodies().await, ["first written, last committed", "last"]);
}

#[tokio::test]
async fn enqueue_takes_one_round_trip() {
    let server = tokio::task::spawn_blocking(Server::shared).await.unwrap();
    let direct = postgres(&server).await;
    let name = Postgres::texts(&direct, "select current_database()::text").await.remove(0);
    let proxy = Proxy::to(server.port).await;
    let url = format!("postgres://redrive@127.0.0.1:{}/{name}", proxy.port);
    let pool = PgPoolOptions::new().max_connections(1).connect(&url).await.unwrap();
    let outbox = Outbox::new("http://127.0.0.1:9324/000000000000/orders");
    let mut transaction = pool.begin().await.unwrap();
    // The first message on a connection prepares the statement.
    outbox.enqueue(&mut transaction, Outgoing::text("x")).await.unwrap();
    let before = proxy.round_trips();
    for _ in 0..10 {
        outbox.enqueue(&mut transaction, Outgoing::text("x")).await.unwrap();
    }
    assert_eq!(proxy.round_trips() - before, 10);
    transaction.commit().await.unwrap();
}

#[tokio::test]
async fn notification_arrives_before_the_next_look() {
    let world = World::<Postgres>::new("orders").await;
    let relay = Relay::new(world.pool.clone(), world.queue.client()).poll_interval(secs(600));
    let heard = async {
        // A relay that listens has made its first look.
        let listening = "select count(*) from pg_stat_activity where query like 'LISTEN%' and state = 'idle'
            and datname = current_database()";
        while Postgres::numbers(&world.pool, listening).await == [0] {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        world.enqueue(Outgoing::text("x")).await;
        world.until(|status| status.pending == 0).await;
    };
    let begin = Instant::now();
    in_time(relay.run_until(heard)).await.unwrap();
    assert!(begin.elapsed() < secs(60));
}

async fn world_of_one_connection() -> World<Postgres> {
    let server = tokio::task::spawn_blocking(Server::shared).await.unwrap();
    let direct = postgres(&server).await;
    let name = Postgres::texts(&direct, "select current_database()::text").await.remove(0);
    let pool = PgPoolOptions::new().max_connections(1).connect(&server.url(&name)).await.unwrap();
    let mut world = World::new("orders").await;
    world.pool = pool;
    world
}

/// The planner usually sees an outbox without pending rows, and estimates few from then on.
#[tokio::test]
async fn results_are_not_compared_with_all_pending_rows() {
    const ROWS: i64 = 20_000;
    let world = World::<Postgres>::new("orders").await;
    let write = async || {
        let mut transaction = world.pool.begin().await.unwrap();
        for number in 0..ROWS {
            world.outbox.enqueue(&mut transaction, Outgoing::text(number.to_string())).await.unwrap();
        }
        transaction.commit().await.unwrap();
    };
    write().await;
    world.relay_all().await;
    Postgres::execute(&world.pool, "vacuum analyze redrive_outbox").await;
    write().await;
    let read = async || {
        // PostgreSQL reports reads to its statistics within a second.
        tokio::time::sleep(secs(2)).await;
        let read = "select idx_tup_read from pg_stat_user_indexes where indexrelname = 'redrive_outbox_due'";
        Postgres::numbers(&world.pool, read).await[0]
    };
    let before = read().await;
    let pool = PgPoolOptions::new().max_connections(4).connect_lazy_with((*world.pool.connect_options()).clone());
    let relay = quick(Relay::new(pool.clone(), world.queue.client()));
    in_time(relay.drain_until(std::future::pending())).await.unwrap();
    pool.close().await;
    let read = read().await - before;
    println!("{read} entries read");
    // Each row is read once, and looked at now and then: about 15 reads a row. Comparing results with all pending rows
    // would also read each row for each call: about 40 reads a row, and more with more rows.
    assert!(read < 25 * ROWS, "{read} entries were read");
}

#[tokio::test]
async fn relay_works_with_a_pool_of_one_connection() {
    let world = world_of_one_connection().await;
    world.enqueue(Outgoing::text("x")).await;
    world.relay_all().await;
    assert_eq!(world.states().await, ["sent"]);
}

#[tokio::test]
async fn listening_relay_holds_no_connection_of_its_pool() {
    let server = tokio::task::spawn_blocking(Server::shared).await.unwrap();
    let direct = postgres(&server).await;
    let name = Postgres::texts(&direct, "select current_database()::text").await.remove(0);
    let pool = PgPoolOptions::new().max_connections(1).connect(&server.url(&name)).await.unwrap();
    let mut world = World::<Postgres>::new("orders").await;
    world.pool = pool;
    let (first, second) = (world.relay(), world.relay());
    let sent = async {
        let listening = "select count(*) from pg_stat_activity where query like 'LISTEN%' and state = 'idle'
            and datname = current_database()";
        while Postgres::numbers(&direct, listening).await != [2] {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        world.enqueue(Outgoing::text("x")).await;
        world.until(|status| status.pending == 0).await;
    };
    tokio::select! {
        ended = in_time(first.run_until(sent)) => ended.unwrap(),
        never = second.run_until(std::future::pending()) => panic!("{never:?}"),
    }
    assert_eq!(world.states().await, ["sent"]);
}

#[tokio::test]
async fn relay_survives_a_restart_of_its_database() {
    let server = std::sync::Arc::new(tokio::task::spawn_blocking(Server::start).await.unwrap());
    let mut world = World::<Postgres>::new("orders.fifo").await;
    world.pool = postgres(&server).await;
    world.enqueue(of("g", "before")).await;
    let relay = quick(Relay::new(world.pool.clone(), world.queue.client()));
    let restarted = async {
        world.until(|status| status.pending == 0).await;
        let again = server.clone();
        tokio::task::spawn_blocking(move || {
            again.kill();
            again.begin();
        })
        .await
        .unwrap();
        // The pool finds each of its connections dead once.
        while world.pool.begin().await.is_err() {}
        let after = async {
            while Outbox::status(&world.pool).await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            world.enqueue(of("g", "after")).await;
        };
        after.await;
        world.until(|status| status.pending == 0).await;
    };
    in_time(relay.run_until(restarted)).await.unwrap();
    assert_eq!(world.queue.bodies().await, ["before", "after"]);
}

#[tokio::test]
async fn message_is_sent_after_its_notification_was_lost() {
    let mut world = World::<Postgres>::new("orders").await;
    world.outbox = world.outbox.without_notify();
    let heard = Latch::at("listen", "is answered");
    let (pool, proxy) = pool_and_proxy(&world, &heard).await;
    heard.open();
    let relay = quick(Relay::new(pool, world.queue.client())).poll_interval(secs(600));
    let sent = async {
        heard.has_come().await;
        // The relay looks again once it listens.
        let before = proxy.round_trips();
        while proxy.round_trips() == before {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        world.enqueue(Outgoing::text("x")).await;
        proxy.cut();
        world.until(|status| status.pending == 0).await;
    };
    relay.run_until(in_time(sent)).await.unwrap();
}

#[tokio::test]
async fn relay_without_a_listener_polls_for_messages() {
    let mut world = World::<Postgres>::new("orders").await;
    world.outbox = world.outbox.without_notify();
    let nobody = Latch::breaking("listen", "is asked for");
    let pool = pool_through(&world, &nobody).await;
    let relay = Relay::new(pool, world.queue.client()).poll_interval(secs(600));
    let sent = async {
        nobody.has_come().await;
        world.enqueue(Outgoing::text("x")).await;
        for _ in 0..12 {
            advance(secs(1)).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        world.until(|status| status.pending == 0).await;
    };
    relay.run_until(in_time(sent)).await.unwrap();
}
