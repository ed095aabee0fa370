//! Writes lines to standard output without blocking.

use std::collections::VecDeque;
use std::io::Write;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// The limit of bytes that wait for standard output. Further lines are dropped and counted.
const MAX_WAITING_BYTES: usize = 16 * 1024 * 1024;

/// How long to wait for the rest at the end, if nothing is written meanwhile.
const STALL_LIMIT: Duration = Duration::from_secs(5);

/// Writes lines from a separate thread, so that a stopped terminal or a full pipe blocks neither messages nor
/// functions.
///
/// On drop it waits until all lines are written, while progress is made.
pub(super) struct Output {
    shared: Arc<Shared>,
    max_waiting_bytes: usize,
    /// Formats the note about dropped lines.
    note: fn(u64) -> String,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    lines: VecDeque<String>,
    /// The bytes of lines that are not written yet.
    bytes: usize,
    /// Lines that were dropped since the last written one.
    dropped: u64,
    written: u64,
    /// Whether no line follows.
    is_closed: bool,
    has_ended: bool,
}

impl Output {
    pub(super) fn new(note: fn(u64) -> String) -> Self {
        Self::to(std::io::stdout(), MAX_WAITING_BYTES, note)
    }

    fn to(mut writer: impl Write + Send + 'static, max_waiting_bytes: usize, note: fn(u64) -> String) -> Self {
        let shared = Arc::<Shared>::default();
        let of_thread = shared.clone();
        thread::spawn(move || of_thread.write_all(&mut writer));
        Self { shared, max_waiting_bytes, note }
    }

    /// Adds a line without waiting.
    pub(super) fn line(&self, line: String) {
        let mut state = self.shared.state();
        if state.bytes > 0 && state.bytes + line.len() > self.max_waiting_bytes {
            state.dropped += 1;
            return;
        }
        self.note_dropped(&mut state);
        state.push(line);
        self.shared.changed.notify_all();
    }

    fn note_dropped(&self, state: &mut State) {
        if state.dropped > 0 {
            let note = (self.note)(std::mem::take(&mut state.dropped));
            state.push(note);
        }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        self.note_dropped(&mut state);
        state.is_closed = true;
        self.shared.changed.notify_all();
        while !state.has_ended {
            let written = state.written;
            let waited = self.shared.changed.wait_timeout(state, STALL_LIMIT);
            let (after, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            state = after;
            if timeout.timed_out() && state.written == written {
                return;
            }
        }
    }
}

impl State {
    fn push(&mut self, line: String) {
        self.bytes += line.len();
        self.lines.push_back(line);
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // No code panics under this lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_all(&self, writer: &mut impl Write) {
        let mut state = self.state();
        loop {
            if let Some(line) = state.lines.pop_front() {
                drop(state);
                // The reader may be gone, which does not end the command.
                let _ = writeln!(writer, "{line}");
                state = self.state();
                state.bytes -= line.len();
                state.written += 1;
            } else if state.is_closed {
                state.has_ended = true;
                self.changed.notify_all();
                return;
            } else {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// A writer that writes a line when it is allowed to, and reports it.
    struct Slow {
        allowed: Receiver<()>,
        taken: Sender<String>,
        line: Vec<u8>,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.line.extend(bytes);
            if self.line.ends_with(b"\n") {
                let _ = self.allowed.recv();
                let line = String::from_utf8(std::mem::take(&mut self.line)).unwrap();
                let _ = self.taken.send(line.trim_end().to_owned());
            }
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_beyond_the_limit_are_dropped_and_counted_without_waiting() {
        let ((allow, allowed), (taken, lines)) = (channel(), channel());
        let slow = Slow { allowed, taken, line: Vec::new() };
        let output = Output::to(slow, 10, |dropped| format!("{dropped} lines"));
        for number in 0..1_000 {
            output.line(format!("line{number}"));
        }
        allow.send(()).unwrap();
        assert_eq!(lines.recv().unwrap(), "line0");
        allow.send(()).unwrap();
        assert_eq!(lines.recv().unwrap(), "line1");
        drop(allow);
        drop(output);
        let rest: Vec<_> = lines.iter().collect();
        assert_eq!(rest, ["998 lines"]);
    }

    #[test]
    fn all_lines_are_written_before_the_end() {
        let ((allow, allowed), (taken, lines)) = (channel(), channel());
        drop(allow);
        let output = Output::to(Slow { allowed, taken, line: Vec::new() }, 1_000_000, |_| "dropped".to_owned());
        for number in 0..1_000 {
            output.line(number.to_string());
        }
        drop(output);
        assert_eq!(lines.try_iter().count(), 1_000);
    }
}
