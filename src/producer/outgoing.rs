//! A message to send.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::checked::Checked;
use super::error::SendError;
use super::id::Id;
use crate::extract::AttributeValue;
use crate::json::to_body;
use crate::sqs::limits::{MAX_ATTRIBUTES, MAX_MESSAGE_BYTES, is_allowed};

/// A message to send: a body with attributes and settings.
///
/// ```
/// use std::time::Duration;
/// use redrive::{AttributeValue, Outgoing};
///
/// # #[derive(serde::Serialize)] struct Order { order_id: u32 }
/// # let order = Order { order_id: 7 };
/// let message = Outgoing::json(&order)?
///     .attribute("priority", AttributeValue::string("high"))
///     .delay(Duration::from_secs(60));
/// # Ok::<(), redrive::SendError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a message is sent by a producer or an outbox"]
pub struct Outgoing {
    pub(crate) body: String,
    pub(crate) attributes: BTreeMap<String, AttributeValue>,
    pub(crate) group: Option<String>,
    pub(crate) deduplication_id: Option<Id>,
    pub(crate) delay: Option<Duration>,
    pub(crate) trace_header: Option<String>,
    /// The deduplication id that the queue would compute from the body which is in S3 now.
    pub(crate) content_id: Option<Box<str>>,
}

const MAX_DELAY: Duration = Duration::from_secs(900);

impl Outgoing {
    /// Creates a message with a JSON body, for a handler that takes [`Json`](crate::Json). Characters that SQS refuses
    /// are escaped.
    ///
    /// # Errors
    ///
    /// Returns an error if the value cannot be written as JSON, because a map's keys are not strings or its `Serialize`
    /// fails.
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Result<Self, SendError> {
        let body = to_body(value);
        Ok(Self::text(
            body.map_err(|error| SendError::invalid(format!("the body cannot be written as JSON: {error}")))?,
        ))
    }

    /// Creates a message with this body. SQS requires at least one character, and accepts the Unicode characters of XML
    /// 1.0.
    pub fn text(body: impl Into<String>) -> Self {
        Self {
            body: body.into(),
            attributes: BTreeMap::new(),
            group: None,
            deduplication_id: None,
            delay: None,
            trace_header: None,
            content_id: None,
        }
    }

    /// Adds a message attribute, or replaces the one with that name. There may be ten.
    pub fn attribute(mut self, name: impl Into<String>, value: AttributeValue) -> Self {
        self.attributes.insert(name.into(), value);
        self
    }

    /// Sets the group, up to 128 characters. On a FIFO queue every message needs one, and each group keeps its order.
    /// On a standard queue it is the group of [fair
    /// queues](https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-fair-queues.html).
    pub fn group(mut self, group: impl Into<String>) -> Self {
        self.group = Some(group.into());
        self
    }

    /// Sets the id by which a copy of the message is recognized, up to 128 characters. A FIFO queue drops copies within
    /// five minutes. On a standard queue a handler reads it as [`SendId`](crate::SendId). By default the producer draws
    /// a random id.
    pub fn deduplication_id(mut self, id: impl Into<String>) -> Self {
        self.deduplication_id = Some(Id::Given(id.into()));
        self
    }

