//! Writes JSON.

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

    /// Adds an entry with that text.
    pub(crate) fn text(&mut self, key: &str, value: &str) {
        self.entry(key, |text| push_string(text, value));
    }

    /// Adds an entry that is an object, of those entries.
    pub(crate) fn object(&mut self, key: &str, entries: impl FnOnce(&mut Object<'_>)) {
        self.entry(key, |text| {
            let mut object = Object::begin(text);
            entries(&mut object);
            object.end();
        });
    }

    /// Adds an entry whose value is an empty list.
    pub(crate) fn empty_list(&mut self, key: &str) {
        self.entry(key, |text| text.push_str("[]"));
    }

    fn entry(&mut self, key: &str, value: impl FnOnce(&mut String)) {
        if self.text.len() > self.begin + 1 {
            self.text.push(',');
        }
        push_string(self.text, key);
        self.text.push(':');
        value(self.text);
    }

    pub(crate) fn end(self) {
        self.text.push('}');
    }
}

fn push_string(text: &mut String, value: &str) {
    text.push('"');
    // Most of all texts are ids, numbers and names.
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

/// The shortest escape there is for it.
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
    fn each_character_of_ascii_is_escaped_as_the_serialiser_does_it() {
        for character in '\0'..='\u{7f}' {
            let value = character.to_string();
            assert_eq!(written(&value), serde_json::to_string(&value).unwrap());
        }
    }

    proptest! {
        #[test]
        fn a_string_is_what_the_serialiser_makes_of_it(value in "([ -~]|[\"\\\\\u{0}-\u{1f}]|\\PC){0,200}") {
            prop_assert_eq!(written(&value), serde_json::to_string(&value).unwrap());
        }
    }

    #[test]
    fn an_object_has_its_entries_in_order() {
        let mut text = "[".to_owned();
        let mut object = Object::begin(&mut text);
        object.text("a\n", "\"");
        object.object("b", |inner| {
            inner.empty_list("c");
            inner.text("d", "");
        });
        object.object("e", |_| {});
        object.end();
        assert_eq!(text, r#"[{"a\n":"\"","b":{"c":[],"d":""},"e":{}}"#);
    }
}
