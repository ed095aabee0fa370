//! Models the message attributes that a sender sets.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::error::{Code, SqsError};
use super::message::{Md5Sum, is_allowed};

/// The attributes of a message, sorted by name. Their MD5 is computed in this order.
///
/// This is a list: a message has at most ten, and a single B-tree node takes more memory than most messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes(Box<[(String, Attribute)]>);

const MAX_ATTRIBUTES: usize = 10;
const MAX_NAME_CHARS: usize = 256;

/// The value of an attribute, in its wire form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Attribute {
    #[serde(default)]
    data_type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    string_value: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    binary_value: Option<Binary>,
}

/// Bytes, encoded in JSON as base64.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Binary(Vec<u8>);

impl Attributes {
    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn get(&self, name: &str) -> Option<&Attribute> {
        self.iter().find_map(|(its, value)| (its == name).then_some(value))
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &Attribute)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }
}

impl FromIterator<(String, Attribute)> for Attributes {
    /// Keeps the last attribute of a repeated name, as JSON parsers do.
    fn from_iter<I: IntoIterator<Item = (String, Attribute)>>(attributes: I) -> Self {
        let mut all: Vec<_> = attributes.into_iter().collect();
        all.sort_by(|(one, _), (other, _)| one.cmp(other));
        all.dedup_by(|later, earlier| {
            let is_same = later.0 == earlier.0;
            if is_same {
                std::mem::swap(later, earlier);
            }
            is_same
        });
        Self(all.into())
    }
}

impl Serialize for Attributes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for Attributes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(InAnyOrder)
    }
}

struct InAnyOrder;

impl<'de> de::Visitor<'de> for InAnyOrder {
    type Value = Attributes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of attributes")
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Attributes, A::Error> {
        std::iter::from_fn(|| map.next_entry().transpose()).collect()
    }
}

impl Attribute {
    /// Returns the text of a String or Number attribute.
    pub fn as_text(&self) -> Option<&str> {
        self.string_value.as_deref()
    }

    /// Returns the text of an attribute of type String.
    pub fn as_string(&self) -> Option<&str> {
        self.as_text().filter(|_| self.data_type == "String")
    }

    fn bytes(&self) -> &[u8] {
        match (&self.string_value, &self.binary_value) {
            (Some(string), _) => string.as_bytes(),
            (None, Some(binary)) => &binary.0,
            (None, None) => &[],
        }
    }

    /// Checks that the value is present and has the declared type.
    fn check(&self, name: &str) -> Result<(), SqsError> {
        let invalid = |reason: &str| Err(invalid(name, reason));
        let basic = self.data_type.split('.').next().unwrap_or_default();
        if self.data_type.chars().count() > MAX_NAME_CHARS {
            return invalid("its type is longer than 256 characters");
        }
        match basic {
            "String" | "Number" => match &self.string_value {
                Some(_) if self.binary_value.is_some() => invalid("it has two values"),
                None => Err(no_value(name, basic)),
                Some(value) if value.is_empty() => Err(no_value(name, basic)),
                Some(value) if !value.chars().all(is_allowed) => {
                    invalid("its value has characters that SQS does not allow")
                }
                Some(value) if basic == "Number" && !value.parse().is_ok_and(f64::is_finite) => {
                    invalid("its value is no number")
                }
                Some(_) => Ok(()),
            },
            "Binary" => match &self.binary_value {
                None => Err(no_value(name, basic)),
                Some(value) if value.0.is_empty() => Err(no_value(name, basic)),
                Some(_) if self.string_value.is_some() => invalid("it has two values"),
                Some(_) => Ok(()),
            },
            "" => refused(format!("The message attribute '{name}' must contain non-empty message attribute type.")),
            _ => refused(format!(
                "The message attribute '{name}' has an invalid message attribute type, the set of supported type \
                 prefixes is Binary, Number, and String."
            )),
        }
    }
}

/// Checks number, names, types and values of a message's attributes by AWS's
/// [rules](https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-message-metadata.html#sqs-message-attributes).
pub(super) fn check_attributes(attributes: &Attributes) -> Result<(), SqsError> {
    if attributes.len() > MAX_ATTRIBUTES {
        let reason = format!(
            "Number of message attributes [{}] exceeds the allowed maximum [{MAX_ATTRIBUTES}].",
            attributes.len()
        );
        return Err(SqsError::new(Code::InvalidParameterValue, reason));
    }
    attributes.iter().try_for_each(|(name, attribute)| {
        check_name(name)?;
        attribute.check(name)
    })
}

fn check_name(name: &str) -> Result<(), SqsError> {
    let of_allowed = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'));
    let begins_with = |prefix: &str| name.get(..prefix.len()).is_some_and(|it| it.eq_ignore_ascii_case(prefix));
    if name.is_empty() || name.len() > MAX_NAME_CHARS || !of_allowed {
        return refused(format!(
            "The message attribute name '{name}' is invalid. Attribute name can contain A-Z, a-z, 0-9, underscore (_), \
             hyphen (-), and period (.) characters."
        ));
    }
    if name.starts_with('.') || name.ends_with('.') || name.contains("..") {
        return Err(invalid(name, "periods in a name stand alone, and between other characters"));
    }
    if begins_with("aws.") || begins_with("amazon.") {
        return Err(invalid(name, "names that begin with AWS. or Amazon. are reserved"));
    }
    Ok(())
}

fn refused(message: String) -> Result<(), SqsError> {
    Err(SqsError::new(Code::InvalidParameterValue, message))
}

fn no_value(name: &str, basic_type: &str) -> SqsError {
    let message = format!("Message (user) attribute '{name}' must contain a non-empty value of type '{basic_type}'.");
    SqsError::new(Code::InvalidParameterValue, message)
}

