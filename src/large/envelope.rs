//! Pointers inside an SNS envelope, as the extended client library for SNS sends them without raw delivery.

use std::collections::BTreeMap;
use std::ops::Range;

use serde_json::value::RawValue;

use super::pointer::SIZE_ATTRIBUTES;
use crate::json::{find, text};

/// An envelope whose attributes mark its message as a pointer.
pub(super) struct Envelope<'a> {
    json: &'a str,
    /// The span of `Message`'s value.
    message: Range<usize>,
    /// The span of `MessageAttributes`'s value.
    attributes: Range<usize>,
    attribute: &'static str,
}

impl<'a> Envelope<'a> {
    /// Finds a pointer in a body.
    pub(super) fn find(body: &'a str) -> Option<Self> {
        // Every body is checked and few have a pointer, so the cheap test comes first.
        let attribute = SIZE_ATTRIBUTES.into_iter().find(|name| body.contains(name))?;
        let value = |object: &str, key: &str| find(object, key).ok().flatten();
        let kind = value(body, "Type")?;
        if text(&body[kind]).ok().flatten()? != "Notification" {
            return None;
        }
        let (message, attributes) = (value(body, "Message")?, value(body, "MessageAttributes")?);
        let named = |name: &&str| {
            let attributes = &body[attributes.clone()];
            value(attributes, name).is_some_and(|attribute| &attributes[attribute] != "null")
        };
        let attribute = [attribute].into_iter().chain(SIZE_ATTRIBUTES).find(named)?;
        Some(Self { json: body, message, attributes, attribute })
    }

    /// Returns the attribute that marks the pointer.
    pub(super) fn attribute(&self) -> &'static str {
        self.attribute
    }

    /// Returns the pointer's text.
    pub(super) fn pointer(&self) -> Option<String> {
        text(&self.json[self.message.clone()]).ok().flatten().map(|text| text.into_owned())
    }

    /// Returns the body's length from the attribute.
    pub(super) fn said_bytes(&self) -> Option<usize> {
        let attribute = &self.json[self.attributes.clone()];
        let attribute = &attribute[find(attribute, self.attribute).ok()??];
        text(&attribute[find(attribute, "Value").ok()??]).ok()??.parse().ok()
    }

    /// Returns the envelope with that message and without the attribute.
    ///
    /// # Errors
    ///
    /// Returns an error if the attributes are not JSON.
    pub(super) fn with_message(&self, message: String) -> Result<String, serde_json::Error> {
        let mut attributes: BTreeMap<String, &RawValue> = serde_json::from_str(&self.json[self.attributes.clone()])?;
        attributes.remove(self.attribute);
        let mut envelope = Vec::with_capacity(self.json.len() + escaped_bytes(&message));
        let mut parts = [(&self.message, true), (&self.attributes, false)];
        parts.sort_by_key(|(range, _)| range.start);
        let mut written = 0;
        for (range, is_message) in parts {
            envelope.extend_from_slice(&self.json.as_bytes()[written..range.start]);
            match is_message {
                true => serde_json::to_writer(&mut envelope, &message)?,
                false => serde_json::to_writer(&mut envelope, &attributes)?,
            }
            written = range.end;
        }
        drop(message);
        envelope.extend_from_slice(&self.json.as_bytes()[written..]);
        String::from_utf8(envelope).map_err(serde::ser::Error::custom)
    }
}

/// Returns the length of a text as JSON, or slightly more. A buffer that grows is in memory twice meanwhile.
fn escaped_bytes(text: &str) -> usize {
    let escape = |byte: u8| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' => 1,
        0..0x20 => 5,
        _ => 0,
    };
    text.len() + text.bytes().map(escape).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: &str = r#""ExtendedPayloadSize": {"Type": "Number", "Value": "7"}"#;

    fn envelope(kind: &str, attributes: &str) -> String {
        format!(
            r#"{{"Type": "{kind}", "Message": "[\"a\", {{}}]", "MessageAttributes": {{{attributes}}}, "Subject": "s"}}"#
        )
    }

    #[test]
    fn attribute_marks_an_envelope_with_a_pointer() {
        let json = envelope("Notification", SIZE);
        let found = Envelope::find(&json).unwrap();
        assert_eq!((found.pointer().as_deref(), found.said_bytes()), (Some(r#"["a", {}]"#), Some(7)));
        let json = envelope("Notification", r#""SQSLargePayloadSize": {"Type": "Number", "Value": "seven"}"#);
        let found = Envelope::find(&json).unwrap();
        assert_eq!((found.attribute(), found.said_bytes()), ("SQSLargePayloadSize", None));
    }

    #[test]
    fn envelope_without_a_pointer_is_not_found() {
        let text_only = r#"{"Type": "Notification", "Message": "ExtendedPayloadSize", "MessageAttributes": {}}"#;
        for json in [
            &envelope("Notification", ""),
            &envelope("SubscriptionConfirmation", SIZE),
            text_only,
            "ExtendedPayloadSize",
        ] {
            assert!(Envelope::find(json).is_none(), "{json}");
        }
    }

    #[test]
    fn message_replaces_the_pointer_wherever_the_attributes_are() {
        let after = envelope("Notification", &format!(r#"{SIZE}, "own": {{"Type": "String", "Value": "x"}}"#));
        let before =
            r#"{"MessageAttributes": {"ExtendedPayloadSize": {"Value": 1}}, "Type": "Notification", "Message": "p"}"#;
        let message = "an \"order\" \\ é \n \u{1}".to_owned();
        for (json, attributes) in [(after.as_str(), 1), (before, 0)] {
            let whole = Envelope::find(json).unwrap().with_message(message.clone()).unwrap();
            let whole: serde_json::Value = serde_json::from_str(&whole).unwrap();
            assert_eq!(whole["Message"], message);
            assert_eq!(
                (whole["MessageAttributes"].as_object().unwrap().len(), &whole["Type"]),
                (attributes, &"Notification".into())
            );
        }
    }

    #[test]
    fn buffer_for_a_text_does_not_grow() {
        let text = "an \"order\" \\ é 🦀 \n\r\t \u{1}\u{8}\u{c}";
        assert!(serde_json::to_string(text).unwrap().len() - 2 <= escaped_bytes(text));
    }
}
