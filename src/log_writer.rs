//! A log writer that never blocks its caller.
//!
//! Standard output is a pipe that is full after 64 KiB if nobody reads it, and a handler may hold its lock. A write
//! then blocks, and a blocked worker sends no heartbeats. So lines go into a buffer, and a separate thread writes them.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tracing_subscriber::fmt::MakeWriter;

/// The limit of buffered lines, some thousands. Further lines are dropped and counted.
const BUFFER_BYTES: usize = 1024 * 1024;

/// Writes lines to standard output from a separate thread. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct LogWriter {
    inner: Arc<WriterInner>,
}

#[derive(Debug, Default)]
struct WriterInner {
    buffer: Mutex<Buffer>,
    /// Signals that there is something to write.
    filled: Condvar,
    /// Signals that everything is written.
    emptied: Condvar,
    /// Whether callers write lines directly, because the worker has ended and nobody would wait for the thread.
    is_direct: AtomicBool,
}

#[derive(Debug, Default)]
struct Buffer {
    lines: VecDeque<Vec<u8>>,
    /// The bytes of these lines, and of those that are being written.
    bytes: usize,
    /// Lines that were dropped since the last report.
    dropped: u64,
}

impl LogWriter {
    /// Creates a writer to standard output.
    pub(crate) fn to_stdout() -> Self {
        Self::to(io::stdout)
    }

    fn to<W: Write>(open: impl Fn() -> W + Send + 'static) -> Self {
        let writer = Self { inner: Arc::default() };
        let inner = writer.inner.clone();
        let spawned = thread::Builder::new().name("redrive-log".to_owned()).spawn(move || inner.write_for_ever(open));
        // Without a thread, lines are written directly: slow is better than silent.
        writer.inner.is_direct.store(spawned.is_err(), Ordering::Relaxed);
        writer
    }

    /// Waits until everything is written, up to a limit. Returns whether it is.
    pub(crate) fn flush(&self, limit: Duration) -> bool {
        let end = Instant::now() + limit;
        let mut buffer = self.inner.buffer();
        while buffer.bytes > 0 {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            (buffer, _) = self.inner.emptied.wait_timeout(buffer, left).unwrap_or_else(PoisonError::into_inner);
        }
        true
    }

    /// Does the same, then makes callers write directly, unless standard output is blocked.
    pub(crate) fn finish(&self, limit: Duration) {
        if self.flush(limit) {
            self.inner.is_direct.store(true, Ordering::Relaxed);
        }
    }
}

impl WriterInner {
    fn buffer(&self) -> MutexGuard<'_, Buffer> {
        // No code that writes or logs runs under this lock.
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, line: &[u8]) {
        let mut buffer = self.buffer();
        if buffer.bytes + line.len() > BUFFER_BYTES {
            buffer.dropped += 1;
            return;
        }
        buffer.bytes += line.len();
        buffer.lines.push_back(line.to_vec());
        drop(buffer);
        self.filled.notify_one();
    }

    fn write_for_ever<W: Write>(&self, open: impl Fn() -> W) {
        loop {
            let lines = self.next_lines();
            let mut bytes = 0;
            for line in lines {
                bytes += line.len();
                // An error cannot be reported if nothing can be written.
                let _ = open().write_all(&line);
            }
            let _ = open().flush();
            let dropped = {
                let mut buffer = self.buffer();
                buffer.bytes -= bytes;
                std::mem::take(&mut buffer.dropped)
            };
            if dropped > 0 {
                tracing::warn!(dropped, "standard output was blocked; lines of the log were dropped");
            }
            self.emptied.notify_all();
        }
    }

    fn next_lines(&self) -> VecDeque<Vec<u8>> {
        let mut buffer = self.buffer();
        while buffer.lines.is_empty() {
            buffer = self.filled.wait(buffer).unwrap_or_else(PoisonError::into_inner);
        }
        std::mem::take(&mut buffer.lines)
    }
}

impl<'a> MakeWriter<'a> for LogWriter {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line(&self.inner)
    }
}

/// Receives one line. A subscriber writes an event at once.
pub(crate) struct Line<'a>(&'a WriterInner);

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.0.is_direct.load(Ordering::Relaxed) {
            io::stdout().write_all(line)?;
        } else {
            self.0.add(line);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// A pipe that may be blocked.
    #[derive(Clone, Default)]
    struct Pipe(Arc<(Mutex<Content>, Condvar)>);

    #[derive(Default)]
    struct Content {
        is_blocked: bool,
        bytes: Vec<u8>,
    }

    impl Pipe {
        fn block(&self, is_blocked: bool) {
            self.0.0.lock().unwrap().is_blocked = is_blocked;
            self.0.1.notify_all();
        }

        fn text(&self) -> String {
            String::from_utf8(self.0.0.lock().unwrap().bytes.clone()).unwrap()
        }
    }

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut pipe = self.0.1.wait_while(self.0.0.lock().unwrap(), |pipe| pipe.is_blocked).unwrap();
            pipe.bytes.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn writer_to(pipe: &Pipe) -> LogWriter {
        let pipe = pipe.clone();
        LogWriter::to(move || pipe.clone())
    }

    fn log(writer: &LogWriter, line: &str) {
        writer.make_writer().write_all(line.as_bytes()).unwrap();
    }

    #[test]
    fn lines_are_written_in_order() {
        let pipe = Pipe::default();
        let writer = writer_to(&pipe);
        let lines: Vec<_> = (0..1_000).map(|number| format!("line {number}\n")).collect();
        lines.iter().for_each(|line| log(&writer, line));
        assert!(writer.flush(10 * SECOND));
        assert_eq!(pipe.text(), lines.concat());
    }

    #[test]
    fn blocked_pipe_does_not_block_callers_and_excess_lines_are_dropped() {
        let pipe = Pipe::default();
        pipe.block(true);
        let writer = writer_to(&pipe);
        let (line, fitting) = ("x".repeat(1_023) + "\n", BUFFER_BYTES / 1_024);
        (0..fitting + 100).for_each(|_| log(&writer, &line));
        assert!(!writer.flush(SECOND / 20), "the pipe is blocked");
        assert_eq!(writer.inner.buffer().dropped, 100);
        pipe.block(false);
        assert!(writer.flush(10 * SECOND));
        assert_eq!(pipe.text().len(), BUFFER_BYTES);
        log(&writer, &line);
        assert!(writer.flush(10 * SECOND));
        assert_eq!(pipe.text().len(), BUFFER_BYTES + line.len(), "there is room again");
        assert_eq!(writer.inner.buffer().dropped, 0, "the log has reported the dropped lines");
    }

    #[test]
    fn finished_writer_leaves_nothing_in_the_buffer() {
        let pipe = Pipe::default();
        let writer = writer_to(&pipe);
        log(&writer, "the last line\n");
        writer.finish(10 * SECOND);
        assert_eq!(pipe.text(), "the last line\n");
        assert!(writer.inner.is_direct.load(Ordering::Relaxed), "later lines are written directly");
        pipe.block(true);
        let blocked = writer_to(&pipe);
        log(&blocked, "a line\n");
        blocked.finish(SECOND / 20);
        assert!(!blocked.inner.is_direct.load(Ordering::Relaxed), "no caller waits for a blocked pipe");
        pipe.block(false);
    }
}
