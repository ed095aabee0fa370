//! `redrive outbox relay`.

use std::time::Duration;

use clap::{Args, ValueEnum};
use redrive_outbox::{OutboxDatabase, Relay, WhenParked};
use tracing_subscriber::EnvFilter;

use super::database::{Database, DatabaseArguments, with_pool};
use crate::Done;
use crate::interrupt::{Stop, until_hurried};

/// Send committed messages until SIGTERM or Ctrl-C
///
/// Finishes its running work before it ends. Any number of relays may run at the same time. Region and credentials are
/// found as by every AWS tool. It needs sqs:SendMessage on the queues. The log goes to standard error, and RUST_LOG
/// filters it.
///
/// Exits with 0 after a requested end, and with 2 if it could not start.
#[derive(Args)]
#[command(after_help = "Examples:
  redrive outbox relay --database-url postgres://app@db.internal/shop
  DATABASE_URL=sqlite:///var/lib/shop/shop.db redrive outbox relay --endpoint-url http://127.0.0.1:9324")]
pub(super) struct Arguments {
    #[command(flatten)]
    database: DatabaseArguments,
    /// The SQS to send to, instead of the region's own
    #[arg(long, value_name = "URL")]
    endpoint_url: Option<String>,
    /// The number of calls in flight at a time for each queue
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    concurrency: u16,
    /// The time that the relay leases a part of the messages, in seconds, 10 to 120. Its messages wait this long if it dies.
    /// A call to SQS may take a sixth of the lease
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u16).range(10..=120))]
    lease: u16,
    /// The time to wait for a connection to the database, and again for a transaction, in milliseconds; at most
    /// a third of the lease
    #[arg(long, value_name = "MS", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(100..=40_000))]
    database_timeout: u32,
    /// The interval of looking for messages without a notification, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=3_600_000))]
    poll_interval: u32,
    /// The number of refusals by SQS before a message is parked
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    park_after: u32,
    /// The treatment of a FIFO group's messages behind a parked one
    #[arg(long, value_name = "WHAT", default_value = "hold")]
    when_parked: Parked,
    /// The time that rows of sent messages are kept, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 3_600)]
    keep_sent: u32,
}

#[derive(Clone, Copy, ValueEnum)]
enum Parked {
    /// They wait until it is retried or deleted
    Hold,
    /// They are sent
    GoOn,
}

pub(super) async fn relay(arguments: &Arguments) -> Result<Done, String> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    // A test may have installed one already.
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).try_init();
    let database = arguments.database.connect().await?;
    with_pool!(database, pool => arguments.run(pool).await)
}

impl Arguments {
    async fn run<DB: OutboxDatabase>(&self, pool: sqlx::Pool<DB>) -> Result<Done, String> {
        let relay = self.relay(pool, self.client().await);
        let work = async |stop: Stop| {
            eprintln!("redrive: sending committed messages; Ctrl-C ends it");
            relay.run_until(stop.wanted()).await
        };
        match until_hurried("finishing running sends", work).await {
            Some(Ok(())) => Ok(Done { output: String::new(), is_good: true }),
            Some(Err(error)) => Err(error.to_string()),
            None => Err(format!(
                "ended before all results were known; unknown messages are sent again by another relay, under the same ids, in {} s",
                self.lease
            )),
        }
    }

    fn relay<DB: OutboxDatabase>(&self, pool: sqlx::Pool<DB>, client: aws_sdk_sqs::Client) -> Relay<DB> {
        let when_parked = match self.when_parked {
            Parked::Hold => WhenParked::Hold,
            Parked::GoOn => WhenParked::GoOn,
        };
        Relay::new(pool, client)
            .concurrency(self.concurrency.into())
            .lease(Duration::from_secs(self.lease.into()))
            .poll_interval(Duration::from_millis(self.poll_interval.into()))
            .database_timeout(Duration::from_millis(self.database_timeout.into()))
            .park_after(self.park_after)
            .when_parked(when_parked)
            .keep_sent(Duration::from_secs(self.keep_sent.into()))
    }

    async fn client(&self) -> aws_sdk_sqs::Client {
        let mut config = aws_config::from_env();
        if let Some(url) = &self.endpoint_url {
            config = config.endpoint_url(url);
        }
        aws_sdk_sqs::Client::new(&config.load().await)
    }
}
