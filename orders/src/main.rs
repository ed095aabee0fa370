//! The function that `template.yaml` deploys: it takes orders, one in each message.
//!
//! It shows the public API of a consumer: a type for the body, an error type, and one function that decides which
//! errors are retried. For each order it checks the items and logs the total.

use std::fmt;

use redrive::{Json, Outcome, ReceiveCount};

#[derive(serde::Deserialize)]
struct Order {
    order_id: String,
    customer: String,
    currency: String,
    items: Vec<Item>,
}

#[derive(serde::Deserialize)]
struct Item {
    sku: String,
    quantity: u32,
    unit_price_cents: u64,
}

#[derive(Debug)]
enum OrderError {
    /// A retry would not help.
    Invalid(&'static str),
    /// A retry may succeed, because the item may be in stock by then.
    OutOfStock,
}

impl fmt::Display for OrderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(why) => write!(f, "the order is invalid: {why}"),
            Self::OutOfStock => f.write_str("an item is out of stock"),
        }
    }
}

impl std::error::Error for OrderError {}

#[tokio::main]
async fn main() -> Result<(), redrive::Error> {
    redrive::handler(place).classify(outcome).run().await
}

async fn place(ReceiveCount(receives): ReceiveCount, Json(order): Json<Order>) -> Result<(), OrderError> {
    let total_cents = total(&order)?;
    reserve(&order, receives)?;
    tracing::info!(order.order_id, order.currency, total_cents, receives, "order placed");
    Ok(())
}

/// The receive count at which items on back order are in stock.
const RECEIVES_UNTIL_IN_STOCK: u32 = 3;

fn outcome(error: &OrderError) -> Outcome {
    match error {
        OrderError::Invalid(why) => Outcome::DeadLetter((*why).into()),
        OrderError::OutOfStock => Outcome::Retry,
    }
}

fn total(order: &Order) -> Result<u64, OrderError> {
    if order.order_id.is_empty() || order.customer.is_empty() {
        return Err(OrderError::Invalid("it has no id or no customer"));
    }
    if order.items.is_empty() || order.items.iter().any(|item| item.quantity == 0) {
        return Err(OrderError::Invalid("it has no items, or an item without a quantity"));
    }
    let prices = order.items.iter().map(|item| item.unit_price_cents.checked_mul(item.quantity.into()));
    let total = prices.reduce(|total, price| total?.checked_add(price?)).flatten();
    total.ok_or(OrderError::Invalid("its total is too large"))
}

/// Stands in for the call to a warehouse, with its failures: permanent, temporary, or a panic.
fn reserve(order: &Order, receives: u32) -> Result<(), OrderError> {
    for item in &order.items {
        if item.sku.starts_with("BACK-ORDER") && receives < RECEIVES_UNTIL_IN_STOCK {
            return Err(OrderError::OutOfStock);
        }
        if item.sku.starts_with("OUT-OF-STOCK") {
            return Err(OrderError::OutOfStock);
        }
        assert_ne!(item.sku, "PANIC", "the warehouse client has a bug");
    }
    Ok(())
}
