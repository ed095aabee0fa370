//! The log of a program that has not set one up.

use std::io::{IsTerminal, stdout};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// Installs a subscriber, unless there is one: JSON lines, as CloudWatch reads them, or text on a terminal. `RUST_LOG`
/// says what is logged; where that is not set, `AWS_LAMBDA_LOG_LEVEL` does, which Lambda's logging settings set.
pub(crate) fn install() {
    if tracing::dispatcher::has_been_set() {
        return;
    }
    let level = std::env::var("AWS_LAMBDA_LOG_LEVEL").ok().and_then(|level| level.parse().ok());
    let filter =
        EnvFilter::builder().with_default_directive(level.unwrap_or(LevelFilter::INFO).into()).from_env_lossy();
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter);
    // Should another thread have installed one meanwhile, then that is the one.
    let _ = match stdout().is_terminal() {
        true => subscriber.try_init(),
        false => subscriber.json().with_ansi(false).try_init(),
    };
}
