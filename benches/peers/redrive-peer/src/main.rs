//! The benchmark's function with redrive.

use std::sync::Arc;

use orders_work::{Handler, Order, OrderError, OrderPlaced, Store};
use redrive::{Json, State};

async fn noop(Json(order): Json<OrderPlaced>) -> Result<(), OrderError> {
    orders_work::noop(order).await
}

async fn work(Json(order): Json<Order>, State(store): State<Arc<Store>>) -> Result<(), OrderError> {
    orders_work::work(order, &store).await
}

async fn wait(Json(order): Json<OrderPlaced>) -> Result<(), OrderError> {
    orders_work::wait(order).await
}

#[tokio::main]
async fn main() -> Result<(), redrive::Error> {
    lambda_runtime::tracing::init_default_subscriber();
    match Handler::from_env() {
        Handler::Noop => redrive::run(noop).await,
        Handler::Work => redrive::handler(work).with_state(Arc::<Store>::default()).run().await,
        Handler::Wait => redrive::run(wait).await,
    }
}
