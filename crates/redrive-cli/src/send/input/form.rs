//! Detects whether an input is an SQS event.

use std::io::{self, BufRead, Read};

/// The most bytes, white space included, that are read to find the first key of an event.
const MAX_BYTES: usize = 4096;

/// The byte order mark, which some editors write before UTF-8 text. It is not part of the text.
const MARK: &[u8] = "\u{feff}".as_bytes();

/// The tokens at the start of an event. White space may precede each of them. The second form is the bare list of
/// records with which EventBridge Pipes invoke a function.
const BEGINNINGS: [&[&[u8]]; 2] = [&[b"{", b"\"Records\"", b":"], &[b"[", b"{", b"\"messageId\"", b":"]];

/// The progress through one of the beginnings.
#[derive(Clone, Copy)]
struct BeginningMatcher {
    left: &'static [&'static [u8]],
    /// The bytes that were read of the first token in `left`.
    taken: usize,
}

impl BeginningMatcher {
    /// Takes the next byte. Returns whether it fits this beginning.
    fn take(&mut self, byte: u8) -> bool {
        let Some(part) = self.left.first() else { return true };
        if self.taken == 0 && byte.is_ascii_whitespace() {
            return true;
        }
        let is_next = part.get(self.taken) == Some(&byte);
        self.taken += 1;
        if self.taken == part.len() {
            (self.left, self.taken) = (&self.left[1..], 0);
        }
        is_next
    }
}

/// Returns whether the input begins as an event: `{"Records":` or `[{"messageId":`, with any white space between the
/// tokens. It reads as few bytes as the decision needs, so that a line is sent before the next one arrives. The bytes
/// are returned in `beginning`, without a byte order mark.
pub(super) fn begins_an_event(from: &mut impl BufRead, beginning: &mut Vec<u8>) -> io::Result<bool> {
    let mut possible: Vec<_> = BEGINNINGS.map(|left| BeginningMatcher { left, taken: 0 }).into();
    for byte in from.by_ref().bytes().take(MAX_BYTES) {
        let byte = byte?;
        beginning.push(byte);
        if MARK.starts_with(beginning) {
            if *beginning == MARK {
                beginning.clear();
            }
            continue;
        }
        possible.retain_mut(|begun| begun.take(byte));
        if possible.is_empty() || possible.iter().any(|begun| begun.left.is_empty()) {
            return Ok(!possible.is_empty());
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begins(text: &str) -> bool {
        let (mut from, mut beginning) = (text.as_bytes(), Vec::new());
        let begins = begins_an_event(&mut from, &mut beginning).unwrap();
        assert_eq!([&beginning, from].concat(), text.as_bytes(), "no byte is lost");
        begins
    }

    #[test]
    fn an_event_is_recognized_by_its_first_key() {
        assert!(begins(r#"{"Records":[]}"#));
        assert!(begins(" \r\n{\n\t\"Records\" :\n []"));
        assert!(begins("[ {\n\"messageId\" : \"1\"}]"));
        for other in ["[{}]", "[{\"id\":1}]", "[1]", "[ messageId", "{\"messageId\":1}", "[{\"message Id\":1}]"] {
            assert!(!begins(other), "{other}");
        }
        for other in ["", "{", "{}", "[]", "hello", r#"{"Records"}"#, r#"{"Record s":1}"#, r#"{"records":[]}"#] {
            assert!(!begins(other), "{other}");
        }
        assert!(!begins(&format!("{}{{\"Records\":[]}}", " ".repeat(MAX_BYTES))));
    }

    #[test]
    fn the_byte_order_mark_is_left_out() {
        for (text, is_event) in [("\u{feff}{\"Records\":", true), ("\u{feff}a", false), ("\u{feff}", false)] {
            let (mut from, mut beginning) = (text.as_bytes(), Vec::new());
            assert_eq!(begins_an_event(&mut from, &mut beginning).unwrap(), is_event);
            assert_eq!(beginning, text.trim_start_matches('\u{feff}').as_bytes());
        }
    }

    #[test]
    fn the_decision_does_not_wait_for_the_next_line() {
        let (mut from, mut beginning) = (&b"{\"a\": 1}\n"[..], Vec::new());
        assert!(!begins_an_event(&mut from, &mut beginning).unwrap());
        assert_eq!(beginning, b"{\"a");
    }
}
