//! `redrive outbox status`, `parked` and `retry`.

use std::time::Duration;

use clap::Args;
use redrive_outbox::{Outbox, OutboxError, OutboxStatus, ParkedMessage};
use serde_json::json;

use super::database::{Database, DatabaseArguments, with_pool};
use crate::Done;

/// Print how many messages wait, and for how long
///
/// Exits with 1 if a message is parked.
#[derive(Args)]
pub(super) struct StatusArguments {
    #[command(flatten)]
    database: DatabaseArguments,
    /// Write one JSON object, for programs
    #[arg(long)]
    json: bool,
}

/// Print the messages that SQS refuses, with the reasons
///
/// Exits with 1 if there is one.
#[derive(Args)]
pub(super) struct ParkedArguments {
    #[command(flatten)]
    database: DatabaseArguments,
    /// Print at most this many
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: u32,
    /// Write one JSON object a line, for programs
    #[arg(long)]
    json: bool,
}

/// Retry parked messages, and then the messages held behind them
///
/// Fix a message in its row before you retry it. If you delete the row instead, run this command too, so that the
/// messages behind it are sent.
#[derive(Args)]
pub(super) struct RetryArguments {
    #[command(flatten)]
    database: DatabaseArguments,
    /// The rows, as `redrive outbox parked` prints them
    #[arg(value_name = "ROW", required_unless_present = "all")]
    rows: Vec<i64>,
    /// All parked messages
    #[arg(long, conflicts_with = "rows")]
    all: bool,
}

fn told<T>(result: Result<T, OutboxError>) -> Result<T, String> {
    result.map_err(|error| error.to_string())
}

pub(super) async fn status(arguments: &StatusArguments) -> Result<Done, String> {
    let status = with_pool!(arguments.database.connect().await?, pool => told(Outbox::status(&pool).await))?;
    let OutboxStatus { pending, held, parked, lag, .. } = status;
    let output = if arguments.json {
        let lag_seconds = lag.map(|lag| lag.as_secs_f64());
        format!("{}\n", json!({ "pending": pending, "held": held, "parked": parked, "lagSeconds": lag_seconds }))
    } else {
        let oldest = lag.map(|lag| format!(", the oldest for {}", in_words(lag))).unwrap_or_default();
        format!("{pending} to be sent{oldest}\n{held} held behind a parked message\n{parked} parked\n")
    };
    Ok(Done { output, is_good: parked == 0 })
}

pub(super) async fn parked(arguments: &ParkedArguments) -> Result<Done, String> {
    let limit = usize::try_from(arguments.limit).unwrap_or(usize::MAX);
    let parked = with_pool!(arguments.database.connect().await?, pool => told(Outbox::parked(&pool, limit).await))?;
    let line = if arguments.json { as_json } else { as_text };
    let output = match parked.is_empty() && !arguments.json {
        true => "no message is parked\n".to_owned(),
        false => parked.iter().map(line).collect(),
    };
    Ok(Done { output, is_good: parked.is_empty() })
}

pub(super) async fn retry(arguments: &RetryArguments) -> Result<Done, String> {
    let rows = (!arguments.all).then_some(&*arguments.rows);
    let retried = with_pool!(arguments.database.connect().await?, pool => told(Outbox::retry(&pool, rows).await))?;
    let is_good = rows.is_none_or(|rows| retried == rows.len() as u64);
    let output = match is_good {
        true => format!("{retried} will be sent again\n"),
        false => format!("{retried} will be sent again; the other rows are not parked\n"),
    };
    Ok(Done { output, is_good })
}

fn as_text(message: &ParkedMessage) -> String {
    let ParkedMessage { id, queue_url, group, message_id, attempts, error, age, .. } = message;
    let group = group.as_ref().map(|group| format!(", group {group}")).unwrap_or_default();
    let age = in_words(*age);
    format!("row {id}: to {queue_url}{group}, message {message_id}, {age} old, {attempts} attempts\n    {error}\n")
}

fn as_json(message: &ParkedMessage) -> String {
    let ParkedMessage { id, queue_url, group, message_id, attempts, error, age, .. } = message;
    let json = json!({
        "row": id, "queueUrl": queue_url, "group": group, "messageId": message_id, "attempts": attempts, "error": error,
        "ageSeconds": age.as_secs_f64(),
    });
    format!("{json}\n")
}

fn in_words(time: Duration) -> String {
    match time.as_secs() {
        0..120 => format!("{:.1} s", time.as_secs_f64()),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds @ 7_200..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} days", seconds / 86_400),
    }
}
