//! The `redrive` command.

fn main() -> std::process::ExitCode {
    redrive::cli::main()
}
