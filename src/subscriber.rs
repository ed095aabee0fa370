//! The default log of a program that has not set one up.

use std::env;
use std::io::{IsTerminal, stdout};
#[cfg(feature = "worker")]
use std::sync::OnceLock;
#[cfg(feature = "worker")]
use std::time::Duration;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

#[cfg(feature = "worker")]
use crate::log_writer::LogWriter;

/// The route by which lines reach standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lines {
    /// Each line is written before the program continues. Lambda freezes a process after its answer, and buffered lines
    /// would be lost.
    #[cfg(feature = "lambda")]
    AtOnce,
    /// A separate thread writes the lines. A worker must continue while standard output is blocked.
    #[cfg(feature = "worker")]
    Buffered,
}

/// The buffered writer of the installed subscriber.
#[cfg(feature = "worker")]
static WRITER: OnceLock<LogWriter> = OnceLock::new();

/// Installs a subscriber unless there is one. It writes JSON lines for CloudWatch, or text on a terminal.
pub(crate) fn install(lines: Lines) {
    if tracing::dispatcher::has_been_set() {
        return;
    }
    match lines {
        #[cfg(feature = "lambda")]
        Lines::AtOnce => install_with(stdout),
        #[cfg(feature = "worker")]
        Lines::Buffered => install_with(WRITER.get_or_init(LogWriter::to_stdout).clone()),
    }
}

fn install_with(writer: impl for<'a> MakeWriter<'a> + Send + Sync + 'static) {
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter()).with_writer(writer);
    // If another thread has installed a subscriber meanwhile, that one stays.
    let _ = match stdout().is_terminal() {
        true => subscriber.try_init(),
        false => subscriber.json().with_ansi(false).try_init(),
    };
}

/// Waits until the buffered lines are written, up to a limit.
#[cfg(feature = "worker")]
pub(crate) fn flush(limit: Duration) {
    if let Some(writer) = WRITER.get() {
        writer.flush(limit);
    }
}

/// Does the same at the end of a worker. Later lines are written directly, because nobody waits for the buffer any
/// more.
#[cfg(feature = "worker")]
pub(crate) fn finish(limit: Duration) {
    if let Some(writer) = WRITER.get() {
        writer.finish(limit);
    }
}

/// Targets that log what is sent over the network, with message bodies and receipt handles, at `debug` or `trace`. They
/// stay at `info` unless `RUST_LOG` names them, so that a level for all targets does not log payloads.
const WIRE_TARGETS: [&str; 8] =
    ["aws_config", "aws_runtime", "aws_sdk_", "aws_sigv4", "aws_smithy_", "h2", "hyper", "lambda_runtime"];

/// Returns the filter of `RUST_LOG`, else the level of Lambda's logging settings, else `info`.
///
/// From `info` on each record's span is shown too, so that the handler's own lines name their message.
fn filter() -> EnvFilter {
    EnvFilter::new(directives(env::var(EnvFilter::DEFAULT_ENV).ok(), env::var("AWS_LAMBDA_LOG_LEVEL").ok()))
}

fn directives(rust_log: Option<String>, lambda_log_level: Option<String>) -> String {
    let mut directives = rust_log.unwrap_or_else(|| of_level(lambda_log_level.as_deref()).to_owned());
    if directives.split(',').any(is_verbose_for_all) {
        for target in WIRE_TARGETS.iter().filter(|target| !names(&directives, target)).collect::<Vec<_>>() {
            directives.push_str(&format!(",{target}=info"));
        }
    }
    directives
}

/// Returns whether this directive is a verbose level without a target, which would log network traffic.
fn is_verbose_for_all(directive: &str) -> bool {
    ["debug", "trace", "4", "5"].iter().any(|level| directive.trim().eq_ignore_ascii_case(level))
}

fn names(directives: &str, target: &str) -> bool {
    directives.split(',').any(|directive| directive.trim().split(['=', '[']).next() == Some(target))
}

fn of_level(lambda_log_level: Option<&str>) -> &'static str {
    match lambda_log_level.map(str::to_ascii_lowercase).as_deref() {
        // Lambda's least verbose level does not exist in tracing.
        Some("fatal" | "error") => "error",
        Some("warn") => "warn",
        Some("debug") => "debug",
        Some("trace") => "trace",
        _ => "info,redrive=debug",
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Shown(Arc<Mutex<Vec<u8>>>);

    impl Write for Shown {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(line);
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Logs a line for each target at each level, and returns what is shown.
    fn shown(rust_log: Option<&str>, lambda_log_level: Option<&str>) -> String {
        let (shown, directives) =
            (Shown::default(), directives(rust_log.map(str::to_owned), lambda_log_level.map(str::to_owned)));
        let writer = shown.clone();
        let subscriber = tracing_subscriber::fmt().with_env_filter(EnvFilter::new(directives)).with_ansi(false);
        tracing::subscriber::with_default(subscriber.with_writer(move || writer.clone()).finish(), || {
            macro_rules! log {
                ($($target:literal)*) => {$(
                    tracing::warn!(target: $target, "warn-{}", $target);
                    tracing::debug!(target: $target, "debug-{}", $target);
                    tracing::trace!(target: $target, "trace-{}", $target);
                )*};
            }
            log!("orders" "redrive::worker" "aws_smithy_runtime::client" "aws_sdk_sqs::operation" "hyper::proto::h1" "h2::frame");
        });
        String::from_utf8(shown.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn level_for_all_targets_does_not_log_network_traffic() {
        for shown in ["debug", "TRACE", "info,trace", "redrive=warn,debug", "5"].map(|level| shown(Some(level), None)) {
            assert!(shown.contains("debug-orders"), "{shown}");
            for wire in ["aws_smithy_runtime", "aws_sdk_sqs", "hyper", "h2"] {
                assert!(shown.contains(&format!("warn-{wire}")), "{shown}");
                assert!(
                    !shown.contains(&format!("debug-{wire}")) && !shown.contains(&format!("trace-{wire}")),
                    "{shown}"
                );
            }
        }
        for shown in ["debug", "TRACE"].map(|level| shown(None, Some(level))) {
            assert!(
                shown.contains("debug-orders") && !shown.contains("debug-aws") && !shown.contains("debug-h"),
                "{shown}"
            );
        }
    }

    #[test]
    fn named_target_logs_network_traffic() {
        for rust_log in
            ["debug,aws_smithy_runtime=trace", "debug,aws_smithy_=trace", "aws_smithy_runtime::client=trace"]
        {
            let shown = shown(Some(rust_log), None);
            assert!(shown.contains("trace-aws_smithy_runtime") && !shown.contains("debug-hyper"), "{shown}");
        }
    }

    #[test]
    fn low_level_for_all_targets_is_not_raised() {
        assert_eq!(shown(Some("error"), None), "");
        assert_eq!(shown(None, Some("FATAL")), "");
        let usual = shown(None, None);
        assert!(usual.contains("debug-redrive") && !usual.contains("debug-orders"), "{usual}");
    }
}
