//! The handlers of the benchmark's functions. All functions share this code.

use std::collections::HashMap;
use std::error::Error;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use std::{env, fmt};

use serde::Deserialize;

/// The handler that a function runs, from `BENCH_HANDLER`.
#[derive(Clone, Copy, Debug)]
pub enum Handler {
    /// Takes the body and does nothing, so that only the code between Lambda and the handler is measured.
    Noop,
    /// Checks a nested order and stores it.
    Work,
    /// Waits, as for an answer of a downstream system.
    Wait,
}

impl Handler {
    /// Returns the handler that `BENCH_HANDLER` names.
    ///
    /// # Panics
    ///
    /// Panics if `BENCH_HANDLER` names no handler, because the benchmark would measure something else.
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

/// In the body this is a list, `["A1", 2, 350]`, which leaves room for several items.
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

/// The duration of [`wait`].
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

/// The placed orders. An order that comes again replaces the first, so the store stays as large as a batch.
#[derive(Debug, Default)]
pub struct Store(Mutex<HashMap<u64, Order>>);

impl Store {
    fn put(&self, order: Order) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(order.id, order);
    }
}

/// The reason why an order is invalid.
#[derive(Clone, Copy, Debug)]
pub enum OrderError {
    Customer,
    Items,
    Total,
}

impl fmt::Display for OrderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Customer => "the customer has no name or no valid city",
            Self::Items => "the order has no items or an empty item",
            Self::Total => "the total differs from the sum of the items",
        })
    }
}

impl Error for OrderError {}
