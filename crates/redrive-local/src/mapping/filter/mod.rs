//! `FilterCriteria`: which messages reach the function at all. One that matches no pattern is deleted, unread.
//!
//! The patterns are EventBridge's, of which Lambda's page
//! (<https://docs.aws.amazon.com/lambda/latest/dg/invocation-eventfiltering.html>) says that it takes the same syntax
//! and rules; <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-create-pattern-operators.html> has them, and
//! <https://github.com/aws/event-ruler> what they do in the corners.
//!
//! Known to differ: exact numbers compare by their text on AWS; here 300.0 equals 3.0e2 (but 300 equals neither). And
//! `exists: false` below a list of objects holds here if one of them lacks the field, there if all do.

mod cidr;
mod error;
mod field;
mod pattern;
mod rule;
mod wildcard;

use crate::event::Record;
use serde_json::Value;

pub use self::error::PatternError;
use self::error::Place;
use self::pattern::Pattern;

/// Patterns of which a message must match one. Where there is none, all match.
#[derive(Debug)]
pub struct FilterCriteria {
    patterns: Vec<Pattern>,
}

impl FilterCriteria {
    /// AWS raises it to ten on request.
    const MAX_PATTERNS: usize = 5;
    const MAX_PATTERN_CHARS: usize = 4_096;

    /// # Errors
    ///
    /// Where AWS would refuse the patterns: the place in them, and what is wrong there.
    pub fn parse<P: AsRef<str>>(patterns: &[P]) -> Result<Self, PatternError> {
        if patterns.len() > Self::MAX_PATTERNS {
            return Err(PatternError::TooMany { found: patterns.len(), most: Self::MAX_PATTERNS });
        }
        let patterns = patterns.iter().enumerate().map(|(index, pattern)| {
            let pattern = pattern.as_ref();
            let chars = pattern.chars().count();
            if chars > Self::MAX_PATTERN_CHARS {
                return Err(PatternError::TooLong { index, chars, most: Self::MAX_PATTERN_CHARS });
            }
            let json: Value = serde_json::from_str(pattern)
                .map_err(|error| PatternError::NotJson { index, error: error.to_string() })?;
            Pattern::parse(&json, &Place::root(index))
        });
        Ok(Self { patterns: patterns.collect::<Result<_, _>>()? })
    }

    /// Whether the record reaches the function. If not, its message is deleted.
    pub fn lets_through(&self, record: &Record) -> bool {
        if self.patterns.is_empty() {
            return true;
        }
        // Ours, and so an object with a body that is text.
        let Ok(Value::Object(mut record)) = serde_json::from_str(record.json()) else { return false };
        let body = Body::of(record.remove("body").as_ref().and_then(Value::as_str).unwrap_or_default());
        self.patterns.iter().any(|pattern| pattern.matches(&record, &body))
    }

    /// Keys of records other than `body` that the patterns name, each once.
    ///
    /// AWS has documented them as metadata to filter by, and now says that with SQS only `body` is supported
    /// (<https://docs.aws.amazon.com/lambda/latest/dg/with-sqs-filtering.html>). Here they work: tell the user.
    pub fn undocumented_keys(&self) -> Vec<&str> {
        let mut keys: Vec<&str> = self.patterns.iter().flat_map(Pattern::names).filter(|&key| key != BODY).collect();
        keys.sort_unstable();
        keys.dedup();
        keys
    }
}

const BODY: &str = "body";

/// A body, in the form in which AWS compares it with a pattern.
#[derive(Debug)]
enum Body {
    Json(Value),
    /// Not an object or a list. Whether AWS takes a lone number for JSON is not documented.
    Plain(Value),
}

