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

/// What `RUST_LOG` says; else the level that Lambda's logging settings ask for; else `info`.
///
/// From `info` on the span of each record is shown as well, so that the handler's own lines tell which message they are
/// about.
fn filter() -> EnvFilter {
    if env::var_os(EnvFilter::DEFAULT_ENV).is_some() {
        return EnvFilter::from_default_env();
    }
    let level = env::var("AWS_LAMBDA_LOG_LEVEL").ok();
    EnvFilter::new(match level.as_deref().map(str::to_ascii_lowercase).as_deref() {
        // The least of Lambda's levels is none of tracing's.
        Some("fatal" | "error") => "error",
        Some("warn") => "warn",
        Some("debug") => "debug",
        Some("trace") => "trace",
        _ => "info,redrive=debug",
    })
}
