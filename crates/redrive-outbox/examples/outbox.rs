//! An HTTP handler that writes an order and its message in one transaction, and a relay that sends it, in one process.
//!
//! Run it while `cargo dev` runs, whose function `orders` receives the message:
//!
//! ```sh
//! export AWS_ENDPOINT_URL_SQS=http://127.0.0.1:9324 AWS_REGION=us-east-1 AWS_ACCESS_KEY_ID=x AWS_SECRET_ACCESS_KEY=x
//! cargo run -p redrive-outbox --example outbox
//! curl -i http://127.0.0.1:3000/ --data '{"order_id": "order-1", "customer": "Ada", "currency": "EUR",
//!     "items": [{"sku": "apple", "quantity": 2, "unit_price_cents": 50}]}'
//! ```
//!
//! `DATABASE_URL` (an SQLite file), `QUEUE_URL` and `PORT` replace the defaults.

use std::env;
use std::future::IntoFuture;
use std::str::FromStr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use redrive_outbox::{Outbox, Relay};
use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};
use tokio::net::TcpListener;
use tokio::sync::watch;

/// An order, as the shop stores it and `orders` receives it.
#[derive(serde::Deserialize, serde::Serialize)]
struct Order {
    order_id: String,
    customer: String,
    currency: String,
    items: Vec<Item>,
}

#[derive(serde::Deserialize, serde::Serialize)]
struct Item {
    sku: String,
    quantity: u32,
    unit_price_cents: u64,
}

struct Shop {
    database: SqlitePool,
    placed: Outbox,
}

type Error = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Error> {
    let setting = |name: &str, default: &str| env::var(name).unwrap_or_else(|_| default.to_owned());
    let database = open(&setting("DATABASE_URL", "sqlite:target/outbox-example.db")).await?;
    let queue_url = setting("QUEUE_URL", "http://127.0.0.1:9324/000000000000/local-orders");
    let address = format!("127.0.0.1:{}", setting("PORT", "3000"));

    let (stop, stopped) = watch::channel(false);
    let wait_for = |mut stopped: watch::Receiver<bool>| async move { drop(stopped.wait_for(|is_so| *is_so).await) };
    let client = aws_sdk_sqs::Client::new(&aws_config::load_from_env().await);
    let relay = Relay::new(database.clone(), client).run_until(wait_for(stopped.clone()));

    let listener = TcpListener::bind(&address).await?;
    println!("taking orders on http://{}/", listener.local_addr()?);
    let shop = Arc::new(Shop { database, placed: Outbox::new(queue_url) });
    let app = Router::new().route("/", post(place)).with_state(shop);
    let server = axum::serve(listener, app).with_graceful_shutdown(wait_for(stopped));

    let stopping = async {
        let signal = tokio::signal::ctrl_c().await;
        stop.send_replace(true);
        signal
    };
    // If either part fails, the process ends: without a relay, no order may be accepted.
    let relay = async { Ok::<_, Error>(relay.await?) };
    let server = async { Ok(server.into_future().await?) };
    let stopping = async { Ok(stopping.await?) };
    tokio::try_join!(relay, server, stopping)?;
    Ok(())
}

async fn open(url: &str) -> Result<SqlitePool, Error> {
    let options = SqliteConnectOptions::from_str(url)?.create_if_missing(true).journal_mode(SqliteJournalMode::Wal);
    let database = SqlitePool::connect_with(options).await?;
    sqlx::raw_sql("create table if not exists orders (id text primary key, customer text not null)")
        .execute(&database)
        .await?;
    Outbox::migrate(&database).await?;
    Ok(database)
}

/// Writes the order and its message in one transaction.
async fn place(State(shop): State<Arc<Shop>>, body: String) -> (StatusCode, String) {
    let order: Order = match serde_json::from_str(&body) {
        Ok(order) => order,
        Err(error) => return (StatusCode::BAD_REQUEST, format!("{error}\n")),
    };
    match shop.write(&order).await {
        Ok(true) => (StatusCode::ACCEPTED, format!("{}\n", order.order_id)),
        Ok(false) => (StatusCode::CONFLICT, format!("{} is there already\n", order.order_id)),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
    }
}

impl Shop {
    /// Writes the order. Returns whether it is new.
    async fn write(&self, order: &Order) -> Result<bool, Error> {
        let mut transaction = self.database.begin_with("begin immediate").await?;
        let insert = sqlx::query("insert into orders (id, customer) values (?, ?) on conflict do nothing");
        let inserted = insert.bind(&order.order_id).bind(&order.customer).execute(&mut *transaction).await?;
        if inserted.rows_affected() == 0 {
            return Ok(false);
        }
        self.placed.enqueue(&mut transaction, order).await?;
        transaction.commit().await?;
        Ok(true)
    }
}
