//! JSON errors without any payload.

use std::fmt;

use serde_json::error::Category;

/// The reason why JSON could not be read, and the position, without its contents.
///
/// serde's own messages quote the offending value (`invalid type: string "4111 1111 ..."`). Message bodies are private
/// and errors go to logs. So an error keeps only the position, the kind of the value, and what was expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonError {
    problem: String,
    line: usize,
    column: usize,
}

impl From<serde_json::Error> for JsonError {
    fn from(error: serde_json::Error) -> Self {
        let problem = match error.classify() {
            Category::Data => without_payload(&error.to_string()),
            // The parser's own messages are fixed texts. The others end with the position.
            Category::Syntax | Category::Eof | Category::Io => without_position(&error.to_string()).to_owned(),
        };
        Self { problem, line: error.line(), column: error.column() }
    }
}

impl JsonError {
    /// Returns the problem without the position.
    pub(crate) fn problem(&self) -> &str {
        &self.problem
    }

    pub(crate) fn not_an_object() -> Self {
        Self { problem: "invalid type, expected an object".to_owned(), line: 0, column: 0 }
    }
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem)?;
        if self.line > 0 {
            write!(f, " at line {} column {}", self.line, self.column)?;
        }
        Ok(())
    }
}

impl std::error::Error for JsonError {}

fn without_position(message: &str) -> &str {
    message.rsplit_once(" at line ").map_or(message, |(problem, _)| problem)
}

/// Keeps the parts of serde's message that come from the type, and drops those from the payload.
///
/// The known formats are those of `serde::de::Error`. An unknown one, such as a type's own `custom` error, is dropped
/// entirely. A type whose own error resembles serde's format is trusted.
fn without_payload(message: &str) -> String {
    let message = without_position(message);
    // Field names belong to the type here. In `unknown field` and `unknown variant` they belong to the payload.
    if message.starts_with("missing field `") || message.starts_with("duplicate field `") {
        return message.to_owned();
    }
    for (form, end) in [("unknown field", "there are no fields"), ("unknown variant", "there are no variants")] {
        if message.starts_with(form) && message.ends_with(end) {
            return format!("{form}, {end}");
        }
    }
    // The expectation comes last and is the type's own text. The found value comes before it and may contain anything.
    let Some((found, expected)) = message.rsplit_once(", expected ") else { return UNKNOWN.to_owned() };
    for form in ["invalid type", "invalid value"] {
        if let Some(value) = found.strip_prefix(form).and_then(|found| found.strip_prefix(": ")) {
            let kind = KINDS.into_iter().find(|kind| value.starts_with(kind)).unwrap_or("something else");
            return format!("{form}: {kind}, expected {expected}");
        }
    }
    let forms = ["invalid length", "unknown field", "unknown variant"];
    match forms.into_iter().find(|form| found.starts_with(form)) {
        Some(form) => format!("{form}, expected {expected}"),
        None => UNKNOWN.to_owned(),
    }
}

const UNKNOWN: &str = "the value does not fit the type";

/// serde's names for kinds of values, each written before the value itself.
const KINDS: [&str; 15] = [
    "boolean",
    "integer",
    "floating point",
    "character",
    "string",
    "byte array",
    "null",
    "unit value",
    "Option value",
    "newtype struct",
    "sequence",
    "map",
    "enum",
    "unit variant",
    "newtype variant",
];

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Card {
        number: u64,
        kind: Option<JsonErrorKind>,
        pair: Option<(u8, u8)>,
    }

    #[derive(Debug, Deserialize)]
    enum JsonErrorKind {
        Debit,
    }

    fn problem(json: &str) -> String {
        JsonError::from(serde_json::from_str::<Card>(json).unwrap_err()).to_string()
    }

    #[test]
    fn error_has_the_position_and_the_expectation() {
        assert_eq!(problem(r#"{"number": "4111"}"#), "invalid type: string, expected u64 at line 1 column 17");
        assert_eq!(problem(r#"{"number": -5}"#), "invalid value: integer, expected u64 at line 1 column 13");
        assert_eq!(problem("{}"), "missing field `number` at line 1 column 2");
        assert_eq!(problem("not json"), "expected ident at line 1 column 2");
        assert_eq!(problem(""), "EOF while parsing a value at line 1 column 0");
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Ping {}

    #[derive(Debug, Deserialize)]
    enum Never {}

    #[derive(Debug)]
    struct Custom;

    impl<'de> Deserialize<'de> for Custom {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let value = String::deserialize(deserializer)?;
            Err(serde::de::Error::invalid_value(serde::de::Unexpected::Other(&value), &"a card"))
        }
    }

    fn problem_of<T: serde::de::DeserializeOwned + fmt::Debug>(json: &str) -> String {
        JsonError::from(serde_json::from_str::<T>(json).unwrap_err()).to_string()
    }

    #[test]
    fn error_without_an_expectation_hides_the_payload() {
        let all = [
            problem_of::<Ping>(r#"{"a, expected SECRET": 1}"#),
            problem_of::<Never>(r#""a, expected SECRET""#),
            problem_of::<Custom>(r#""SECRET""#),
        ];
        assert!(all.iter().all(|problem| !problem.contains("SECRET")), "{all:?}");
    }

    #[derive(Debug)]
    struct Worded;

    impl<'de> Deserialize<'de> for Worded {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            Err(serde::de::Error::custom(String::deserialize(deserializer)?))
        }
    }

    #[test]
    fn custom_error_of_a_type_is_hidden() {
        for json in [r#""no card: SECRET""#, r#""got SECRET, expected a card""#, r#""a card, expected SECRET""#] {
            assert_eq!(problem_of::<Worded>(json), "the value does not fit the type", "{json}");
        }
    }

    #[test]
    fn error_hides_the_payload() {
        for json in [
            r#"{"number": "SECRET"}"#,
            r#"{"number": "a, expected SECRET"}"#,
            r#"{"number": "SECRET, expected b\", expected c"}"#,
            r#"{"SECRET": 1}"#,
            r#"{"number": 1, "kind": "SECRET"}"#,
            r#"{"number": 1, "pair": [1, "SECRET"]}"#,
            r#""SECRET""#,
            "SECRET",
        ] {
            assert!(!problem(json).contains("SECRET"), "{}", problem(json));
        }
        assert_eq!(problem(r#"{"number": 1, "kind": "x"}"#), "unknown variant, expected `Debit` at line 1 column 25");
    }
}
