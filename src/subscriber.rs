//! The log of a program that has not set one up.

use std::env;
use std::io::{IsTerminal, stdout};

use tracing_subscriber::EnvFilter;

/// Installs a subscriber, unless there is one: JSON lines, as CloudWatch reads them, or text on a terminal.
pub(crate) fn install() {
    if tracing::dispatcher::has_been_set() {
        return;
    }
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter());
    // Should another thread have installed one meanwhile, then that is the one.
    let _ = match stdout().is_terminal() {
        true => subscriber.try_init(),
        false => subscriber.json().with_ansi(false).try_init(),
    };
}

/// What `RUST_LOG` says; else the level that Lambda's logging settings ask for; else `info`, and with it the span of each
/// record, so that the handler's own lines tell which message they are about.
fn filter() -> EnvFilter {
    if env::var_os(EnvFilter::DEFAULT_ENV).is_some() {
        return EnvFilter::from_default_env();
    }
    EnvFilter::new(env::var("AWS_LAMBDA_LOG_LEVEL").unwrap_or_else(|_| "info,redrive=debug".to_owned()))
}
