//! The `redrive` command.

mod check;
mod dev;
mod dlq;
mod format;
mod iam;
mod input;
mod interrupt;
mod outbox;
mod queue;
mod send;
mod sqs;
mod trace_header;

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A queue, a function, and what has to be right between them.
#[derive(Parser)]
#[command(
    name = "redrive",
    version,
    about = "SQS consumers: checks their templates, runs them here, sends to them, and looks after their dead letters"
)]
struct Command {
    #[command(subcommand)]
    command: Subcommands,
}

#[derive(Subcommand)]
enum Subcommands {
    Check(check::Arguments),
    Dev(dev::Arguments),
    Dlq(dlq::Arguments),
    Iam(iam::Arguments),
    Outbox(outbox::Arguments),
    Queue(queue::Arguments),
    Send(send::Arguments),
}

/// What a command leaves behind: its output, and whether it found what it was to look for.
struct Done {
    output: String,
    is_good: bool,
}

/// Runs the command that the arguments of this process ask for.
///
/// Status 0: all is well. 1: it is not, and the output says why. 2: the command could not do its work.
fn main() -> ExitCode {
    let done = match Command::parse().command {
        Subcommands::Check(arguments) => check::run(&arguments),
        Subcommands::Dev(arguments) => dev::run(&arguments),
        Subcommands::Dlq(arguments) => dlq::run(&arguments),
        Subcommands::Iam(arguments) => iam::run(&arguments),
        Subcommands::Outbox(arguments) => outbox::run(&arguments),
        Subcommands::Queue(arguments) => queue::run(&arguments),
        Subcommands::Send(arguments) => send::run(&arguments),
    };
    match done {
        Ok(Done { output, is_good }) => {
            // Whoever reads it may have seen enough, as `head` has: no reason to fail.
            let _ = std::io::stdout().lock().write_all(output.as_bytes());
            if is_good { ExitCode::SUCCESS } else { ExitCode::from(1) }
        }
        Err(problem) => {
            eprintln!("redrive: {problem}");
            ExitCode::from(2)
        }
    }
}
