//! JSON that SQS takes as the body of a message.

#[cfg(feature = "sqs")]
use serde::Serialize;

/// Writes a value as JSON in which no character stands that SQS refuses.
///
/// SQS takes the characters of XML 1.0. The serializer escapes those of them that it has to, all below U+0020; the two that are
/// left, U+FFFE and U+FFFF, may stand in JSON, and an escape means the same.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html>
#[cfg(feature = "sqs")]
pub fn to_body<T: Serialize + ?Sized>(value: &T) -> serde_json::Result<String> {
    serde_json::to_string(value).map(escaped)
}

/// The first byte in UTF-8 of both characters, and of few others.
const FIRST_BYTE: u8 = 0xef;

/// The same for JSON that is written already: such a character stands nowhere in it but in a string.
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
    fn what_sqs_refuses_is_escaped_in_keys_and_values_and_in_json_that_was_written_already() {
        let value = BTreeMap::from([("a\u{ffff}", "\u{fffe}\\\u{ffff}"), ("b", "\u{feff}\u{1fffe}\u{7f}é")]);
        let body = to_body(&value).unwrap();
        assert_eq!(body, "{\"a\\uffff\":\"\\ufffe\\\\\\uffff\",\"b\":\"\u{feff}\u{1fffe}\u{7f}é\"}");
        let raw = RawValue::from_string("[\"\u{fffe}\"]".to_owned()).unwrap();
        assert_eq!(to_body(&raw).unwrap(), "[\"\\ufffe\"]");
    }

    proptest! {
        #[test]
        fn a_body_has_only_what_sqs_takes_and_means_the_same(text in "(\\PC|[\u{0}-\u{1f}\u{7f}\u{fffd}-\u{ffff}\u{10ffff}\"\\\\]){0,60}") {
            let body = to_body(&text).unwrap();
            prop_assert!(body.chars().all(is_allowed), "{}", body);
            prop_assert_eq!(serde_json::from_str::<String>(&body).unwrap(), text);
        }
    }
}
