//! Finds the parts of a JSON text without parsing it.
//!
//! A handler uses a tenth of an event of a megabyte. So the scanner goes through the event once and finds where its
//! records and their parts begin and end, about as fast as a parser skips it. The parser then gets only the requested
//! parts. The scanner checks the whole text, because in invalid JSON one record could be mistaken for a part of another
//! and never be reported.

use std::borrow::Cow;
use std::ops::Range;

use super::JsonError;
use super::special::Text;
use super::string::{escape_end, unescape};

/// Reads a text from its beginning. A method returns `None` if the text is not JSON there. The scanner's position is
/// then undefined.
pub(crate) struct Scanner<'a> {
    text: Text<'a>,
    /// Each step starts at the end of the previous one. The code between is inlined, because passing the position
    /// through memory costs more than the step itself.
    at: usize,
    /// The open brackets of the skipped value.
    open: Vec<u8>,
}

impl<'a> Scanner<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text: Text::new(text), at: 0, open: Vec::new() }
    }

    /// Returns the next byte with its position.
    pub(crate) fn peek(&mut self) -> Option<(usize, u8)> {
        let bytes = self.text.str.as_bytes();
        let mut byte = *bytes.get(self.at)?;
        while is_space(byte) {
            self.at += 1;
            byte = *bytes.get(self.at)?;
        }
        Some((self.at, byte))
    }

    /// Scans an object and returns its span. `entry` receives each key with the scanner at its value, and must move the
    /// scanner past the value.
    pub(crate) fn object(&mut self, mut entry: impl FnMut(&str, &mut Self) -> Option<()>) -> Option<Range<usize>> {
        let begin = self.eat(b'{')?;
        if self.eat(b'}').is_none() {
            loop {
                let key = self.key()?;
                self.eat(b':')?;
                entry(&key, self)?;
                if self.eat(b',').is_none() {
                    break;
                }
            }
            self.eat(b'}')?;
        }
        Some(begin..self.at)
    }

    /// Scans a list and returns its span. `item` receives the scanner at each item, and must move it past the item.
    pub(crate) fn list(&mut self, mut item: impl FnMut(&mut Self) -> Option<()>) -> Option<Range<usize>> {
        let begin = self.eat(b'[')?;
        if self.eat(b']').is_none() {
            loop {
                item(self)?;
                if self.eat(b',').is_none() {
                    break;
                }
            }
            self.eat(b']')?;
        }
        Some(begin..self.at)
    }

    /// Skips a value of any kind and returns its span.
    #[inline(always)]
    pub(crate) fn value(&mut self) -> Option<Range<usize>> {
        let (begin, first) = self.peek()?;
        match first {
            b'{' | b'[' => self.nested()?,
            _ => self.leaf(first)?,
        }
        Some(begin..self.at)
    }

    /// Skips an object or a list of any depth.
    fn nested(&mut self) -> Option<()> {
        loop {
            let (_, first) = self.peek()?;
            if !matches!(first, b'{' | b'[') {
                self.leaf(first)?;
            } else {
                self.at += 1;
                if self.eat(closing(first)).is_none() {
                    self.open.push(first);
                    self.key_in(first)?;
                    continue;
                }
            }
            if self.close()? {
                return Some(());
            }
        }
    }

    /// Skips the brackets and the comma after a value, up to the next value. Returns whether no value is left.
    fn close(&mut self) -> Option<bool> {
        while let Some(&open) = self.open.last() {
            let (at, byte) = self.peek()?;
            self.at = at + 1;
            if byte == b',' {
                self.key_in(open)?;
                return Some(false);
            }
            (byte == closing(open)).then(|| self.open.pop())?;
        }
        Some(true)
    }

    /// Skips a value that contains no others.
    #[inline(always)]
    fn leaf(&mut self, first: u8) -> Option<()> {
        if first == b'"' { self.string().map(drop) } else { self.scalar() }
    }

    /// Inside an object, skips the key before a value.
    fn key_in(&mut self, open: u8) -> Option<()> {
        if open == b'{' {
            let (_, b'"') = self.peek()? else { return None };
            self.string()?;
            self.eat(b':')?;
        }
        Some(())
    }

    pub(crate) fn text(&self) -> &'a str {
        self.text.str
    }

    /// Returns the number of bytes left.
    pub(crate) fn rest(&self) -> usize {
        self.text.str.len() - self.at
    }

    /// Returns whether only whitespace is left.
    pub(crate) fn is_at_end(&mut self) -> bool {
        self.peek().is_none()
    }

    /// Skips that byte and returns its position.
    fn eat(&mut self, wanted: u8) -> Option<usize> {
        let (at, byte) = self.peek()?;
        (byte == wanted).then(|| self.at = at + 1)?;
        Some(at)
    }

    #[inline(always)]
    fn key(&mut self) -> Option<Cow<'a, str>> {
        let (_, b'"') = self.peek()? else { return None };
        let begin = self.at + 1;
        let escaped = self.string()?;
        let key = self.text.str.get(begin..self.at - 1)?;
        // No wanted key contains half a surrogate pair.
        Some(if escaped { unescape(key).unwrap_or_default() } else { Cow::Borrowed(key) })
    }

    /// Skips the string that begins here. Returns whether it contains escapes.
    #[inline(always)]
    fn string(&mut self) -> Option<bool> {
        let bytes = self.text.str.as_bytes();
        let (mut at, mut escaped) = (self.at + 1, false);
        loop {
            let found = self.text.next_special(at)?;
            match bytes[found] {
                b'"' => {
                    self.at = found + 1;
                    return Some(escaped);
                }
                b'\\' => (at, escaped) = (escape_end(bytes, found)?, true),
                // JSON requires control characters to be escaped.
                _ => return None,
            }
        }
    }

    /// Skips a number, `true`, `false` or `null`.
    fn scalar(&mut self) -> Option<()> {
        let rest = self.text.str.get(self.at..)?;
        let words = ["true", "false", "null"];
        let word = words.into_iter().find(|word| rest.starts_with(word));
        self.at += word.map(str::len).or_else(|| number(rest.as_bytes()))?;
        Some(())
    }
}

