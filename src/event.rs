//! An SQS event, split into records but not parsed.

use std::fmt;
use std::str::FromStr;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::error::{Error, Kind};

/// The payload of an invocation: the raw JSON of each record, none of it parsed.
///
/// The event is split in one pass over its bytes. What is inside a record is looked at by that record's own task, so a
/// bad record costs itself only, and parsing spreads over the cores. Any JSON at all becomes an `Event`; one that is
/// not an SQS event is refused when it is handled, with an error that says what was found.
///
/// ```
/// use redrive::Event;
///
/// let event: Event = r#"{"Records": [{"messageId": "1", "body": "hello", "eventSource": "aws:sqs"}]}"#.parse()?;
/// # Ok::<(), serde_json::Error>(())
/// ```
///
/// The form of the event: <https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html#example-standard-queue-message-event>.
#[derive(Clone)]
pub struct Event {
    records: Records,
}

#[derive(Clone)]
enum Records {
    Split(Vec<Box<RawValue>>),
    /// The event has no list of records; this is what it has.
    None(&'static str),
}

impl Event {
    /// Splits an event's bytes.
    ///
    /// # Errors
    ///
    /// Where the bytes are not JSON.
    pub fn from_slice(json: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(json)
    }

    pub(crate) fn into_texts(self) -> Result<Vec<Box<RawValue>>, Error> {
        match self.records {
            Records::Split(records) => Ok(records),
            Records::None(found) => Err(Kind::Event(found.to_owned()).into()),
        }
    }
}

impl FromStr for Event {
    type Err = serde_json::Error;

    fn from_str(json: &str) -> Result<Self, Self::Err> {
        serde_json::from_str(json)
    }
}

/// Says how many records there are, never what is in them: bodies are private.
impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.records {
            Records::Split(records) => write!(f, "Event({} records)", records.len()),
            Records::None(found) => write!(f, "Event({found})"),
        }
    }
}

impl<'de> Deserialize<'de> for Event {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let records = deserializer.deserialize_any(EventVisitor)?;
        Ok(Self { records })
    }
}

const NOT_AN_OBJECT: &str = "it is not a JSON object";
const NO_RECORDS: &str = "it has no `Records`";
const RECORDS_TWICE: &str = "it has `Records` twice";
const NOT_A_LIST: &str = "its `Records` is not a list";

/// Implements the visits of all the JSON values that are neither object nor list: they are what they should not be.
macro_rules! visit_scalars {
    ($value:expr) => {
        fn visit_unit<E>(self) -> Result<Records, E> {
            Ok(Records::None($value))
        }
        fn visit_bool<E>(self, _: bool) -> Result<Records, E> {
            Ok(Records::None($value))
        }
        fn visit_i64<E>(self, _: i64) -> Result<Records, E> {
            Ok(Records::None($value))
        }
        fn visit_u64<E>(self, _: u64) -> Result<Records, E> {
            Ok(Records::None($value))
        }
        fn visit_f64<E>(self, _: f64) -> Result<Records, E> {
            Ok(Records::None($value))
        }
        fn visit_str<E>(self, _: &str) -> Result<Records, E> {
            Ok(Records::None($value))
        }
    };
}

struct EventVisitor;

impl<'de> Visitor<'de> for EventVisitor {
    type Value = Records;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an SQS event")
    }

    visit_scalars!(NOT_AN_OBJECT);

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Records, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Records::None(NOT_AN_OBJECT))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Records, A::Error> {
        let mut records = Records::None(NO_RECORDS);
        while let Some(key) = entries.next_key::<Key>()? {
            match key {
                Key::Records if matches!(records, Records::None(NO_RECORDS)) => {
                    records = entries.next_value::<RecordList>()?.0;
                }
                Key::Records => {
                    entries.next_value::<IgnoredAny>()?;
                    records = Records::None(RECORDS_TWICE);
                }
                Key::Other => {
                    entries.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(records)
    }
}

#[derive(serde::Deserialize)]
#[serde(field_identifier)]
enum Key {
    Records,
    #[serde(other)]
    Other,
}

struct RecordList(Records);

impl<'de> Deserialize<'de> for RecordList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RecordListVisitor).map(Self)
    }
}

struct RecordListVisitor;

impl<'de> Visitor<'de> for RecordListVisitor {
    type Value = Records;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of records")
    }

    visit_scalars!(NOT_A_LIST);

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Records, A::Error> {
        let mut texts = Vec::new();
        while let Some(record) = items.next_element::<Box<RawValue>>()? {
            texts.push(record);
        }
        Ok(Records::Split(texts))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Records, A::Error> {
        while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Records::None(NOT_A_LIST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(json: &str) -> String {
        let event: Event = json.parse().unwrap();
        event.into_texts().unwrap_err().to_string()
    }

    #[test]
    fn what_is_not_an_sqs_event_is_named() {
        for json in ["null", "true", "1", "-1", "1.5", "\"\\n\"", "[[1], {}]"] {
            assert!(problem(json).contains(NOT_AN_OBJECT), "{json}");
        }
        assert!(problem("{}").contains(NO_RECORDS));
        assert!(problem(r#"{"records": []}"#).contains(NO_RECORDS));
        assert!(problem(r#"{"Records": [{}], "Records": []}"#).contains(RECORDS_TWICE));
        for json in ["null", "0", "\"x\"", "{\"0\": {}}", "false"] {
            assert!(problem(&format!("{{\"Records\": {json}}}")).contains(NOT_A_LIST), "{json}");
        }
    }

    #[test]
    fn records_are_split_and_left_as_they_are() {
        let event: Event =
            r#"{"x": {"Records": 1}, "Records": [ {"a" : [1, 2]}, null, "s" ], "y": 2}"#.parse().unwrap();
        let texts = event.into_texts().unwrap();
        let texts: Vec<_> = texts.iter().map(|text| text.get()).collect();
        assert_eq!(texts, [r#"{"a" : [1, 2]}"#, "null", "\"s\""]);
    }

    #[test]
    fn debug_shows_no_payload() {
        let event: Event = r#"{"Records": ["secret"]}"#.parse().unwrap();
        assert_eq!(format!("{event:?}"), "Event(1 records)");
    }
}
