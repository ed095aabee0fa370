//! Reads the output of a function's process, line by line.

use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt};

/// The limit for a line, in bytes. A longer line is split into several.
pub(super) const LINE_LIMIT_BYTES: usize = 64 * 1024;

/// The size of one read, in bytes.
const READ_BYTES: usize = 8 * 1024;

/// Receives the lines of all processes of a function. It must not block.
pub(crate) type LogSink = Arc<dyn Fn(LogLine) + Send + Sync>;

/// A line of a function's output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogLine {
    /// The latest invocation of the process when the line was read, or `None` before its first.
    pub(crate) request_id: Option<String>,
    /// The text without its line ending. Bytes that are not UTF-8 are replaced.
    pub(crate) line: String,
    pub(crate) stream: Stream,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

/// The current invocation of a process. Output between two invocations belongs to the first, because the process may
/// still be cleaning up after it.
#[derive(Clone, Default)]
pub(super) struct CurrentRequest(Arc<Mutex<Option<String>>>);

impl CurrentRequest {
    pub(super) fn begin(&self, request_id: &str) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(request_id.to_owned());
    }

    fn get(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Reads a pipe to its end.
pub(super) async fn read_lines(
    mut pipe: impl AsyncRead + Unpin,
    stream: Stream,
    request: CurrentRequest,
    sink: LogSink,
) {
    let hand_on = |line| sink(LogLine { request_id: request.get(), line, stream });
    let (mut lines, mut read) = (Lines::default(), vec![0; READ_BYTES]);
    // An error ends the pipe as well.
    while let Ok(length @ 1..) = pipe.read(&mut read).await {
        lines.push(&read[..length], hand_on);
    }
    lines.end(hand_on);
}

/// Splits bytes into lines.
#[derive(Default)]
struct Lines {
    /// The beginning of a line whose end has not arrived.
    begun: Vec<u8>,
}

impl Lines {
    fn push(&mut self, bytes: &[u8], hand_on: impl Fn(String)) {
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            self.begun.extend_from_slice(piece);
            if self.begun.last() == Some(&b'\n') {
                let line = mem::take(&mut self.begun);
                hand_on_in_pieces(&line, &hand_on);
            } else if self.begun.len() > LINE_LIMIT_BYTES {
                let rest = self.begun.split_off(boundary(&self.begun));
                hand_on(text(&mem::replace(&mut self.begun, rest)));
            }
        }
    }

    fn end(self, hand_on: impl Fn(String)) {
        if !self.begun.is_empty() {
            hand_on_in_pieces(&self.begun, &hand_on);
        }
    }
}

/// Passes on a complete line. It may exceed the limit by the bytes of the last read.
fn hand_on_in_pieces(line: &[u8], hand_on: &impl Fn(String)) {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let mut rest = line.strip_suffix(b"\r").unwrap_or(line);
    while rest.len() > LINE_LIMIT_BYTES {
        let (piece, after) = rest.split_at(boundary(rest));
        hand_on(text(piece));
        rest = after;
    }
    hand_on(text(rest));
}

/// Returns where to split a line that exceeds the limit, without splitting a UTF-8 character.
fn boundary(line: &[u8]) -> usize {
    /// The largest number of bytes of a character after its first.
    const CONTINUATIONS: usize = 3;
    let continues = |&at: &usize| line[at] & 0b1100_0000 == 0b1000_0000;
    let cuts = (LINE_LIMIT_BYTES - CONTINUATIONS..=LINE_LIMIT_BYTES).rev();
    cuts.into_iter().find(|at| !continues(at)).unwrap_or(LINE_LIMIT_BYTES)
}

fn text(line: &[u8]) -> String {
    String::from_utf8_lossy(line).into_owned()
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    fn lines_of(chunks: &[&[u8]]) -> Vec<String> {
        let (mut lines, read) = (Lines::default(), RefCell::new(Vec::new()));
        let hand_on = |line| read.borrow_mut().push(line);
        chunks.iter().for_each(|chunk| lines.push(chunk, hand_on));
        lines.end(hand_on);
        read.into_inner()
    }

    #[test]
    fn lines_are_joined_across_reads() {
        assert_eq!(lines_of(&[b"one\ntw", b"o\r\n", b"\n", b"three"]), ["one", "two", "", "three"]);
        assert_eq!(lines_of(&[b"one\n"]), ["one"]);
        assert!(lines_of(&[]).is_empty());
    }

    #[test]
    fn bytes_that_are_not_text_are_replaced() {
        assert_eq!(lines_of(&[b"a\xffb\n"]), ["a\u{fffd}b"]);
    }

    #[test]
    fn line_over_the_limit_is_split_without_loss() {
        let long = "é".repeat(LINE_LIMIT_BYTES + 7);
        let whole: Vec<&[u8]> = vec![long.as_bytes()];
        let in_chunks: Vec<&[u8]> = long.as_bytes().chunks(READ_BYTES - 1).collect();
        for chunks in [whole, in_chunks] {
            let lines = lines_of(&chunks);
            assert!(lines.iter().all(|line| line.len() <= LINE_LIMIT_BYTES));
            assert!(lines.len() > 1);
            assert_eq!(lines.concat(), long);
        }
    }

    #[test]
    fn line_without_an_end_is_passed_on_before_its_end() {
        let mut lines = Lines::default();
        for _ in 0..=LINE_LIMIT_BYTES / READ_BYTES * 3 {
            lines.push(&[b'x'; READ_BYTES], |_| {});
            assert!(lines.begun.len() <= LINE_LIMIT_BYTES + READ_BYTES);
        }
    }

    #[test]
    fn line_that_ends_just_over_the_limit_is_split() {
        let line = [b"x".repeat(LINE_LIMIT_BYTES), b"yz\n".to_vec()].concat();
        let lines = lines_of(&[&line]);
        assert_eq!(lines.iter().map(String::len).collect::<Vec<_>>(), [LINE_LIMIT_BYTES, 2]);
    }
}
