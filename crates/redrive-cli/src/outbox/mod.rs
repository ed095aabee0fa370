//! `redrive outbox`.

mod database;
mod migrations;
mod relay;
mod rows;

use clap::{Args, Subcommand};

use super::Done;

/// Send and manage the messages of a transactional outbox
#[derive(Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Subcommands,
}

#[derive(Subcommand)]
enum Subcommands {
    Relay(relay::Arguments),
    Status(rows::StatusArguments),
    Parked(rows::ParkedArguments),
    Retry(rows::RetryArguments),
    Migrate(migrations::MigrateArguments),
    Migrations(migrations::PrintArguments),
}

pub(super) fn run(arguments: &Arguments) -> Result<Done, String> {
    let runtime = tokio::runtime::Runtime::new().map_err(|error| format!("cannot start: {error}"))?;
    runtime.block_on(async {
        match &arguments.command {
            Subcommands::Relay(arguments) => relay::relay(arguments).await,
            Subcommands::Status(arguments) => rows::status(arguments).await,
            Subcommands::Parked(arguments) => rows::parked(arguments).await,
            Subcommands::Retry(arguments) => rows::retry(arguments).await,
            Subcommands::Migrate(arguments) => migrations::migrate(arguments).await,
            Subcommands::Migrations(arguments) => Ok(migrations::print(arguments)),
        }
    })
}
