//! Whether an input is an event.

use std::io::{self, BufRead, Read};

/// So much white space may stand round an event's first key.
const MAX_BYTES: usize = 4096;

/// What some editors put before UTF-8. It is no part of the text.
const MARK: &[u8] = "\u{feff}".as_bytes();

/// Whether it begins as `{"Records":`, with any white space between. Takes as few bytes as tell that, so that a line that has
/// come is sent though the next one has not, and gives them back in `beginning`,
/// without the mark that may stand before all.
pub(super) fn begins_an_event(from: &mut impl BufRead, beginning: &mut Vec<u8>) -> io::Result<bool> {
    let mut expected = [&b"{"[..], b"\"Records\"", b":"].concat().into_iter().peekable();
    let mut is_in_key = false;
    for byte in from.by_ref().bytes().take(MAX_BYTES) {
        let byte = byte?;
        beginning.push(byte);
        if MARK.starts_with(beginning) {
            if *beginning == MARK {
                beginning.clear();
            }
            continue;
        }
        match expected.peek() {
            Some(&next) if next == byte => {
                expected.next();
                is_in_key ^= byte == b'"';
            }
            _ if byte.is_ascii_whitespace() && !is_in_key => {}
            _ => return Ok(false),
        }
        if expected.peek().is_none() {
            return Ok(true);
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
