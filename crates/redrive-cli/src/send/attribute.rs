//! Parses the `--attribute` option.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use redrive::AttributeValue;

/// A message attribute and its name.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Attribute {
    pub(super) name: String,
    pub(super) value: AttributeValue,
}

/// Parses `NAME=VALUE` or `NAME:TYPE=VALUE`. A name cannot contain a colon, so the form is unambiguous.
pub(super) fn attribute(argument: &str) -> Result<Attribute, String> {
    let (name, text) = argument.split_once('=').ok_or("write it as NAME=VALUE or NAME:TYPE=VALUE")?;
    let (name, data_type) = name.split_once(':').unwrap_or((name, "String"));
    if name.is_empty() {
        return Err("there is no name before the `=`; write it as NAME=VALUE or NAME:TYPE=VALUE".to_owned());
    }
    Ok(Attribute { name: name.to_owned(), value: value(data_type, text)? })
}

/// Parses a value from text. A value of type Binary is in base64.
pub(super) fn value(data_type: &str, text: &str) -> Result<AttributeValue, String> {
    if text.is_empty() {
        return Err("the value is empty, and SQS rejects empty attributes; pass a value".to_owned());
    }
    // The part after the period is the sender's own label: `Number.int`, `Binary.png`.
    let (basic_type, label) =
        data_type.split_once('.').map_or((data_type, None), |(basic, label)| (basic, Some(label)));
    let value = match basic_type {
        "String" => AttributeValue::string(text),
        "Number" if text.parse().is_ok_and(f64::is_finite) => AttributeValue::number(text),
        "Number" => return Err("the value is not a number; pass a finite number".to_owned()),
        "Binary" => AttributeValue::binary(
            BASE64.decode(text).map_err(|error| format!("the value is not base64: {error}; encode it"))?,
        ),
        _ => return Err(format!("the type {data_type:?} is unknown; it begins with String, Number or Binary")),
    };
    Ok(match label {
        Some(label) => value.labelled(label),
        None => value,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_after_the_name_is_parsed() {
        let read = |argument| attribute(argument).unwrap();
        let plain = read("channel=web=1:2");
        assert_eq!((plain.name.as_str(), plain.value.data_type()), ("channel", "String"));
        assert_eq!(plain.value.as_str(), Some("web=1:2"), "the first = ends the name");
        let number = read("weight:Number.kg=1.5");
        assert_eq!((number.value.data_type(), number.value.as_str()), ("Number.kg", Some("1.5")));
        let binary = read("logo:Binary=AAE=");
        assert_eq!(binary.value.as_bytes(), Some(&[0, 1][..]));
    }

    #[test]
    fn a_malformed_attribute_is_refused_with_the_remedy() {
        for (argument, problem) in [
            ("channel", "write it as NAME=VALUE"),
            ("=web", "no name"),
            (":Number=1", "no name"),
            ("a=", "empty"),
            ("a:Text=x", "begins with String, Number or Binary"),
            ("a:Number=x", "not a number"),
            ("a:Number=inf", "not a number"),
            ("a:Binary=%", "not base64"),
        ] {
            let error = attribute(argument).unwrap_err();
            assert!(error.contains(problem), "{argument}: {error}");
        }
    }
}
