//! Matches a whole pattern with a record. The body is a separate argument.

use serde_json::{Map, Value};

use super::error::{PatternError, PatternPath};
use super::field::{Expected, ObjectPattern};
use super::{BODY, Body};

/// A pattern for records: all fields must match, and one alternative of each `$or`.
#[derive(Debug)]
pub(super) struct Pattern(ObjectPattern);

impl Pattern {
    pub(super) fn parse(json: &Value, path: &PatternPath) -> Result<Self, PatternError> {
        ObjectPattern::parse(json, path).map(Self)
    }

    pub(super) fn matches(&self, record: &Map<String, Value>, body: &Body) -> bool {
        self.0.all_match(&|name, expected| match name {
            BODY => body_matches(expected, body),
            _ => expected.matches(record.get(name)),
        })
    }

    /// Returns the keys of a record that the pattern reads.
    pub(super) fn names(&self) -> Vec<&str> {
        self.0.names()
    }
}

/// Returns whether the body matches. If the forms differ, AWS drops the message without applying the rules.
fn body_matches(expected: &Expected, body: &Body) -> bool {
    match (expected, body) {
        (Expected::Object(_), Body::Json(value)) | (Expected::OneOf(_), Body::Plain(value)) => {
            expected.matches(Some(value))
        }
        (Expected::Object(_), Body::Plain(_)) | (Expected::OneOf(_), Body::Json(_)) => false,
    }
}
