//! The `redrive` command.

mod check;
mod dev;
mod dlq;
mod format;
mod function;
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

/// A queue, a function, and the settings between them.
#[derive(Parser)]
#[command(
    name = "redrive",
    version,
    about = "A toolbox for SQS consumers: checks templates, runs them locally, sends messages, and manages dead letters"
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

/// The result of a command: its output, and whether all is well.
struct Done {
    output: String,
    is_good: bool,
}

/// Runs the command of this process's arguments.
///
/// Status 0: all is well. 1: something is not, and the output says what. 2: the command could not do its work.
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
            // The reader may have closed the pipe, as `head` does, which is not an error.
            let _ = std::io::stdout().lock().write_all(output.as_bytes());
            if is_good { ExitCode::SUCCESS } else { ExitCode::from(1) }
        }
        Err(problem) => {
            eprintln!("redrive: {problem}");
            ExitCode::from(2)
        }
    }
}
