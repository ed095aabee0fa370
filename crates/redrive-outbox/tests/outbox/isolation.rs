//! A database with a strict default isolation level, and conflicting transactions.

use redrive::Outgoing;
use redrive_outbox::Outbox;
use sqlx::Postgres;

use crate::database::TestDatabase;
use crate::kit::{World, in_time};
use crate::latch::pool_through;

/// Records the isolation level of each transaction that writes to the outbox.
const WITNESS: &str = "create table witness (isolation text);
    create function witness() returns trigger language plpgsql as
        $$ begin insert into witness values (current_setting('transaction_isolation')); return null; end $$;
    create trigger witness after update or delete on redrive_outbox for each statement execute function witness();
    create trigger witness after update on redrive_outbox_lane for each statement execute function witness();";

#[tokio::test]
async fn relay_is_read_committed_under_any_default_isolation() {
    for isolation in ["repeatable read", "serializable"] {
        let world = World::<Postgres>::new("orders.fifo").await;
        Postgres::execute(&world.pool, WITNESS).await;
        let name = Postgres::texts(&world.pool, "select current_database()::text").await.remove(0);
        let strict = format!("alter database {name} set default_transaction_isolation = '{isolation}'");
        Postgres::execute(&world.pool, &strict).await;
        // The new default applies to connections from now on.
        let mut strict = World::<Postgres>::new("orders.fifo").await;
        strict.pool = pool_through(&world, &crate::latch::Latch::at("nothing", "is held")).await;
        let default = Postgres::texts(&strict.pool, "select current_setting('transaction_isolation')").await;
        assert_eq!(default, [isolation]);
        let bodies: Vec<_> = (0..20).map(|n| format!("{n}")).collect();
        let outbox = Outbox::new(&strict.queue.url);
        let written = async {
            for body in &bodies {
                let mut transaction = strict.pool.begin().await.unwrap();
                outbox.enqueue(&mut transaction, Outgoing::text(body).group("g")).await.unwrap();
                transaction.commit().await.unwrap();
            }
            strict.until(|status| status.pending == 0).await;
        };
        let relays = [strict.relay(), strict.relay()];
        tokio::select! {
            () = in_time(written) => {}
            ended = futures_util::future::join_all(relays.map(|relay| relay.run_until(std::future::pending()))) => panic!("{ended:?}"),
        }
        strict.relay().drain_until(std::future::pending()).await.unwrap();
        assert_eq!(strict.queue.bodies().await, bodies);
        let had = Postgres::texts(&world.pool, "select distinct isolation from witness").await;
        assert_eq!(had, ["read committed"], "of {isolation}");
    }
}

/// Makes the first transactions that change the outbox fail with a conflict.
fn conflicts(code: &str) -> String {
    format!(
        "create sequence conflicts;
        create function conflict() returns trigger language plpgsql as
            $$ begin if nextval('conflicts') <= 3 then raise 'in the way' using errcode = '{code}'; end if; return null; end $$;
        create trigger conflict after update on redrive_outbox for each statement execute function conflict();"
    )
}

#[tokio::test]
async fn transaction_with_a_conflict_is_repeated() {
    for code in ["40001", "40P01"] {
        let world = World::<Postgres>::new("orders").await;
        world.enqueue(Outgoing::text("x")).await;
        Postgres::execute(&world.pool, "update redrive_outbox set state = 'parked'").await;
        Postgres::execute(&world.pool, &conflicts(code)).await;
        assert_eq!(Outbox::retry(&world.pool, None).await.unwrap(), 1, "{code}");
        // Another error is returned at once.
        Postgres::execute(&world.pool, "update redrive_outbox set state = 'parked'; drop function conflict cascade")
            .await;
        Postgres::execute(&world.pool, "drop sequence conflicts").await;
        Postgres::execute(&world.pool, &conflicts("22012")).await;
        assert!(Outbox::retry(&world.pool, None).await.is_err());
    }
}
