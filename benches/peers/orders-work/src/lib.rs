//! What the functions of the benchmark do with a record: the same code in each of them.

use std::collections::HashMap;
use std::error::Error;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use std::{env, fmt};

use serde::Deserialize;

/// Which of the handlers a function runs, from `BENCH_HANDLER`.
#[derive(Clone, Copy, Debug)]
pub enum Handler {
    /// Takes the body and does nothing: all that is measured is what stands between Lambda and a handler.
    Noop,
    /// Checks a nested order and stores it.
    Work,
    /// Waits, as for an answer of something downstream.
    Wait,
}

impl Handler {
    /// # Panics
    ///
    /// Where `BENCH_HANDLER` names no handler: a benchmark of something else would be worse than none.
    pub fn from_env() -> Self {
        match env::var("BENCH_HANDLER").as_deref() {
            Ok("noop") => Self::Noop,
            Ok("work") => Self::Work,
            Ok("wait") => Self::Wait,
            other => panic!("BENCH_HANDLER is {other:?}; set it to noop, work or wait"),
        }
    }
}

/// The body for [`noop`] and [`wait`]: small and flat.
#[derive(Debug, Deserialize)]
pub struct OrderPlaced {
    pub order_id: String,
    pub customer_id: String,
    pub currency: String,
    pub total_cents: u64,
}

/// The body for [`work`].
#[derive(Debug, Deserialize)]
pub struct Order {
    pub id: u64,
    pub customer: Customer,
    pub items: Vec<Item>,
    pub total: u64,
}

#[derive(Debug, Deserialize)]
pub struct Customer {
    pub name: String,
    pub address: Address,
}

#[derive(Debug, Deserialize)]
pub struct Address {
    pub city: String,
}

/// In the body a list, `["A1", 2, 350]`: that leaves room for a few of them.
#[derive(Debug, Deserialize)]
pub struct Item {
    pub sku: String,
    pub quantity: u32,
    pub cents: u64,
}

pub async fn noop(_: OrderPlaced) -> Result<(), OrderError> {
    Ok(())
}

pub async fn work(order: Order, store: &Store) -> Result<(), OrderError> {
    order.check()?;
    store.put(order);
    Ok(())
}

pub async fn wait(_: OrderPlaced) -> Result<(), OrderError> {
    tokio::time::sleep(WAIT).await;
    Ok(())
}

/// How long [`wait`] takes.
pub const WAIT: Duration = Duration::from_millis(50);

impl Order {
    fn check(&self) -> Result<(), OrderError> {
        let Customer { name, address } = &self.customer;
        if name.trim().is_empty() || !address.city.chars().all(char::is_alphabetic) {
            return Err(OrderError::Customer);
        }
        if self.items.is_empty() || self.items.iter().any(|item| item.sku.is_empty() || item.quantity == 0) {
            return Err(OrderError::Items);
        }
        let total = self.items.iter().try_fold(0_u64, |total, item| total.checked_add(item.total()?));
        if total == Some(self.total) { Ok(()) } else { Err(OrderError::Total) }
    }
}

impl Item {
    fn total(&self) -> Option<u64> {
        self.cents.checked_mul(self.quantity.into())
    }
}

/// The orders that were placed. One that comes again replaces the first, so the store stays as large as a batch.
#[derive(Debug, Default)]
pub struct Store(Mutex<HashMap<u64, Order>>);

impl Store {
    fn put(&self, order: Order) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(order.id, order);
    }
}

/// What is wrong with an order.
#[derive(Clone, Copy, Debug)]
pub enum OrderError {
    Customer,
    Items,
    Total,
}

impl fmt::Display for OrderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Customer => "the customer has no name, or a city that is none",
            Self::Items => "there are no items, or one of nothing",
            Self::Total => "the total is not that of the items",
        })
    }
}

impl Error for OrderError {}
