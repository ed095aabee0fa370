//! Writes JSON.

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
    // A string has no reason to fail.
    text.push_str(&serde_json::to_string(value).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

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
