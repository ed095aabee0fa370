//! Stops a connection at a chosen moment.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::postgres::PgPoolOptions;
use sqlx::{Pool, Postgres};
use tokio::sync::watch;

use crate::database::TestDatabase;
use crate::kit::{World, in_time};
use crate::proxy::{Gate, Proxy};

/// Holds the first request with this name until the test opens the latch.
#[derive(Clone, Debug)]
pub(crate) struct Latch(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    names: [&'static str; 2],
    has_come: watch::Sender<bool>,
    is_open: watch::Sender<bool>,
    passes: bool,
}

impl Latch {
    /// Creates a latch for a request whose name begins and ends like this.
    pub(crate) fn at(begin: &'static str, end: &'static str) -> Self {
        Self::of(begin, end, true)
    }

    /// Creates a latch that breaks the connection instead of holding it.
    pub(crate) fn breaking(begin: &'static str, end: &'static str) -> Self {
        let latch = Self::of(begin, end, false);
        latch.open();
        latch
    }

    fn of(begin: &'static str, end: &'static str, passes: bool) -> Self {
        let (has_come, is_open) = (watch::Sender::new(false), watch::Sender::new(false));
        Self(Arc::new(Inner { names: [begin, end], has_come, is_open, passes }))
    }

    pub(crate) async fn has_come(&self) {
        in_time(self.0.has_come.subscribe().wait_for(|is_so| *is_so)).await.unwrap();
    }

    pub(crate) fn open(&self) {
        self.0.is_open.send_replace(true);
    }
}

impl Gate for Latch {
    fn pass<'a>(&'a self, what: &'a str) -> BoxFuture<'a, bool> {
        Box::pin(async move {
            let [begin, end] = self.0.names;
            if !what.starts_with(begin) || !what.ends_with(end) || self.0.has_come.send_replace(true) {
                return true;
            }
            self.0.is_open.subscribe().wait_for(|is_so| *is_so).await.is_ok() && self.0.passes
        })
    }
}

/// Applies both latches, one after the other.
impl Gate for (Latch, Latch) {
    fn pass<'a>(&'a self, what: &'a str) -> BoxFuture<'a, bool> {
        Box::pin(async move { self.0.pass(what).await && self.1.pass(what).await })
    }
}

/// Creates a pool whose connections pass through a gate.
pub(crate) async fn pool_through(world: &World<Postgres>, gate: &(impl Gate + Clone)) -> Pool<Postgres> {
    pool_and_proxy(world, gate).await.0
}

pub(crate) async fn pool_and_proxy(world: &World<Postgres>, gate: &(impl Gate + Clone)) -> (Pool<Postgres>, Proxy) {
    let name = Postgres::texts(&world.pool, "select current_database()::text").await.remove(0);
    let server = Postgres::numbers(&world.pool, "select inet_server_port()::bigint").await.remove(0);
    let proxy = Proxy::with_gate(u16::try_from(server).unwrap(), gate.clone()).await;
    let url = format!("postgres://redrive@127.0.0.1:{}/{name}", proxy.port);
    (PgPoolOptions::new().max_connections(4).connect(&url).await.unwrap(), proxy)
}

/// Advances this process's clock, but not the database's. Waits for the network stay real.
pub(crate) async fn advance(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}
