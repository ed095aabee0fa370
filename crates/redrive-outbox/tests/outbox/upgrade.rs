//! Upgrades older tables that contain messages.

use redrive_outbox::Outbox;
use sqlx::{Database, Postgres};

use crate::database::{TestDatabase, on_each_database};
use crate::kit::{World, enqueue_all, in_time};

on_each_database! {
    upgrade_keeps_the_leases_of_an_older_relay
    older_relay_claims_nothing_in_newer_tables
    relay_refuses_tables_of_an_older_version
}

/// Creates the tables of version 1.
async fn tables_of_version_1<DB: TestDatabase>(world: &World<DB>) {
    for table in ["redrive_outbox", "redrive_outbox_lane", "redrive_outbox_migration"] {
        DB::execute(&world.pool, &format!("drop table {table}")).await;
    }
    if DB::NAME == Postgres::NAME {
        DB::execute(&world.pool, "drop sequence redrive_outbox_claim").await;
    }
    DB::execute(&world.pool, Outbox::migrations::<DB>()[0].sql).await;
}

fn in_a_minute<DB: TestDatabase>() -> &'static str {
    match DB::NAME == Postgres::NAME {
        true => "now() + interval '60 s'",
        false => "cast(unixepoch('now', 'subsec') * 1000 as integer) + 60000",
    }
}

async fn upgrade_keeps_the_leases_of_an_older_relay<DB: TestDatabase>() {
    let world = World::<DB>::new("orders.fifo").await;
    tables_of_version_1(&world).await;
    enqueue_all(&world, &["a1", "b1", "a2"]).await;
    let leased = "update redrive_outbox_lane set token = 5, leased_until = LATER
        where lane in (select lane from redrive_outbox where body = 'a1')";
    DB::execute(&world.pool, &leased.replace("LATER", in_a_minute::<DB>())).await;
    Outbox::migrate(&world.pool).await.unwrap();
    // A second migration changes nothing.
    Outbox::migrate(&world.pool).await.unwrap();
    in_time(world.relay().drain_until(std::future::pending())).await.unwrap();
    assert_eq!(world.states().await, ["pending", "sent", "pending"]);
    DB::end_leases(&world.pool).await;
    world.relay_all().await;
    assert_eq!(world.queue.bodies().await, ["b1", "a1", "a2"]);
}

async fn older_relay_claims_nothing_in_newer_tables<DB: TestDatabase>() {
    let world = World::<DB>::new("orders.fifo").await;
    enqueue_all(&world, &["a1"]).await;
    world.relay_all().await;
    let claim = match DB::NAME == Postgres::NAME {
        true => "select nextval('redrive_outbox_fence')".to_owned(),
        false => format!(
            "update redrive_outbox_lane set token = (select max(token) + 1 from redrive_outbox_lane), leased_until = {}
            returning token",
            in_a_minute::<DB>()
        ),
    };
    assert!(DB::try_numbers(&world.pool, &claim).await.is_err());
}

async fn relay_refuses_tables_of_an_older_version<DB: TestDatabase>() {
    let world = World::<DB>::new("orders.fifo").await;
    tables_of_version_1(&world).await;
    let error = world.relay().run_until(std::future::pending()).await.unwrap_err();
    assert!(error.is_no_tables(), "{error}");
}
