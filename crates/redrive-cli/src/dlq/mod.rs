//! `redrive dlq`: looks at dead letters, moves them back, or deletes them.

mod browse;
mod confirm;
mod date;
mod dead_letter;
mod delete;
mod end;
mod filter;
mod leases;
mod lines;
mod list;
mod r#move;
mod search;
mod seen;
mod send_back;
mod target;
mod task;

use std::time::Instant;

use clap::{Args, Subcommand};

use super::Done;
use super::interrupt::until_hurried;

/// List the messages of a dead-letter queue, move them back, or delete them
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
    let began = Instant::now();
    runtime.block_on(async {
        let meaning = "received messages are released";
        let done = until_hurried(meaning, async |stop| match &arguments.command {
            Subcommands::List(arguments) => list::list(arguments, &stop).await,
            Subcommands::Move(arguments) => r#move::r#move(arguments, &stop).await,
            Subcommands::Delete(arguments) => delete::delete(arguments, &stop).await,
        });
        done.await.unwrap_or_else(|| {
            let longest = leases::longest_lease(browse::LEASE, began.elapsed()).as_secs();
            eprintln!(
                "redrive: ended before all messages were released; hidden ones become visible within {longest} s"
            );
            Ok(Done { output: String::new(), is_good: false })
        })
    })
}

/// Returns the result of a run that could not continue: an error if it has done nothing, else its summary.
fn ended_early(problem: String, summary: String, has_begun: bool) -> Result<Done, String> {
    if !has_begun {
        return Err(format!("{problem}; {summary}"));
    }
    eprintln!("redrive: {problem}");
    Ok(Done { output: format!("{summary}; stopped, and the other messages stay\n"), is_good: false })
}

/// Formats `2 messages` or `1 message`.
fn counted(count: usize) -> String {
    format!("{count} message{}", if count == 1 { "" } else { "s" })
}
