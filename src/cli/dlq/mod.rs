//! `redrive dlq`: what could not be done, and what becomes of it.

mod carry;
mod choice;
mod confirm;
mod delete;
mod hold;
mod letter;
mod lines;
mod list;
mod r#move;
mod place;
mod task;

use clap::{Args, Subcommand};

use super::Done;
use super::interrupt::until_hurried;

/// Look into a dead-letter queue, move messages back, or delete them
#[derive(Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Subcommands,
}

#[derive(Subcommand)]
enum Subcommands {
    List(list::Arguments),
    Move(r#move::Arguments),
    Delete(delete::Arguments),
}

pub(super) fn run(arguments: &Arguments) -> Result<Done, String> {
    let runtime = tokio::runtime::Runtime::new().map_err(|error| format!("cannot start: {error}"))?;
    runtime.block_on(async {
        let meaning = "what was received is given back";
        let done = until_hurried(meaning, async |stop| match &arguments.command {
            Subcommands::List(arguments) => list::list(arguments, &stop).await,
            Subcommands::Move(arguments) => r#move::r#move(arguments, &stop).await,
            Subcommands::Delete(arguments) => delete::delete(arguments, &stop).await,
        });
        done.await.unwrap_or_else(|| {
            Err(format!(
                "ended before all was given back; what is hidden comes back by itself within {} s",
                hold::LONGEST.as_secs()
            ))
        })
    })
}

/// `2 messages`, `1 message`.
fn counted(count: usize) -> String {
    format!("{count} message{}", if count == 1 { "" } else { "s" })
}
