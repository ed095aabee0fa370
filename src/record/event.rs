//! An SQS event, split into records that are not parsed yet.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use serde::de::{Deserialize, Deserializer, IgnoredAny};
use serde_json::value::RawValue;

use super::parts::{EventRecord, Parts};
use crate::error::{Error, ErrorKind};
use crate::json::{JsonError, Scanner};

/// The payload of an invocation: its text and the positions of the records in it.
///
/// The event is scanned once and not parsed. Each record is parsed by its own task. So a malformed record fails alone,
/// and parsing uses all cores.
///
/// ```
/// use redrive::Event;
///
/// let event: Event = r#"{"Records": [{"messageId": "1", "body": "hello", "eventSource": "aws:sqs"}]}"#.parse()?;
/// # Ok::<(), redrive::Error>(())
/// ```
///
/// As a payload of lambda_runtime, any JSON becomes an `Event`. If it is not an SQS event, handling it fails with an
/// error that says what was found.
///
/// A bare list of records, as EventBridge Pipes send it, is accepted too.
///
/// Format of the event:
/// <https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html#example-standard-queue-message-event>.
#[derive(Clone)]
pub struct Event {
    /// The records, or a description of the problem with the event.
    records: Result<EventRecords, String>,
}

/// The records of an event, as positions in its text.
#[derive(Clone)]
pub(crate) struct EventRecords {
    text: String,
    parts: Vec<Parts>,
    has_nameless: bool,
}

/// The `eventSource` of SQS records.
const SQS: &str = "aws:sqs";

impl Event {
    /// Splits the bytes of an event into records.
    ///
    /// # Errors
    ///
    /// Returns an error if the bytes are not an SQS event.
    pub fn from_slice(json: &[u8]) -> Result<Self, Error> {
        let records = Self::of(json.to_vec()).records.map_err(ErrorKind::Event)?;
        Ok(Self { records: Ok(records) })
    }

    /// Splits an event into records. A problem is reported when the records are taken.
    pub(crate) fn of(json: Vec<u8>) -> Self {
        let text = String::from_utf8(json).map_err(|error| format!("it is not JSON: {}", error.utf8_error()));
        Self { records: text.and_then(EventRecords::find) }
    }

    /// Returns the records of the event.
    ///
    /// # Errors
    ///
    /// Returns an error if this is not an SQS event, or if its records come from another service.
    pub(crate) fn into_records(self) -> Result<EventRecords, Error> {
        let records = self.records.map_err(ErrorKind::Event)?;
        records.check_source()?;
        Ok(records)
    }
}

impl FromStr for Event {
    type Err = Error;

    fn from_str(json: &str) -> Result<Self, Error> {
        Self::from_slice(json.as_bytes())
    }
}

impl<'de> Deserialize<'de> for Event {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json: Box<str> = Box::<RawValue>::deserialize(deserializer)?.into();
        Ok(Self { records: EventRecords::find(json.into()) })
    }
}

/// Shows the number of records only: bodies are private.
impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.records {
            Ok(records) => write!(f, "Event({} records)", records.parts.len()),
            Err(problem) => write!(f, "Event({problem})"),
        }
    }
}

impl EventRecords {
    fn find(text: String) -> Result<Self, String> {
        // Positions in the text are stored in 32 bits. Lambda's events have at most 6 MB.
        if u32::try_from(text.len()).is_err() {
            return Err("it is longer than 4 GiB".to_owned());
        }
        let mut scanner = Scanner::new(&text);
        let found = find_records(&mut scanner).filter(|_| scanner.is_at_end());
        let Found { parts, has_nameless } = found.ok_or_else(|| not_json(&text))??;
        Ok(Self { text, parts, has_nameless })
    }

    pub(super) fn len(&self) -> usize {
        self.parts.len()
    }

    pub(super) fn copy_of(&self, index: usize) -> Option<usize> {
        self.parts[index].copy_of
    }

    pub(super) fn get(&self, index: usize) -> EventRecord<'_> {
        EventRecord { text: &self.text, parts: &self.parts[index] }
    }

    fn iter(&self) -> impl Iterator<Item = EventRecord<'_>> {
        self.parts.iter().map(|parts| EventRecord { text: &self.text, parts })
    }

    /// Returns whether a record has no id to report it by. If such a record fails, the whole batch fails.
    pub(crate) fn has_nameless(&self) -> bool {
        self.has_nameless
    }

    /// Returns the queue's ARN from the first record that has it.
    pub(super) fn queue_arn(&self) -> Option<Cow<'_, str>> {
        self.iter().find_map(|record| record.queue_arn().ok().flatten())
    }

    /// Checks the source of the records up to the first that names its queue. All records of an event come from one
    /// queue.
    fn check_source(&self) -> Result<(), Error> {
        for record in self.iter() {
            match record.event_source() {
                Ok(Some(source)) if source != SQS => {
                    return Err(ErrorKind::Event(format!("a record comes from {source}, not from {SQS}")).into());
                }
                // Handwritten events leave it out.
                Ok(_) | Err(_) => {}
            }
            if let Ok(Some(_)) = record.queue_arn() {
                break;
            }
        }
        Ok(())
    }
}

const NOT_AN_OBJECT: &str = "it is neither a JSON object nor a list of records";
const NO_RECORDS: &str = "it has no `Records`";
const RECORDS_TWICE: &str = "it has `Records` twice";
const NOT_A_LIST: &str = "its `Records` is not a list";

struct Found {
    parts: Vec<Parts>,
    has_nameless: bool,
}