/// Returns the closing bracket, which is two after the opening one in ASCII.
const fn closing(open: u8) -> u8 {
    open + 2
}

/// Returns the length of the number at the beginning.
fn number(text: &[u8]) -> Option<usize> {
    let digits =
        |from: usize| text.get(from..).unwrap_or_default().iter().take_while(|byte| byte.is_ascii_digit()).count();
    let some_digits = |from: usize| Some(digits(from)).filter(|&count| count > 0);
    let mut end = usize::from(text.first() == Some(&b'-'));
    end += if text.get(end) == Some(&b'0') { 1 } else { some_digits(end)? };
    if text.get(end) == Some(&b'.') {
        end += 1 + some_digits(end + 1)?;
    }
    if matches!(text.get(end), Some(b'e' | b'E')) {
        end += 1 + usize::from(matches!(text.get(end + 1), Some(b'+' | b'-')));
        end += some_digits(end)?;
    }
    Some(end)
}

/// Returns the span of the value with that key in an object.
///
/// # Errors
///
/// Returns an error if this is not an object, or is invalid before that key.
pub(crate) fn find(object: &str, key: &str) -> Result<Option<Range<usize>>, JsonError> {
    let mut found = None;
    let end = Scanner::new(object).object(|each, scanner| {
        let value = scanner.value()?;
        if each != key {
            return Some(());
        }
        found = Some(value);
        // The value is found, so the scan stops here.
        None
    });
    match found.is_some() || end.is_some() {
        true => Ok(found),
        false => Err(JsonError::not_an_object()),
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    /// Returns the entries of an object with the text of each value.
    fn entries(json: &str) -> Option<Vec<(String, &str)>> {
        let mut entries = Vec::new();
        let mut scanner = Scanner::new(json);
        scanner.object(|key, scanner| {
            entries.push((key.to_owned(), &json[scanner.value()?]));
            Some(())
        })?;
        scanner.is_at_end().then_some(entries)
    }

    #[test]
    fn entries_with_any_values_are_found() {
        let json =
            " {\"a\" : \"x\\\"}\" , \"b\":[1,{\"c\":\"]\"}] ,\n\"d\":-1.5e3,\"\\u0065\":null,\"f\":{}, \"\": true } ";
        let expected = [
            ("a", "\"x\\\"}\""),
            ("b", "[1,{\"c\":\"]\"}]"),
            ("d", "-1.5e3"),
            ("e", "null"),
            ("f", "{}"),
            ("", "true"),
        ];
        assert_eq!(entries(json).unwrap(), expected.map(|(key, value)| (key.to_owned(), value)));
        assert!(entries(" { } ").unwrap().is_empty());
    }

    #[test]
    fn invalid_json_is_refused() {
        let objects = [
            "[]",
            "1",
            "\"{\"",
            "",
            " ",
            "null",
            "{",
            "{\"a\"",
            "{\"a\":",
            "{\"a\":}",
            "{\"a\" 1}",
            "{\"a\":1",
            "{\"a\":1,}",
            "{,}",
            "{a:1}",
            "{\"a\":1 2}",
            "{\"a\":1;}",
            "{\"a\":\"x}",
            "{\"a\":\"x\\\"}",
            "{\"a\":[1}",
            "{\"a\":[}",
            "{\"a\":{]}",
            "{\"a\":[[1]}",
            "{\"a\":1]",
            "{} {}",
        ];
        for json in objects {
            assert_eq!(entries(json), None, "{json}");
        }
        let list = |json| Scanner::new(json).list(|scanner| scanner.value().map(drop));
        assert!(["[]", "[ ]", "[1]", "[[], {}]"].into_iter().all(|json| list(json).is_some()));
        assert!(["[", "[,]", "[1,]", "[1 2]", "[1}", "{}", "]"].into_iter().all(|json| list(json).is_none()));
    }

    /// Returns whether the whole text is one value.
    fn is_json(text: &str) -> bool {
        let mut scanner = Scanner::new(text);
        scanner.value().is_some() && scanner.is_at_end()
    }

    #[test]
    fn nesting_of_any_depth_is_scanned() {
        let depth = 1_000_000;
        assert!(is_json(&("[".repeat(depth) + &"]".repeat(depth))));
        assert!(!is_json(&"{\"a\":[".repeat(depth)));
    }

    #[test]
    fn value_is_found_by_its_key() {
        let of = |object, key| find(object, key).map(|found| found.map(|value: Range<usize>| value.start));
        assert_eq!(of("{\"a\":1,\"b\":2}", "b"), Ok(Some(11)));
        assert_eq!(of("{\"a\":1}", "b"), Ok(None));
        // The rest after the value is not checked.
        assert_eq!(of("{\"a\":1,}", "a"), Ok(Some(5)));
        assert_eq!(of("{\"a\":1,}", "b"), Err(JsonError::not_an_object()));
        assert_eq!(of("[1]", "a"), Err(JsonError::not_an_object()));
    }

    proptest! {
        #[test]
        fn entries_match_the_parser(keys in prop::collection::hash_map(".{0,5}", ".{0,9}", 0..6)) {
            let json = serde_json::to_string_pretty(&keys).unwrap();
            let Value::Object(parsed) = serde_json::from_str(&json).unwrap() else { unreachable!("a map is an object") };
            let found = entries(&json).expect("all in order");
            prop_assert_eq!(found.len(), parsed.len());
            for (key, value) in found {
                prop_assert_eq!(&serde_json::from_str::<Value>(value).unwrap(), &parsed[&key]);
            }
        }

        /// Tests a random text, random tokens, and a value with a random part replaced. Each is also tested inside a
        /// long text.
        #[test]
        fn scanner_and_parser_accept_the_same_json(
            random in "[\\[\\]{}\",:\\\\u0-9a-fn \t\u{1}.+eE-]{0,16}",
            tokens in r#"(\[|\]|\{|\}|,|:| |"a"|"\\n"|"\\u00e9"|"\\x"|1|-0\.5e\+7|01|-|1\.|null|true|nul){0,8}"#,
            at in 0_usize..60,
            len in 0_usize..3,
            before in ".{0,99}",
        ) {
            let parses = |json: &str| serde_json::from_str::<serde::de::IgnoredAny>(json).is_ok();
            let mut damaged = r#"{"a": [1, {"b\n": "c"}, [], -1.5e+3], "d": {}, "\ud83d": true}"#.to_owned();
            damaged.replace_range(at..at + len, &random.chars().take(2).collect::<String>());
            for json in [random, tokens, damaged] {
                let before = serde_json::to_string(&before).unwrap();
                let long = format!("[{before}, {json}, {:99}]", 1);
                for json in [json, long] {
                    prop_assert_eq!(is_json(&json), parses(&json), "{}", json);
                }
            }
        }
    }
}
