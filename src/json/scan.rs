//! Finds its way through JSON without parsing it.
//!
//! An event is a megabyte of which a handler wants a tenth. So it is looked through once, for where its records and
//! their parts begin and end, in about the time that a parser takes to skip over it; the parser gets what is asked for.
//! All of it is checked on the way: in a text that is no JSON, one record could be taken for a part of another, and
//! never be answered for.

use std::borrow::Cow;
use std::ops::Range;

use super::JsonError;
use super::special::Text;
use super::string::{escape_end, unescape};

/// Reads a text from its beginning on. Where a method says `None`, the text is no JSON there, and the scanner is
/// somewhere in it.
pub(crate) struct Scanner<'a> {
    text: Text<'a>,
    /// Each step begins where the one before it ended. So what is between two of them is inlined: through memory this
    /// would take longer than what there is to do at it.
    at: usize,
    /// The brackets that are open in the value that is gone past.
    open: Vec<u8>,
}

impl<'a> Scanner<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text: Text::new(text), at: 0, open: Vec::new() }
    }

    /// The first byte of what comes next, and where it is.
    pub(crate) fn peek(&mut self) -> Option<(usize, u8)> {
        let bytes = self.text.str.as_bytes();
        let mut byte = *bytes.get(self.at)?;
        while is_space(byte) {
            self.at += 1;
            byte = *bytes.get(self.at)?;
        }
        Some((self.at, byte))
    }

    /// Goes through an object, and says where it was. At the value of each entry the key is handed over, with the
    /// scanner, which must be behind that value afterwards.
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

    /// Goes through a list, and says where it was. At each item the scanner is handed over; it must be behind the item
    /// afterwards.
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

    /// Goes past a value of any kind, and says where it is.
    #[inline(always)]
    pub(crate) fn value(&mut self) -> Option<Range<usize>> {
        let (begin, first) = self.peek()?;
        match first {
            b'{' | b'[' => self.nested()?,
            _ => self.leaf(first)?,
        }
        Some(begin..self.at)
    }

    /// Goes past an object or a list, however deep.
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

    /// Goes past what comes behind a value, up to the next one. Says whether there is none.
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

    /// Goes past a value with no others in it.
    #[inline(always)]
    fn leaf(&mut self, first: u8) -> Option<()> {
        if first == b'"' { self.string().map(drop) } else { self.scalar() }
    }

    /// In an object, goes past the key that comes before a value.
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

    /// How many bytes are still to come.
    pub(crate) fn rest(&self) -> usize {
        self.text.str.len() - self.at
    }

    /// Whether there is nothing more.
    pub(crate) fn is_at_end(&mut self) -> bool {
        self.peek().is_none()
    }

    /// Goes past that byte, and says where it was.
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
        // Half a surrogate pair is the key of nothing that is looked for.
        Some(if escaped { unescape(key).unwrap_or_default() } else { Cow::Borrowed(key) })
    }

    /// Goes past the string that begins here, and says whether there are escapes in it.
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
                // A control character must be escaped.
                _ => return None,
            }
        }
    }

    /// Goes past a number, `true`, `false` or `null`.
    fn scalar(&mut self) -> Option<()> {
        let rest = self.text.str.get(self.at..)?;
        let words = ["true", "false", "null"];
        let word = words.into_iter().find(|word| rest.starts_with(word));
        self.at += word.map(str::len).or_else(|| number(rest.as_bytes()))?;
        Some(())
    }
}

/// The bracket that closes what this one opens. In ASCII it is the one after next.
const fn closing(open: u8) -> u8 {
    open + 2
}

/// The length of the number that begins here.
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

/// Where in an object the value with that key is.
///
/// # Errors
///
/// Where this is no object, or is out of order before that key.
pub(crate) fn find(object: &str, key: &str) -> Result<Option<Range<usize>>, JsonError> {
    let mut found = None;
    let end = Scanner::new(object).object(|each, scanner| {
        let value = scanner.value()?;
        if each != key {
            return Some(());
        }
        found = Some(value);
        // That is all there is to see.
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

    /// The entries of an object, with the text of each value.
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
    fn entries_are_found_whatever_they_hold() {
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
    fn what_is_out_of_order_has_no_end() {
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

    /// Whether the whole text is one value.
    fn is_json(text: &str) -> bool {
        let mut scanner = Scanner::new(text);
        scanner.value().is_some() && scanner.is_at_end()
    }

    #[test]
    fn nesting_has_no_end() {
        let depth = 1_000_000;
        assert!(is_json(&("[".repeat(depth) + &"]".repeat(depth))));
        assert!(!is_json(&"{\"a\":[".repeat(depth)));
    }

    #[test]
    fn a_value_is_found_by_its_key() {
        let of = |object, key| find(object, key).map(|found| found.map(|value: Range<usize>| value.start));
        assert_eq!(of("{\"a\":1,\"b\":2}", "b"), Ok(Some(11)));
        assert_eq!(of("{\"a\":1}", "b"), Ok(None));
        // What comes behind it is not looked at.
        assert_eq!(of("{\"a\":1,}", "a"), Ok(Some(5)));
        assert_eq!(of("{\"a\":1,}", "b"), Err(JsonError::not_an_object()));
        assert_eq!(of("[1]", "a"), Err(JsonError::not_an_object()));
    }

    proptest! {
        #[test]
        fn entries_are_those_of_the_parser(keys in prop::collection::hash_map(".{0,5}", ".{0,9}", 0..6)) {
            let json = serde_json::to_string_pretty(&keys).unwrap();
            let Value::Object(parsed) = serde_json::from_str(&json).unwrap() else { unreachable!("a map is an object") };
            let found = entries(&json).expect("all in order");
            prop_assert_eq!(found.len(), parsed.len());
            for (key, value) in found {
                prop_assert_eq!(&serde_json::from_str::<Value>(value).unwrap(), &parsed[&key]);
            }
        }

        /// Of a random text, of tokens in random order, and of a value with a random part in the place of another; and of
        /// all of them somewhere in a long text.
        #[test]
        fn json_is_what_the_parser_takes_for_it(
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