    /// Sets how long the queue hides the message at first, in whole seconds up to 15 minutes. A FIFO queue has one
    /// delay for all messages and accepts none on a message.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = Some(delay);
        self
    }

    /// Sets the X-Ray trace header, in place of the producer's.
    pub fn trace_header(mut self, header: impl Into<String>) -> Self {
        self.trace_header = Some(header.into());
        self
    }

    /// Returns the body.
    ///
    /// ```
    /// use std::time::Duration;
    /// use redrive::{AttributeValue, Outgoing};
    ///
    /// let message = Outgoing::text("an order").group("c-1").delay(Duration::from_secs(5));
    /// let message = message.attribute("kind", AttributeValue::string("order"));
    /// assert_eq!((message.get_body(), message.get_group()), ("an order", Some("c-1")));
    /// assert_eq!(message.get_delay(), Some(Duration::from_secs(5)));
    /// assert_eq!(message.get_attribute("kind").and_then(AttributeValue::as_str), Some("order"));
    /// ```
    pub fn get_body(&self) -> &str {
        &self.body
    }

    /// Returns the value of a message attribute.
    pub fn get_attribute(&self, name: &str) -> Option<&AttributeValue> {
        self.attributes.get(name)
    }

    /// Returns the message attributes, by name.
    pub fn get_attributes(&self) -> impl Iterator<Item = (&str, &AttributeValue)> {
        self.attributes.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// Returns the message group id.
    pub fn get_group(&self) -> Option<&str> {
        self.group.as_deref()
    }

    /// Returns the deduplication id that the message was given. A producer adds one to a message without.
    pub fn get_deduplication_id(&self) -> Option<&str> {
        self.deduplication_id.as_ref().and_then(Id::given)
    }

    /// Returns how long the queue hides the message at first.
    pub fn get_delay(&self) -> Option<Duration> {
        self.delay
    }

    /// Returns the X-Ray trace header.
    pub fn get_trace_header(&self) -> Option<&str> {
        self.trace_header.as_deref()
    }

    /// Returns the delay in whole seconds, rounded up.
    pub(super) fn delay_seconds(&self) -> Option<i32> {
        let seconds = |delay: Duration| i32::try_from(delay.as_millis().div_ceil(1_000)).unwrap_or(i32::MAX);
        self.delay.map(seconds)
    }

    /// Returns the size as SQS counts it.
    pub(crate) fn bytes(&self) -> usize {
        let of_attributes = self.attributes.iter().map(|(name, value)| attribute_bytes(name, value));
        self.body.len() + of_attributes.sum::<usize>()
    }

    /// Refuses a message that SQS would refuse. SQS refuses some of them together with their whole call.
    pub(crate) fn check(self, is_fifo: bool) -> Result<Checked, SendError> {
        let bytes = self.bytes();
        if bytes > MAX_MESSAGE_BYTES {
            return Err(SendError::too_large(bytes));
        }
        let problem = self.problem_of_texts().or_else(|| self.problem_of_queue(is_fifo));
        match problem.or_else(|| self.problem_of_attributes()) {
            Some(problem) => Err(SendError::invalid(problem)),
            None => Ok(Checked::new(self, bytes)),
        }
    }

    fn problem_of_texts(&self) -> Option<String> {
        if self.body.is_empty() {
            return Some("its body is empty, and SQS requires at least one character".to_owned());
        }
        let body = foreign(&self.body).map(|problem| format!("its body has {problem}"));
        let header = self.trace_header.as_deref().and_then(problem_of_text);
        let header = header.map(|problem| format!("its trace header {problem}"));
        let deduplication_id = self.deduplication_id.as_ref().and_then(Id::given);
        let ids = [("group", self.group.as_deref()), ("deduplication id", deduplication_id)];
        let id = ids.into_iter().find_map(|(what, id)| {
            let is_wrong = id.is_some_and(|id| !is_id(id));
            is_wrong
                .then(|| format!("its {what} must have 1 to {MAX_ID} ASCII letters, digits and punctuation characters"))
        });
        body.or(header).or(id)
    }

    fn problem_of_queue(&self, is_fifo: bool) -> Option<String> {
        let problem = if is_fifo && self.group.is_none() {
            "a message to a FIFO queue needs a group; set one with Outgoing::group".to_owned()
        } else if is_fifo && self.delay.is_some() {
            "it has a delay, and a FIFO queue accepts no delay on a message; set DelaySeconds on the queue".to_owned()
        } else if self.delay.is_some_and(|delay| delay > MAX_DELAY) {
            format!("its delay is longer than the {} s that SQS accepts", MAX_DELAY.as_secs())
        } else {
            return None;
        };
        Some(problem)
    }

    fn problem_of_attributes(&self) -> Option<String> {
        if self.attributes.len() > MAX_ATTRIBUTES {
            return Some(format!("it has {} attributes, and SQS accepts {MAX_ATTRIBUTES}", self.attributes.len()));
        }
        self.attributes.iter().find_map(|(name, value)| {
            let problem = problem_of_attribute(name, value)?;
            Some(format!("its attribute {name:?} {problem}"))
        })
    }
}

/// The longest group or deduplication id, in characters:
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html>
const MAX_ID: usize = 128;