fn invalid(name: &str, reason: &str) -> SqsError {
    SqsError::new(Code::InvalidParameterValue, format!("The message attribute '{name}' is invalid: {reason}."))
}

/// Returns the bytes that attributes add to the message size: names, types and values.
pub(super) fn size_of(attributes: &Attributes) -> usize {
    attributes.iter().map(|(name, value)| name.len() + value.data_type.len() + value.bytes().len()).sum()
}

/// Computes the digest that SDKs check:
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-message-metadata.html#sqs-attributes-md5-message-digest-calculation>.
pub(super) fn md5_of<'a>(attributes: impl IntoIterator<Item = (&'a str, &'a Attribute)>) -> Md5Sum {
    let mut encoded = Vec::new();
    let mut put = |bytes: &[u8], kind: Option<u8>| {
        encoded.extend(kind);
        // No text in a message is longer than 1 MiB, so the conversion cannot fail.
        encoded.extend(u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
        encoded.extend(bytes);
    };
    for (name, value) in attributes {
        put(name.as_bytes(), None);
        put(value.data_type.as_bytes(), None);
        put(value.bytes(), Some(if value.string_value.is_some() { 1 } else { 2 }));
    }
    Md5Sum::of(&encoded)
}

impl fmt::Debug for Binary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl Serialize for Binary {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Binary {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        BASE64.decode(text).map(Self).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attributes(json: &str) -> Attributes {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn md5_of_attributes_equals_the_md5_of_sdks() {
        // The expected digest is from moto's tests.
        let given = attributes(r#"{"timestamp": {"DataType": "Number", "StringValue": "1493147359900"}}"#);
        assert_eq!(md5_of(given.iter()).to_string(), "235c5c510d26fb653d073faed50ae77c");
    }

    #[test]
    fn attributes_are_sorted_by_name_and_the_last_duplicate_counts() {
        let given = attributes(
            r#"{"b": {"DataType": "String", "StringValue": "1"}, "a": {"DataType": "String", "StringValue": "2"},
                "b": {"DataType": "String", "StringValue": "3"}}"#,
        );
        let texts: Vec<_> = given.iter().map(|(name, value)| (name, value.as_text())).collect();
        assert_eq!(texts, [("a", Some("2")), ("b", Some("3"))]);
        assert_eq!(attributes(&serde_json::to_string(&given).unwrap()), given);
    }

    #[test]
    fn malformed_attributes_are_refused() {
        let good = [
            r#"{"a-b_c.d": {"DataType": "String", "StringValue": "x"}}"#,
            r#"{"a": {"DataType": "Number.float", "StringValue": "-1.5e3"}}"#,
            r#"{"a": {"DataType": "Binary.gif", "BinaryValue": "AAE="}}"#,
        ];
        for json in good {
            assert_eq!(check_attributes(&attributes(json)), Ok(()), "{json}");
        }
        let bad = [
            (r#"{"": {"DataType": "String", "StringValue": "x"}}"#, "can contain A-Z"),
            (r#"{"a b": {"DataType": "String", "StringValue": "x"}}"#, "can contain A-Z"),
            (r#"{".a": {"DataType": "String", "StringValue": "x"}}"#, "periods"),
            (r#"{"a..b": {"DataType": "String", "StringValue": "x"}}"#, "periods"),
            (r#"{"aws.x": {"DataType": "String", "StringValue": "x"}}"#, "reserved"),
            (r#"{"AMAZON.x": {"DataType": "String", "StringValue": "x"}}"#, "reserved"),
            (r#"{"a": {"StringValue": "x"}}"#, "non-empty message attribute type"),
            (r#"{"a": {"DataType": "Text", "StringValue": "x"}}"#, "supported type prefixes"),
            (r#"{"a": {"DataType": "String"}}"#, "non-empty value of type 'String'"),
            (r#"{"a": {"DataType": "String", "StringValue": ""}}"#, "non-empty value of type 'String'"),
            (r#"{"a": {"DataType": "String", "StringValue": "\u0000"}}"#, "characters"),
            (r#"{"a": {"DataType": "Number", "StringValue": "x"}}"#, "no number"),
            (r#"{"a": {"DataType": "Number", "StringValue": "inf"}}"#, "no number"),
            (r#"{"a": {"DataType": "Number", "StringValue": "NaN"}}"#, "no number"),
            (r#"{"a": {"DataType": "Binary", "StringValue": "x"}}"#, "non-empty value of type 'Binary'"),
            (r#"{"a": {"DataType": "Binary", "BinaryValue": ""}}"#, "non-empty value of type 'Binary'"),
            (r#"{"a": {"DataType": "Binary", "BinaryValue": "AA==", "StringValue": "x"}}"#, "two values"),
            (r#"{"a": {"DataType": "String", "BinaryValue": "AA==", "StringValue": "x"}}"#, "two values"),
        ];
        for (json, problem) in bad {
            let error = check_attributes(&attributes(json)).unwrap_err();
            assert!(error.message.contains(problem), "{json}: {error}");
        }
        let given = attributes(good[1]);
        let eleven: Attributes = (0..11).map(|n| (format!("a{n}"), given.get("a").unwrap().clone())).collect();
        assert!(check_attributes(&eleven).unwrap_err().message.contains("[11]"));
    }

    #[test]
    fn size_counts_names_types_and_values() {
        let given = attributes(
            r#"{"ab": {"DataType": "String", "StringValue": "é"}, "c": {"DataType": "Binary", "BinaryValue": "AAEC"}}"#,
        );
        assert_eq!(size_of(&given), (2 + 6 + 2) + (1 + 6 + 3));
    }
}
