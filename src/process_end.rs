//! Ends the process from within, where to return would not.

use std::process;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// How long the log is waited for: a handler that blocks may hold standard output, and nobody may read it.
const LOG_LIMIT: Duration = Duration::from_millis(200);

/// Ends the process with that code, after the log has been told why.
pub(crate) fn end_process(code: i32, log: impl FnOnce() + Send + 'static) -> ! {
    let (told, is_told) = mpsc::channel();
    thread::spawn(move || {
        log();
        #[cfg(feature = "worker")]
        crate::subscriber::flush(LOG_LIMIT);
        // Nobody waits for it any more if this fails.
        let _ = told.send(());
    });
    let _ = is_told.recv_timeout(LOG_LIMIT);
    process::exit(code)
}
