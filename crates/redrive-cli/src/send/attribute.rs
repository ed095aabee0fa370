//! `--attribute`.

use aws_sdk_sqs::primitives::Blob;
use aws_sdk_sqs::types::MessageAttributeValue;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

/// A message attribute and its name.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Attribute {
    pub(super) name: String,
    pub(super) value: MessageAttributeValue,
}

/// `NAME=VALUE` or `NAME:TYPE=VALUE`: a name has no colon in it, so there is no other way to read that.
pub(super) fn attribute(argument: &str) -> Result<Attribute, String> {
    let (name, text) = argument.split_once('=').ok_or("write it as NAME=VALUE or NAME:TYPE=VALUE")?;
    let (name, data_type) = name.split_once(':').unwrap_or((name, "String"));
    if name.is_empty() {
        return Err("there is no name before the =; write it as NAME=VALUE or NAME:TYPE=VALUE".to_owned());
    }
    Ok(Attribute { name: name.to_owned(), value: value(data_type, text)? })
}

/// A value as text, in base64 if its type is Binary.
pub(super) fn value(data_type: &str, text: &str) -> Result<MessageAttributeValue, String> {
    if text.is_empty() {
        return Err("the value is empty, and SQS takes no such attribute".to_owned());
    }
    let value = MessageAttributeValue::builder().data_type(data_type);
    // What follows the period is the sender's own: `Number.int`, `Binary.png`.
    let value = match data_type.split('.').next() {
        Some("String") => value.string_value(text),
        Some("Number") if text.parse().is_ok_and(f64::is_finite) => value.string_value(text),
        Some("Number") => return Err("the value is no number".to_owned()),
        Some("Binary") => {
            let bytes = BASE64.decode(text).map_err(|error| format!("the value is not base64: {error}"))?;
            value.binary_value(Blob::new(bytes))
        }
        _ => return Err(format!("the type {data_type:?} is none; it begins with String, Number or Binary")),
    };
    value.build().map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_may_stand_after_the_name() {
        let read = |argument| attribute(argument).unwrap();
        let plain = read("channel=web=1:2");
        assert_eq!((plain.name.as_str(), plain.value.data_type()), ("channel", "String"));
        assert_eq!(plain.value.string_value(), Some("web=1:2"), "the first = ends the name");
        let number = read("weight:Number.kg=1.5");
        assert_eq!((number.value.data_type(), number.value.string_value()), ("Number.kg", Some("1.5")));
        let binary = read("logo:Binary=AAE=");
        assert_eq!(binary.value.binary_value(), Some(&Blob::new([0, 1])));
    }

    #[test]
    fn what_is_no_attribute_is_refused_with_the_remedy() {
        for (argument, problem) in [
            ("channel", "write it as NAME=VALUE"),
            ("=web", "no name"),
            (":Number=1", "no name"),
            ("a=", "empty"),
            ("a:Text=x", "begins with String, Number or Binary"),
            ("a:Number=x", "no number"),
            ("a:Number=inf", "no number"),
            ("a:Binary=%", "not base64"),
        ] {
            let error = attribute(argument).unwrap_err();
            assert!(error.contains(problem), "{argument}: {error}");
        }
    }
}
