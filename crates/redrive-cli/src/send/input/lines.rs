//! Reads one body from each line.

use std::io::{self, BufRead, Read};

use redrive::internals::limits::MAX_MESSAGE_BYTES;
use serde::de::IgnoredAny;

use super::{Gone, InputItem, Reading, no_text, too_long};
use crate::send::message::{InputPosition, Message};

/// The longest body plus the end of its line.
const MAX_LINE_BYTES: usize = MAX_MESSAGE_BYTES + 2;

impl Reading {
    /// Reads lines. If `is_asked` is set, the user asked for lines, and JSON that spans lines is accepted.
    pub(super) fn lines(&self, mut from: impl BufRead, is_asked: bool) -> Result<(), Gone> {
        self.check_group()?;
        let mut line = Vec::new();
        let mut is_judged = is_asked;
        for number in 1.. {
            match next_line(&mut from, &mut line) {
                Ok(Some(Line::Whole)) if !is_judged && is_cut_off(&line) => {
                    return self.tell(InputItem::Broken(format!(
                        "{}: line {number} begins JSON that does not end on that line; pass --whole to send the input \
                         as one body, or --lines to send each line as a body",
                        self.name
                    )));
                }
                Ok(Some(Line::Whole)) => {
                    is_judged |= !line.is_empty();
                    self.line(InputPosition::Line(number), &line)?;
                }
                Ok(Some(Line::TooLong)) => self.unsendable(InputPosition::Line(number), too_long())?,
                Ok(None) => break,
                Err(error) => return self.broken(&error),
            }
        }
        Ok(())
    }

    fn line(&self, position: InputPosition, line: &[u8]) -> Result<(), Gone> {
        match std::str::from_utf8(line) {
            Ok("") => self.tell(InputItem::EmptyLine),
            Ok(body) => self.message(Message::new(position, body.to_owned())),
            Err(error) => self.unsendable(position, no_text(error)),
        }
    }
}

/// Returns whether the line begins JSON that ends on a later line. Such a line is part of a document and not a message.
fn is_cut_off(line: &[u8]) -> bool {
    matches!(line.trim_ascii_start().first(), Some(b'{' | b'['))
        && serde_json::from_slice::<IgnoredAny>(line).is_err_and(|error| error.is_eof())
}

#[derive(Debug, PartialEq, Eq)]
enum Line {
    Whole,
    /// The line is too long. Its rest is skipped.
    TooLong,
}

/// Reads the next line without its end. Returns `None` at the end of the input.
fn next_line(from: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<Option<Line>> {
    line.clear();
    let read = from.by_ref().take(MAX_LINE_BYTES as u64).read_until(b'\n', line)?;
    if read == 0 {
        return Ok(None);
    }
    if line.pop_if(|byte| *byte == b'\n').is_none() && read == MAX_LINE_BYTES {
        from.skip_until(b'\n')?;
        return Ok(Some(Line::TooLong));
    }
    line.pop_if(|byte| *byte == b'\r');
    Ok(Some(Line::Whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &[u8]) -> Vec<(Line, Vec<u8>)> {
        let (mut from, mut line, mut lines) = (text, Vec::new(), Vec::new());
        while let Some(what) = next_line(&mut from, &mut line).unwrap() {
            lines.push((what, line.clone()));
        }
        lines
    }

    #[test]
    fn a_line_ends_with_lf_crlf_or_the_end_of_the_input() {
        let whole = |text: &str| (Line::Whole, text.as_bytes().to_vec());
        assert_eq!(lines(b"a\r\n\nb \nc"), [whole("a"), whole(""), whole("b "), whole("c")]);
        assert_eq!(lines(b"a\n"), [whole("a")]);
        assert_eq!(lines(b""), []);
    }

    #[test]
    fn json_over_several_lines_is_recognized_by_its_first_line() {
        for cut_off in ["{", " [ ", "{\"a\":", "[{\"a\": 1},"] {
            assert!(is_cut_off(cut_off.as_bytes()), "{cut_off}");
        }
        for other in ["", "{}", "[1]", "{\"a\": 1} and more", "[info] started", "{{template}}", "text", "\"quote"] {
            assert!(!is_cut_off(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn a_line_that_is_too_long_fails_alone() {
        let long = [vec![b'x'; MAX_LINE_BYTES * 2], b"\nb\n".to_vec()].concat();
        let lines = lines(&long);
        assert_eq!(lines.iter().map(|(what, _)| what).collect::<Vec<_>>(), [&Line::TooLong, &Line::Whole]);
        assert_eq!(lines[1].1, b"b");
    }

    #[test]
    fn the_longest_body_fits_with_each_line_end() {
        for end in ["\n", "\r\n", ""] {
            let text = [vec![b'x'; MAX_MESSAGE_BYTES], end.into()].concat();
            assert_eq!(lines(&text)[0].1.len(), MAX_MESSAGE_BYTES, "{end:?}");
        }
    }
}
