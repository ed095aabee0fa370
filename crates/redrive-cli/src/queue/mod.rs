//! `redrive queue`.

mod create;
mod report;
mod wanted;

use clap::{Args, Subcommand};

use super::Done;

/// Create queues
#[derive(Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Subcommands,
}

#[derive(Subcommand)]
enum Subcommands {
    Create(create::Arguments),
}

pub(super) fn run(arguments: &Arguments) -> Result<Done, String> {
    let Subcommands::Create(arguments) = &arguments.command;
    let runtime = tokio::runtime::Runtime::new().map_err(|error| format!("cannot start: {error}"))?;
    runtime.block_on(create::create(arguments))
}
