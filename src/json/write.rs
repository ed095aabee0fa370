//! Writes JSON and records where its values are.

use std::ops::Range;

use super::special::{Text, has_special};

/// An object that is being written at the end of a text.
pub(crate) struct Object<'a> {
    text: &'a mut String,
    begin: usize,
}

impl<'a> Object<'a> {
    pub(crate) fn begin(text: &'a mut String) -> Self {
        let begin = text.len();
        text.push('{');
        Self { text, begin }
    }

    /// Adds an entry with that text. Returns its value's span.
    pub(crate) fn text(&mut self, key: &str, value: &str) -> Range<usize> {
        self.entry(key, |text| push_string(text, value))
    }

    /// Adds an object as an entry. Returns its span.
    pub(crate) fn object(&mut self, key: &str, entries: impl FnOnce(&mut Object<'_>)) -> Range<usize> {
        self.entry(key, |text| {
            let mut object = Object::begin(text);
            entries(&mut object);
            object.end();
        })
    }

    /// Adds an empty list as an entry.
    pub(crate) fn empty_list(&mut self, key: &str) {
        self.entry(key, |text| text.push_str("[]"));
    }

    fn entry(&mut self, key: &str, value: impl FnOnce(&mut String)) -> Range<usize> {
        if self.text.len() > self.begin + 1 {
            self.text.push(',');
        }
        push_string(self.text, key);
        self.text.push(':');
        let begin = self.text.len();
        value(self.text);
        begin..self.text.len()
    }

    /// Ends the object and returns its span.
    pub(crate) fn end(self) -> Range<usize> {
        self.text.push('}');
        self.begin..self.text.len()
    }
}

fn push_string(text: &mut String, value: &str) {
    text.push('"');
    // Most texts are ids, numbers and names, which need no escapes.
    if has_special(value.as_bytes()) {
        push_escaped(text, value);
    } else {
        text.push_str(value);
    }
    text.push('"');
}

fn push_escaped(text: &mut String, value: &str) {
    let (mut written, mut specials) = (0, Text::new(value));
    while let Some(special) = specials.next_special(written) {
        text.push_str(&value[written..special]);
        push_escape(text, value.as_bytes()[special]);
        written = special + 1;
    }
    text.push_str(&value[written..]);
}

/// Appends the shortest escape of a byte.
fn push_escape(text: &mut String, special: u8) {
    let short = match special {
        b'"' | b'\\' => special,
        0x08 => b'b',
        0x0c => b'f',
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        _ => {
            text.push_str("\\u00");
            text.extend([special >> 4, special & 0xf].map(|digit| char::from_digit(digit.into(), 16).unwrap_or('0')));
            return;
        }
    };
    text.push('\\');
    text.push(short.into());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(value: &str) -> String {
        let mut text = String::new();
        push_string(&mut text, value);
        text
    }

    #[test]
    fn ascii_is_escaped_as_the_serializer_does() {
        for character in '\0'..='\u{7f}' {
            let value = character.to_string();
            assert_eq!(written(&value), serde_json::to_string(&value).unwrap());
        }
    }

    proptest! {
        #[test]
        fn string_matches_the_serializer(value in "([ -~]|[\"\\\\\u{0}-\u{1f}]|\\PC){0,200}") {
            prop_assert_eq!(written(&value), serde_json::to_string(&value).unwrap());
        }
    }

    #[test]
    fn object_returns_the_spans_of_its_values() {
        let mut text = "[".to_owned();
        let mut object = Object::begin(&mut text);
        let first = object.text("a\n", "\"");
        let second = object.object("b", |inner| {
            inner.empty_list("c");
            inner.text("d", "");
        });
        let third = object.object("e", |_| {});
        let whole = object.end();
        let parts = [first, second, third, whole].map(|part| &text[part]);
        assert_eq!(parts, [r#""\"""#, r#"{"c":[],"d":""}"#, "{}", r#"{"a\n":"\"","b":{"c":[],"d":""},"e":{}}"#]);
    }
}