impl Body {
    fn of(text: &str) -> Self {
        match serde_json::from_str(text) {
            Ok(json @ (Value::Object(_) | Value::Array(_))) => Self::Json(json),
            _ => Self::Plain(Value::String(text.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(body: &str) -> Record {
        let json = serde_json::json!({
            "messageId": "a",
            "body": body,
            "attributes": {"ApproximateReceiveCount": "1"},
            "messageAttributes": {"kind": {"stringValue": "order", "stringListValues": [], "dataType": "String"}},
            "eventSource": "aws:sqs",
        });
        Record::for_test("a", None, &json.to_string())
    }

    fn passes(patterns: &[&str], body: &str) -> bool {
        FilterCriteria::parse(patterns).unwrap().lets_through(&record(body))
    }

    #[test]
    fn the_form_of_the_body_must_be_that_of_the_pattern() {
        let (json_body, plain_body) = (r#"{"kind":"order"}"#, "order 7");
        let (json, plain) = (r#"{"body":{"kind":["order"]}}"#, r#"{"body":[{"prefix":"order"}]}"#);
        let neither = r#"{"eventSource":["aws:sqs"]}"#;
        let rows = [
            (json_body, json, true),
            (json_body, plain, false),
            (json_body, neither, true),
            (plain_body, plain, true),
            (plain_body, json, false),
            (plain_body, neither, true),
        ];
        for (body, pattern, expected) in rows {
            assert_eq!(passes(&[pattern], body), expected, "{body} {pattern}");
        }
    }

    #[test]
    fn a_form_that_differs_matches_not_even_what_only_asks_for_absence() {
        assert!(!passes(&[r#"{"body":{"x":[{"exists":false}]}}"#], "plain"));
        assert!(!passes(&[r#"{"body":[{"exists":false}]}"#], r#"{"x":1}"#));
        assert!(!passes(&[r#"{"body":[1]}"#], "[1]"), "a list is JSON");
        assert!(!passes(&[r#"{"$or":[{"body":{"x":[{"exists":false}]}},{"body":["y"]}]}"#], "plain"));
        assert!(passes(&[r#"{"$or":[{"body":{"x":["z"]}},{"body":["plain"]}]}"#], "plain"));
    }

    #[test]
    fn a_lone_number_is_a_plain_string() {
        assert!(passes(&[r#"{"body":["5"]}"#], "5"));
        assert!(!passes(&[r#"{"body":[5]}"#], "5"));
    }

    #[test]
    fn one_pattern_of_several_is_enough_and_none_lets_all_through() {
        let patterns = [r#"{"body":{"a":[1]}}"#, r#"{"body":{"b":[2]}}"#];
        assert!(passes(&patterns, r#"{"a":1}"#) && passes(&patterns, r#"{"b":2}"#));
        assert!(!passes(&patterns, r#"{"c":3}"#));
        assert!(passes(&[], "anything"));
    }

    #[test]
    fn attributes_match_as_the_event_shows_them() {
        assert!(passes(&[r#"{"messageAttributes":{"kind":{"stringValue":["order"]}}}"#], ""));
        assert!(!passes(&[r#"{"messageAttributes":{"kind":{"stringValue":["refund"]}}}"#], ""));
        assert!(passes(&[r#"{"attributes":{"ApproximateReceiveCount":["1"]}}"#], ""));
        assert!(!passes(&[r#"{"attributes":{"ApproximateReceiveCount":[1]}}"#], ""), "it is text");
    }

    #[test]
    fn keys_beside_the_body_are_told_of() {
        let patterns =
            [r#"{"body":["x"],"attributes":{"a":["b"]}}"#, r#"{"$or":[{"messageId":["a"]},{"body":["y"]}]}"#];
        let criteria = FilterCriteria::parse(&patterns).unwrap();
        assert_eq!(criteria.undocumented_keys(), ["attributes", "messageId"]);
        assert!(FilterCriteria::parse(&patterns[..0]).unwrap().undocumented_keys().is_empty());
    }

    #[test]
    fn five_patterns_of_4096_characters_are_the_limit() {
        let pattern = r#"{"body":["x"]}"#;
        assert!(FilterCriteria::parse(&[pattern; 5]).is_ok());
        let error = FilterCriteria::parse(&[pattern; 6]).unwrap_err().to_string();
        assert!(error.contains("6 filter patterns") && error.contains("at most 5"), "{error}");
        let long = |chars: usize| format!(r#"{{"body":["{}"]}}"#, "ä".repeat(chars - 13));
        assert_eq!(long(4_096).chars().count(), 4_096);
        assert!(FilterCriteria::parse(&[long(4_096)]).is_ok());
        let error = FilterCriteria::parse(&[pattern.to_owned(), long(4_097)]).unwrap_err().to_string();
        assert!(error.starts_with("filter pattern 2 has 4097 characters"), "{error}");
    }
}
