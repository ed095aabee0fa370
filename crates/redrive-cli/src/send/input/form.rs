//! Whether an input is an event.

use std::io::{self, BufRead, Read};

/// So much white space may stand round an event's first key.
const MAX_BYTES: usize = 4096;

/// What some editors put before UTF-8. It is no part of the text.
const MARK: &[u8] = "\u{feff}".as_bytes();

/// How an event begins, without the white space that may stand before each of these. The second is the list of records alone,
/// with which EventBridge Pipes invoke a function.
const BEGINNINGS: [&[&[u8]]; 2] = [&[b"{", b"\"Records\"", b":"], &[b"[", b"{", b"\"messageId\"", b":"]];

/// How much of a beginning has come.
#[derive(Clone, Copy)]
struct Begun {
    left: &'static [&'static [u8]],
    /// Bytes of the first of those.
    taken: usize,
}

impl Begun {
    /// Takes the next byte, if it belongs there.
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

/// Whether an event begins here, as `{"Records":` or `[{"messageId":`, with any white space between. Takes as few bytes as tell
/// that, so that a line that has come is sent though the next one has not, and gives them back in `beginning`, without the
/// mark that may stand before all.
pub(super) fn begins_an_event(from: &mut impl BufRead, beginning: &mut Vec<u8>) -> io::Result<bool> {
    let mut possible: Vec<_> = BEGINNINGS.map(|left| Begun { left, taken: 0 }).into();
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
        assert_eq!([&beginning, from].concat(), text.as_bytes(), "nothing is lost");
        begins
    }

    #[test]
    fn an_event_is_known_by_its_first_key() {
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
    fn the_mark_before_a_text_is_left_out() {
        for (text, is_event) in [("\u{feff}{\"Records\":", true), ("\u{feff}a", false), ("\u{feff}", false)] {
            let (mut from, mut beginning) = (text.as_bytes(), Vec::new());
            assert_eq!(begins_an_event(&mut from, &mut beginning).unwrap(), is_event);
            assert_eq!(beginning, text.trim_start_matches('\u{feff}').as_bytes());
        }
    }

    #[test]
    fn a_line_is_not_kept_waiting_for_the_next() {
        let (mut from, mut beginning) = (&b"{\"a\": 1}\n"[..], Vec::new());
        assert!(!begins_an_event(&mut from, &mut beginning).unwrap());
        assert_eq!(beginning, b"{\"a");
    }
}
