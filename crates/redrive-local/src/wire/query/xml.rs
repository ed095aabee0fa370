//! Writes a JSON answer as XML.

use std::fmt::{Display, Write};

use serde_json::Value;

use super::super::Answer;
use super::names::{Spelling, has_no_result, in_xml};
use crate::queue::is_allowed;

const NAMESPACE: &str = "http://queue.amazonaws.com/doc/2012-11-05/";

/// Returns the body of an answer as XML. The operation may be any text; a known error answers an unknown one.
pub(crate) fn to_xml(operation: &str, answer: &Answer, request_id: &str) -> Vec<u8> {
    let json = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
    let mut xml = Xml(r#"<?xml version="1.0"?>"#.to_owned());
    match &answer.query_error {
        Some(error) => xml.error(error, &json, request_id),
        None => xml.result(operation, &json, request_id),
    }
    xml.0.into_bytes()
}

struct Xml(String);

impl Xml {
    fn result(&mut self, operation: &str, json: &Value, request_id: &str) {
        self.within(format!("{operation}Response"), Some(NAMESPACE), |xml| {
            if !has_no_result(operation) {
                xml.within(format!("{operation}Result"), None, |xml| xml.members(operation, json));
            }
            xml.within("ResponseMetadata", None, |xml| xml.text("RequestId", request_id));
        });
    }

    /// Writes an error. `error` is its code and whose fault it is, as in the header of the JSON protocol.
    fn error(&mut self, error: &str, json: &Value, request_id: &str) {
        let (code, fault) = error.split_once(';').unwrap_or((error, "Sender"));
        self.within("ErrorResponse", Some(NAMESPACE), |xml| {
            xml.within("Error", None, |xml| {
                xml.text("Type", fault);
                xml.text("Code", code);
                xml.text("Message", json["message"].as_str().unwrap_or_default());
                xml.0.push_str("<Detail/>");
            });
            xml.text("RequestId", request_id);
        });
    }

    fn members(&mut self, operation: &str, json: &Value) {
        for (name, value) in json.as_object().into_iter().flatten() {
            match in_xml(operation, name) {
                None => self.element(operation, name, value),
                Some(Spelling::List(item)) => {
                    value.as_array().into_iter().flatten().for_each(|value| self.element(operation, item, value));
                }
                Some(Spelling::Map(entry, key, of_value)) => {
                    for (name, value) in value.as_object().into_iter().flatten() {
                        self.within(entry, None, |xml| {
                            xml.text(key, name);
                            xml.element(operation, of_value, value);
                        });
                    }
                }
            }
        }
    }

    fn element(&mut self, operation: &str, name: &str, value: &Value) {
        match value {
            Value::Null => {}
            Value::String(text) => self.text(name, text),
            Value::Object(_) => self.within(name, None, |xml| xml.members(operation, value)),
            other => self.text(name, &other.to_string()),
        }
    }

    fn text(&mut self, name: &str, text: &str) {
        self.within(name, None, |xml| xml.escape(text));
    }

    fn within(&mut self, name: impl Display, namespace: Option<&str>, content: impl FnOnce(&mut Self)) {
        // Writing to a string does not fail.
        let _ = match namespace {
            Some(namespace) => write!(self.0, r#"<{name} xmlns="{namespace}">"#),
            None => write!(self.0, "<{name}>"),
        };
        content(self);
        let _ = write!(self.0, "</{name}>");
    }

    /// Writes a text. Parsers replace a carriage return that is not escaped by a line feed, and refuse characters that
    /// XML does not have. A message has none of these, but an error may quote one.
    fn escape(&mut self, text: &str) {
        for char in text.chars() {
            match char {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '\r' => self.0.push_str("&#13;"),
                char if is_allowed(char) => self.0.push(char),
                _ => self.0.push(char::REPLACEMENT_CHARACTER),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::queue::{Code, SqsError};

    fn xml(operation: &str, json: Value) -> String {
        let xml = to_xml(operation, &Answer::of(Ok(json)), "id-1");
        String::from_utf8(xml).unwrap()
    }

    fn result(operation: &str, json: Value) -> String {
        let xml = xml(operation, json);
        let (_, rest) = xml.split_once(&format!("<{operation}Result>")).expect("a result");
        rest.split_once(&format!("</{operation}Result>")).expect("an end").0.to_owned()
    }

    #[test]
    fn lists_and_maps_get_their_names_in_xml() {
        let message = json!({"Messages": [{
            "MessageId": "m", "Body": "b", "Attributes": {"SenderId": "s"},
            "MessageAttributes": {"kind": {"DataType": "String", "StringValue": "order"}},
        }]});
        assert_eq!(
            result("ReceiveMessage", message),
            "<Message><Attribute><Name>SenderId</Name><Value>s</Value></Attribute><Body>b</Body><MessageAttribute>\
             <Name>kind</Name><Value><DataType>String</DataType><StringValue>order</StringValue></Value>\
             </MessageAttribute><MessageId>m</MessageId></Message>"
        );
        let failed = json!({"Failed": [{"Id": "1", "SenderFault": true}], "Successful": [{"Id": "2"}]});
        assert_eq!(
            result("DeleteMessageBatch", failed),
            "<BatchResultErrorEntry><Id>1</Id><SenderFault>true</SenderFault></BatchResultErrorEntry>\
             <DeleteMessageBatchResultEntry><Id>2</Id></DeleteMessageBatchResultEntry>"
        );
        let tags = result("ListQueueTags", json!({"Tags": {"a": "b"}}));
        assert_eq!(tags, "<Tag><Key>a</Key><Value>b</Value></Tag>");
    }

    #[test]
    fn answer_without_a_result_has_only_an_id() {
        assert_eq!(
            xml("DeleteMessage", json!({})),
            format!(
                "<?xml version=\"1.0\"?><DeleteMessageResponse xmlns=\"{NAMESPACE}\"><ResponseMetadata>\
                 <RequestId>id-1</RequestId></ResponseMetadata></DeleteMessageResponse>"
            )
        );
        assert_eq!(result("ReceiveMessage", json!({})), "");
    }

    #[test]
    fn text_survives_a_parser() {
        let body = result("ReceiveMessage", json!({"Messages": [{"Body": "<a>&\r\n\t\u{1f600}"}]}));
        assert_eq!(body, "<Message><Body>&lt;a&gt;&amp;&#13;\n\t\u{1f600}</Body></Message>");
    }

    #[test]
    fn error_has_its_code_and_whose_fault_it_is() {
        let answer = Answer::refused(SqsError::new(Code::QueueDoesNotExist, "no <queue>\0"));
        let xml = String::from_utf8(to_xml("GetQueueUrl", &answer, "id-1")).unwrap();
        assert_eq!(
            xml,
            format!(
                "<?xml version=\"1.0\"?><ErrorResponse xmlns=\"{NAMESPACE}\"><Error><Type>Sender</Type>\
                 <Code>AWS.SimpleQueueService.NonExistentQueue</Code><Message>no &lt;queue&gt;\u{fffd}</Message><Detail/>\
                 </Error><RequestId>id-1</RequestId></ErrorResponse>"
            )
        );
    }
}
