//! Writes JSON that SQS accepts as a message body.

#[cfg(feature = "sqs")]
use serde::Serialize;

/// Writes a value as JSON without characters that SQS refuses.
///
/// SQS accepts the characters of XML 1.0. The serializer escapes all characters below U+0020. The other two refused
/// ones, U+FFFE and U+FFFF, are valid in JSON, and an escape means the same.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html>
#[cfg(feature = "sqs")]
pub fn to_body<T: Serialize + ?Sized>(value: &T) -> serde_json::Result<String> {
    serde_json::to_string(value).map(escaped)
}

/// The first UTF-8 byte of both characters, and of few others.
const FIRST_BYTE: u8 = 0xef;

/// Escapes them in finished JSON, where such a character can only be inside a string.
pub(crate) fn escaped(json: String) -> String {
    if !json.bytes().any(|byte| byte == FIRST_BYTE) || !json.contains(['\u{fffe}', '\u{ffff}']) {
        return json;
    }
    json.replace('\u{fffe}', "\\ufffe").replace('\u{ffff}', "\\uffff")
}

#[cfg(all(test, feature = "producer"))]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde_json::value::RawValue;

    use super::*;
    use crate::sqs::limits::is_allowed;

    #[test]
    fn refused_characters_are_escaped_in_keys_values_and_finished_json() {
        let value = BTreeMap::from([("a\u{ffff}", "\u{fffe}\\\u{ffff}"), ("b", "\u{feff}\u{1fffe}\u{7f}é")]);
        let body = to_body(&value).unwrap();
        assert_eq!(body, "{\"a\\uffff\":\"\\ufffe\\\\\\uffff\",\"b\":\"\u{feff}\u{1fffe}\u{7f}é\"}");
        let raw = RawValue::from_string("[\"\u{fffe}\"]".to_owned()).unwrap();
        assert_eq!(to_body(&raw).unwrap(), "[\"\\ufffe\"]");
    }

    proptest! {
        #[test]
        fn body_has_only_accepted_characters_and_the_same_meaning(text in "(\\PC|[\u{0}-\u{1f}\u{7f}\u{fffd}-\u{ffff}\u{10ffff}\"\\\\]){0,60}") {
            let body = to_body(&text).unwrap();
            prop_assert!(body.chars().all(is_allowed), "{}", body);
            prop_assert_eq!(serde_json::from_str::<String>(&body).unwrap(), text);
        }
    }
}