/// `None` if the text is not JSON. An error if it is JSON but not an SQS event.
type FoundOrNot = Option<Result<Found, &'static str>>;

fn find_records(scanner: &mut Scanner<'_>) -> FoundOrNot {
    match scanner.peek()? {
        (_, b'{') => {}
        // EventBridge Pipes send the bare list.
        (_, b'[') => return find_list(scanner),
        _ => {
            scanner.value()?;
            return Some(Err(NOT_AN_OBJECT));
        }
    }
    let mut records = Err(NO_RECORDS);
    scanner.object(|key, scanner| {
        if key != "Records" {
            scanner.value()?;
        } else if matches!(records, Err(NO_RECORDS)) {
            records = find_list(scanner)?;
        } else {
            scanner.value()?;
            records = Err(RECORDS_TWICE);
        }
        Some(())
    })?;
    Some(records)
}

/// The length in bytes of a small SQS record. It only sizes the first allocation.
const SHORT_RECORD: usize = 512;

fn find_list(scanner: &mut Scanner<'_>) -> FoundOrNot {
    let (_, b'[') = scanner.peek()? else {
        scanner.value()?;
        return Some(Err(NOT_A_LIST));
    };
    let event = scanner.text();
    let mut parts = Vec::with_capacity(scanner.rest() / SHORT_RECORD);
    let mut first_of = HashMap::with_capacity(parts.capacity());
    let mut has_nameless = false;
    scanner.list(|scanner| {
        let index = parts.len();
        let mut record = Parts::find(scanner)?;
        // Looked up here because the id was just read. A second pass over the records costs twice as much.
        match record.message_id(event) {
            Some(id) => {
                let first = *first_of.entry(id).or_insert(index);
                record.copy_of = (first != index).then_some(first);
            }
            None => has_nameless = true,
        }
        parts.push(record);
        Some(())
    })?;
    Some(Ok(Found { parts, has_nameless }))
}

/// Returns the parser's error with its position.
fn not_json(text: &str) -> String {
    match serde_json::from_str::<IgnoredAny>(text) {
        Err(error) => format!("it is not JSON: {}", JsonError::from(error)),
        Ok(_) => "it is not JSON".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(json: &str) -> String {
        json.parse::<Event>().unwrap_err().to_string()
    }

    #[test]
    fn json_that_is_not_an_sqs_event_is_refused_with_the_reason() {
        for json in ["null", "true", "1", "-1", "1.5", "\"\\n\""] {
            assert!(problem(json).contains(NOT_AN_OBJECT), "{json}");
        }
        assert!(problem("{}").contains(NO_RECORDS));
        assert!(problem(r#"{"records": []}"#).contains(NO_RECORDS));
        for twice in [r#"{"Records": 1, "Records": []}"#, r#"{"Records": [{}], "Records": [], "Records": []}"#] {
            assert!(problem(twice).contains(RECORDS_TWICE), "{twice}");
        }
        for json in ["null", "0", "\"x\"", "{\"0\": {}}", "false"] {
            assert!(problem(&format!("{{\"Records\": {json}}}")).contains(NOT_A_LIST), "{json}");
        }
    }

    #[test]
    fn invalid_json_is_refused_with_the_position() {
        let cases = [
            ("", "EOF while parsing a value at line 1 column 0"),
            (r#"{"Records": [{}]} {}"#, "trailing characters at line 1 column 19"),
            (r#"{"Records": [{} {}]}"#, "at line 1 column 17"),
            (r#"{"Records": [{"body": "}]}"#, "at line 1 column 26"),
            // The second record must not be taken for a part of the first.
            (r#"{"Records": [{"a": [}, {"b": ]}]}"#, "at line 1 column 21"),
        ];
        for (json, place) in cases {
            let problem = problem(json);
            assert!(problem.contains("it is not JSON") && problem.contains(place), "{json}: {problem}");
        }
        let error = Event::from_slice(b"{\"Records\": [\"\xff\"]}").unwrap_err().to_string();
        assert!(error.contains("it is not JSON: invalid utf-8"), "{error}");
    }

    fn texts(event: Event) -> Vec<String> {
        event.into_records().unwrap().iter().map(|record| record.json().to_owned()).collect()
    }

    #[test]
    fn records_are_split_without_changes() {
        let json = r#" {"x": {"Records": 1}, "Records": [ {"a" : [1, 2]}, null, "s",{} ], "y": 2} "#;
        let expected = [r#"{"a" : [1, 2]}"#, "null", "\"s\"", "{}"];
        assert_eq!(texts(json.parse().unwrap()), expected);
        assert_eq!(texts(serde_json::from_str(json).unwrap()), expected);
    }

    #[test]
    fn bare_list_is_accepted_as_an_event() {
        let json = r#" [ {"a" : [1, 2]}, null, [1],{} ] "#;
        let expected = [r#"{"a" : [1, 2]}"#, "null", "[1]", "{}"];
        assert_eq!(texts(json.parse().unwrap()), expected);
        assert_eq!(texts(serde_json::from_str(json).unwrap()), expected);
        assert!(texts("[]".parse().unwrap()).is_empty());
        for no_json in ["[", "[{}", "[{}] {}", "[{},]", "[{} {}]"] {
            assert!(problem(no_json).contains("it is not JSON"), "{no_json}");
        }
    }

    #[test]
    fn debug_shows_no_payload() {
        let event: Event = r#"{"Records": ["secret"]}"#.parse().unwrap();
        assert_eq!(format!("{event:?}"), "Event(1 records)");
    }
}