fn is_id(text: &str) -> bool {
    (1..=MAX_ID).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Returns the problem of a text that is not a body.
pub(super) fn problem_of_text(text: &str) -> Option<String> {
    if text.is_empty() {
        return Some("is empty".to_owned());
    }
    foreign(text).map(|problem| format!("has {problem}"))
}

fn foreign(text: &str) -> Option<String> {
    // This fast check covers most texts without decoding their characters.
    if text.bytes().fold(true, |is_plain, byte| is_plain & matches!(byte, b' '..=b'~')) {
        return None;
    }
    let char = text.chars().find(|&char| !is_allowed(char))?;
    Some(format!("the character U+{:04X}, which SQS does not accept", u32::from(char)))
}

/// Checks an attribute by the rules of
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-message-metadata.html>.
fn problem_of_attribute(name: &str, value: &AttributeValue) -> Option<String> {
    let of_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    let lower = name.to_ascii_lowercase();
    let problem = if !(1..=256).contains(&name.len()) || !name.bytes().all(of_allowed) {
        "has a name that must have 1 to 256 ASCII letters, digits, hyphens, underscores and periods"
    } else if name.starts_with('.') || name.ends_with('.') || name.contains("..") {
        "has a name with a period at its beginning or end, or next to another period"
    } else if lower.starts_with("aws.") || lower.starts_with("amazon.") {
        "has a name that begins with AWS. or Amazon., which are reserved"
    } else {
        return problem_of_value(value);
    };
    Some(problem.to_owned())
}

const MAX_TYPE: usize = 256;

/// Checks a value that `AttributeValue` created or that was received.
fn problem_of_value(value: &AttributeValue) -> Option<String> {
    let data_type = value.data_type();
    if data_type.len() > MAX_TYPE {
        return Some(format!("has a type of {} characters, and SQS accepts {MAX_TYPE}", data_type.len()));
    }
    if let Some(problem) = foreign(data_type) {
        return Some(format!("has a type with {problem}"));
    }
    let basic = data_type.split('.').next();
    let problem = match (basic, value.as_str(), value.as_bytes()) {
        _ if value.len() == 0 => "has an empty value",
        (Some("Number"), Some(number), None) if !is_number(number) => "is a Number, and its value is not a number",
        (Some("String" | "Number"), Some(text), None) => return problem_of_text(text),
        (Some("Binary"), None, Some(_)) => return None,
        _ => "has a type that does not match its value; the types are String, Number and Binary",
    };
    Some(problem.to_owned())
}

/// Returns whether SQS accepts the text as a number: a decimal with any number of digits, not an infinity.
fn is_number(text: &str) -> bool {
    text.parse().is_ok_and(f64::is_finite)
}

pub(super) fn attribute_bytes(name: &str, value: &AttributeValue) -> usize {
    name.len() + value.data_type().len() + value.len()
}

/// A value that a [`Producer`](crate::Producer) can send: an [`Outgoing`], or a reference to a serializable value, as
/// JSON.
pub trait IntoOutgoing {
    /// Converts the value into a message.
    ///
    /// # Errors
    ///
    /// Returns an error if the value cannot be converted.
    fn into_outgoing(self) -> Result<Outgoing, SendError>;
}

impl IntoOutgoing for Outgoing {
    fn into_outgoing(self) -> Result<Outgoing, SendError> {
        Ok(self)
    }
}

impl<T: Serialize + ?Sized> IntoOutgoing for &T {
    fn into_outgoing(self) -> Result<Outgoing, SendError> {
        Outgoing::json(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(message: Outgoing, is_fifo: bool) -> String {
        message.check(is_fifo).unwrap_err().to_string()
    }

    #[test]
    fn message_that_sqs_would_refuse_fails_before_a_call() {
        let message = || Outgoing::text("an order");
        assert!(message().check(false).is_ok() && message().group("g").check(true).is_ok());
        assert!(problem(Outgoing::text(""), false).contains("empty"));
        assert!(problem(Outgoing::text("a\u{b}"), false).contains("U+000B"));
        assert!(problem(Outgoing::text("a\u{ffff}"), false).contains("U+FFFF"));
        assert!(Outgoing::json("a\u{fffe}\u{ffff}\u{0}").unwrap().check(false).is_ok(), "an escape carries them");
        assert!(problem(message(), true).contains("needs a group"));
        assert!(problem(message().group("g").delay(Duration::ZERO), true).contains("no delay"));
        assert!(problem(message().delay(Duration::from_secs(901)), false).contains("900 s"));
        let of = |count| {
            (0..count).fold(message(), |message, n| message.attribute(n.to_string(), AttributeValue::string("x")))
        };
        assert!(of(10).check(false).is_ok() && problem(of(11), false).contains("11 attributes"));
    }

    #[test]
    fn size_counts_attributes_and_not_the_trace_header() {
        let message = Outgoing::text("é").trace_header("Root=1");
        assert_eq!(message.bytes(), 2);
        let message = message.attribute("ab", AttributeValue::string("xyz"));
        assert_eq!(message.bytes(), 2 + 2 + 6 + 3);
        assert_eq!(message.attribute("b", AttributeValue::binary([0, 1])).bytes(), 13 + 1 + 6 + 2);
    }

    #[test]
    fn invalid_attributes_and_ids_fail_before_a_call() {
        let with =
            |name: &str, value| problem(Outgoing::text("x").attribute(name, AttributeValue::string(value)), false);
        for name in ["", "a b", ".a", "a.", "a..b", "aws.x", "Amazon.x", &"n".repeat(257)] {
            assert!(with(name, "x").contains("name"), "{name}");
        }
        assert!(with("a", "").contains("empty value") && with("a", "\0").contains("U+0000"));
        for id in ["", "a b", "é", &"i".repeat(129)] {
            assert!(problem(Outgoing::text("x").group(id), true).contains("its group"), "{id}");
            assert!(problem(Outgoing::text("x").group("g").deduplication_id(id), true).contains("deduplication id"));
        }
        assert!(Outgoing::text("x").group("g".repeat(128)).deduplication_id("~!").check(true).is_ok());
        for header in ["", "Root=\0"] {
            assert!(problem(Outgoing::text("x").trace_header(header), false).contains("trace header"));
        }
    }

    #[test]
    fn attribute_must_match_its_type() {
        let with =
            |value| Outgoing::text("x").attribute("a", value).check(false).map(drop).map_err(|it| it.to_string());
        for number in ["7", "-1.5e3", "0.10", "12345678901234567890123456789012345678"] {
            assert_eq!(with(AttributeValue::number(number).labelled("int")), Ok(()), "{number}");
        }
        for number in ["abc", "NaN", "inf", "1e999", "0x1", " 1"] {
            assert!(with(AttributeValue::number(number)).unwrap_err().contains("Number"), "{number}");
        }
        assert!(with(AttributeValue::number("")).unwrap_err().contains("empty value"));
        assert!(
            with(AttributeValue::string("x").labelled("\0")).unwrap_err().contains("type with the character U+0000")
        );
        assert_eq!(with(AttributeValue::binary([0]).labelled(&"l".repeat(249))), Ok(()));
        assert!(with(AttributeValue::binary([0]).labelled(&"l".repeat(250))).unwrap_err().contains("257 characters"));

        for wire in [
            r#"{"a": {"dataType": "Text", "stringValue": "x"}}"#,
            r#"{"a": {"dataType": "Binary", "stringValue": "x"}}"#,
            r#"{"a": {"dataType": "Number", "binaryValue": "AA=="}}"#,
        ] {
            let received = crate::extract::attributes_from_json(wire).unwrap().remove("a").unwrap();
            assert!(with(received).unwrap_err().contains("does not match its value"), "{wire}");
        }
    }

    #[test]
    fn size_is_counted_as_sqs_counts_it() {
        let attributed =
            |body: usize| Outgoing::text("b".repeat(body)).attribute("name", AttributeValue::binary([1, 2]));
        // "name", "Binary" and two bytes.
        assert!(attributed(MAX_MESSAGE_BYTES - 12).check(false).is_ok());
        let error = attributed(MAX_MESSAGE_BYTES - 11).check(false).unwrap_err();
        assert!(error.is_too_large() && error.to_string().contains("1048577"), "{error}");
        assert!(Outgoing::text("é".repeat(MAX_MESSAGE_BYTES / 2)).check(false).is_ok());
    }
}
