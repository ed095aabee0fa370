//! `FilterCriteria` decides which messages reach the function. A message that matches no pattern is deleted.
//!
//! Lambda's page says that its patterns have the syntax and rules of EventBridge
//! (<https://docs.aws.amazon.com/lambda/latest/dg/invocation-eventfiltering.html>). The rules are at
//! <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-create-pattern-operators.html>, and
//! <https://github.com/aws/event-ruler> shows the behaviour in corner cases.
//!
//! Two differences are known. AWS compares exact numbers by their text; here 300.0 equals 3.0e2, but 300 equals
//! neither. `exists: false` below a list of objects matches here if one object lacks the field, but on AWS only if all
//! do.

mod cidr;
mod error;
mod field;
mod pattern;
mod rule;
mod wildcard;

use crate::event::Record;
use serde_json::Value;

pub use self::error::PatternError;
use self::error::PatternPath;
use self::pattern::Pattern;

/// The patterns of a mapping. A message must match one of them. Without patterns all messages match.
#[derive(Debug)]
pub struct FilterCriteria {
    patterns: Vec<Pattern>,
}

impl FilterCriteria {
    /// The default limit. AWS raises it to ten on request.
    const MAX_PATTERNS: usize = 5;
    const MAX_PATTERN_CHARS: usize = 4_096;

    /// # Errors
    ///
    /// Returns an error when AWS would refuse a pattern. The error names the path and the problem.
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
            Pattern::parse(&json, &PatternPath::root(index))
        });
        Ok(Self { patterns: patterns.collect::<Result<_, _>>()? })
    }

    /// Returns whether the record reaches the function. If not, the caller deletes its message.
    pub fn lets_through(&self, record: &Record) -> bool {
        if self.patterns.is_empty() {
            return true;
        }
        // This crate wrote the JSON, so it is an object with a text as its body.
        let Ok(Value::Object(mut record)) = serde_json::from_str(record.json()) else { return false };
        let body = Body::of(record.remove("body").as_ref().and_then(Value::as_str).unwrap_or_default());
        self.patterns.iter().any(|pattern| pattern.matches(&record, &body))
    }

    /// Returns the keys of records other than `body` that the patterns name, each once.
    ///
    /// AWS once documented these keys, but now says that filters for SQS support only `body`
    /// (<https://docs.aws.amazon.com/lambda/latest/dg/with-sqs-filtering.html>). They work here, so the caller warns
    /// the user.
    pub fn undocumented_keys(&self) -> Vec<&str> {
        let mut keys: Vec<&str> = self.patterns.iter().flat_map(Pattern::names).filter(|&key| key != BODY).collect();
        keys.sort_unstable();
        keys.dedup();
        keys
    }
}

const BODY: &str = "body";

/// A body in the form in which AWS compares it with a pattern.
#[derive(Debug)]
enum Body {
    Json(Value),
    /// Neither an object nor a list. AWS does not document whether a lone number counts as JSON.
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
    fn body_matches_only_a_pattern_of_its_form() {
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
    fn body_of_another_form_does_not_match_a_pattern_that_asks_for_absence() {
        assert!(!passes(&[r#"{"body":{"x":[{"exists":false}]}}"#], "plain"));
        assert!(!passes(&[r#"{"body":[{"exists":false}]}"#], r#"{"x":1}"#));
        assert!(!passes(&[r#"{"body":[1]}"#], "[1]"), "a list is JSON");
        assert!(!passes(&[r#"{"$or":[{"body":{"x":[{"exists":false}]}},{"body":["y"]}]}"#], "plain"));
        assert!(passes(&[r#"{"$or":[{"body":{"x":["z"]}},{"body":["plain"]}]}"#], "plain"));
    }

    #[test]
    fn lone_number_is_a_plain_string() {
        assert!(passes(&[r#"{"body":["5"]}"#], "5"));
        assert!(!passes(&[r#"{"body":[5]}"#], "5"));
    }

    #[test]
    fn one_matching_pattern_is_enough_and_no_patterns_match_every_message() {
        let patterns = [r#"{"body":{"a":[1]}}"#, r#"{"body":{"b":[2]}}"#];
        assert!(passes(&patterns, r#"{"a":1}"#) && passes(&patterns, r#"{"b":2}"#));
        assert!(!passes(&patterns, r#"{"c":3}"#));
        assert!(passes(&[], "anything"));
    }

    #[test]
    fn attributes_match_as_the_event_contains_them() {
        assert!(passes(&[r#"{"messageAttributes":{"kind":{"stringValue":["order"]}}}"#], ""));
        assert!(!passes(&[r#"{"messageAttributes":{"kind":{"stringValue":["refund"]}}}"#], ""));
        assert!(passes(&[r#"{"attributes":{"ApproximateReceiveCount":["1"]}}"#], ""));
        assert!(!passes(&[r#"{"attributes":{"ApproximateReceiveCount":[1]}}"#], ""), "it is text");
    }

    #[test]
    fn keys_other_than_the_body_are_reported() {
        let patterns =
            [r#"{"body":["x"],"attributes":{"a":["b"]}}"#, r#"{"$or":[{"messageId":["a"]},{"body":["y"]}]}"#];
        let criteria = FilterCriteria::parse(&patterns).unwrap();
        assert_eq!(criteria.undocumented_keys(), ["attributes", "messageId"]);
        assert!(FilterCriteria::parse(&patterns[..0]).unwrap().undocumented_keys().is_empty());
    }

    #[test]
    fn more_than_five_patterns_or_4096_characters_are_refused() {
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
