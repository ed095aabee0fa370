//! Ends the process where a return from `main` cannot.

use std::process;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// The time limit for the last log lines. A handler that blocks may hold standard output, or nobody may read it.
const LOG_LIMIT: Duration = Duration::from_millis(200);

/// Writes the reason to the log and ends the process with `code`.
pub(crate) fn end_process(code: i32, log: impl FnOnce() + Send + 'static) -> ! {
    let (told, is_told) = mpsc::channel();
    thread::spawn(move || {
        log();
        #[cfg(feature = "worker")]
        crate::subscriber::flush(LOG_LIMIT);
        // This fails after the time limit. Then nobody waits any more.
        let _ = told.send(());
    });
    let _ = is_told.recv_timeout(LOG_LIMIT);
    process::exit(code)
}
