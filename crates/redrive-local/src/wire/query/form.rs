//! Rewrites a form as a call of the JSON protocol.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::names::{Spelling, in_json, is_integer};
use crate::queue::SqsError;
use crate::wire::request::SERVICE;

/// A call of the JSON protocol that was a form.
#[derive(Debug)]
pub(crate) struct FormCall {
    pub(crate) operation: String,
    pub(crate) body: Value,
}

/// The value of a parameter, or the parameters whose names begin with its name and a period.
#[derive(Debug)]
enum Parameter {
    Text(String),
    Nested(Parameters),
}

type Parameters = BTreeMap<String, Parameter>;

impl FormCall {
    /// Reads a form. Returns `None` if it is no call, because it names no action. A call without a queue URL is about
    /// the queue of its path.
    ///
    /// # Errors
    ///
    /// Returns an error if a number is none, or a parameter has both a value and parts.
    pub(crate) fn read<'a>(forms: impl IntoIterator<Item = &'a [u8]>, path: &str) -> Option<Result<Self, SqsError>> {
        let fields = forms.into_iter().flat_map(form_urlencoded::parse);
        let fields: Vec<_> = fields.map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
        let (_, operation) = fields.iter().find(|(name, _)| name == "Action")?;
        let operation = operation.clone();
        let mut parameters = Parameters::new();
        for (name, value) in fields {
            if let Err(error) = insert(&mut parameters, &name, value) {
                return Some(Err(error));
            }
        }
        if path.len() > 1 {
            parameters.entry("QueueUrl".to_owned()).or_insert_with(|| Parameter::Text(path.to_owned()));
        }
        Some(object(&operation, parameters).map(|body| Self { operation, body }))
    }
}

impl FormCall {
    /// Returns the value of the JSON protocol's header [`TARGET`](crate::wire::TARGET).
    pub(crate) fn target(&self) -> String {
        format!("{SERVICE}{}", self.operation)
    }
}

/// The nesting of the deepest parameter, as in `SendMessageBatchRequestEntry.1.MessageAttribute.1.Value.StringValue`,
/// and some more.
const MAX_DEPTH: usize = 10;

fn insert(parameters: &mut Parameters, name: &str, value: String) -> Result<(), SqsError> {
    let mut at = parameters;
    let mut parts = name.splitn(MAX_DEPTH, '.').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            at.insert(part.to_owned(), Parameter::Text(value));
            return Ok(());
        }
        let nested = at.entry(part.to_owned()).or_insert_with(|| Parameter::Nested(Parameters::new()));
        let Parameter::Nested(nested) = nested else {
            return Err(SqsError::parameter(name, &value, "The parameter has both a value and parts."));
        };
        at = nested;
    }
    Ok(())
}

fn object(operation: &str, parameters: Parameters) -> Result<Value, SqsError> {
    let mut object = Map::new();
    for (name, parameter) in parameters {
        let (name, value) = match (in_json(operation, &name), parameter) {
            (None, Parameter::Text(text)) if is_integer(&name) => {
                let value = integer(&name, &text)?;
                (name, value)
            }
            (None, Parameter::Text(text)) => (name, Value::String(text)),
            (None, Parameter::Nested(nested)) => (name, self::object(operation, nested)?),
            (Some(Spelling::List(list)), parameter) => {
                let items = items(parameter).into_iter().map(|item| value(operation, item));
                (list.to_owned(), Value::Array(items.collect::<Result<_, _>>()?))
            }
            (Some(Spelling::Map(map, key, value)), parameter) => {
                let entries = items(parameter).into_iter().map(|item| entry(operation, item, key, value));
                (map.to_owned(), Value::Object(entries.collect::<Result<_, _>>()?))
            }
        };
        object.insert(name, value);
    }
    Ok(Value::Object(object))
}

fn value(operation: &str, parameter: Parameter) -> Result<Value, SqsError> {
    match parameter {
        Parameter::Text(text) => Ok(Value::String(text)),
        Parameter::Nested(nested) => object(operation, nested),
    }
}

fn entry(operation: &str, item: Parameter, key: &str, value: &str) -> Result<(String, Value), SqsError> {
    let Parameter::Nested(mut item) = item else { return Err(SqsError::missing(key)) };
    let Some(Parameter::Text(name)) = item.remove(key) else { return Err(SqsError::missing(key)) };
    let value = item.remove(value).map_or(Ok(json!("")), |it| self::value(operation, it))?;
    Ok((name, value))
}

/// Returns the items of a list in the order of their numbers. A parameter without numbers is its own only item, as in
/// `Attribute.Name=VisibilityTimeout`.
fn items(parameter: Parameter) -> Vec<Parameter> {
    let nested = match parameter {
        Parameter::Text(text) if text.is_empty() => return Vec::new(),
        Parameter::Nested(nested) if nested.keys().all(|key| key.parse::<u32>().is_ok()) => nested,
        other => return vec![other],
    };
    let mut items: Vec<_> = nested.into_iter().map(|(key, item)| (key.parse().unwrap_or(u32::MAX), item)).collect();
    items.sort_by_key(|(number, _)| *number);
    items.into_iter().map(|(_, item)| item).collect()
}

fn integer(name: &str, text: &str) -> Result<Value, SqsError> {
    let number: Result<i64, _> = text.trim().parse();
    number.map(Value::from).map_err(|_| SqsError::parameter(name, text, "Must be an integer."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(form: &str) -> FormCall {
        FormCall::read([form.as_bytes()], "/").expect("a call").expect("a form")
    }

    #[test]
    fn lists_and_maps_get_their_names_in_json() {
        let call = read(
            "Action=SendMessage&Version=2012-11-05&QueueUrl=http%3A%2F%2Fh%2F0%2Forders&MessageBody=a+b%0A%26\
             &DelaySeconds=5&MessageAttribute.1.Name=kind&MessageAttribute.1.Value.DataType=String\
             &MessageAttribute.1.Value.StringValue=order",
        );
        assert_eq!(call.operation, "SendMessage");
        let body = &call.body;
        assert_eq!((&body["MessageBody"], &body["DelaySeconds"]), (&json!("a b\n&"), &json!(5)));
        assert_eq!(body["MessageAttributes"], json!({"kind": {"DataType": "String", "StringValue": "order"}}));

        let call = read(
            "Action=CreateQueue&QueueName=q&Attribute.1.Name=DelaySeconds&Attribute.1.Value=5&Tag.1.Key=a&Tag.1.Value=b",
        );
        assert_eq!(call.body["Attributes"], json!({"DelaySeconds": "5"}));
        assert_eq!(call.body["tags"], json!({"a": "b"}));
    }

    #[test]
    fn items_are_in_the_order_of_their_numbers() {
        let numbers = (1..=11).rev();
        let names: Vec<_> = numbers.map(|number| format!("&AttributeName.{number}=n{number}")).collect();
        let call = read(&format!("Action=GetQueueAttributes{}", names.concat()));
        let expected: Vec<_> = (1..=11).map(|number| format!("n{number}")).collect();
        assert_eq!(call.body["AttributeNames"], json!(expected));
    }

    #[test]
    fn item_without_a_number_is_a_list_of_one() {
        let call = read("Action=SetQueueAttributes&Attribute.Name=VisibilityTimeout&Attribute.Value=40");
        assert_eq!(call.body["Attributes"], json!({"VisibilityTimeout": "40"}));
        assert_eq!(read("Action=GetQueueAttributes&AttributeName=All").body["AttributeNames"], json!(["All"]));
    }

    #[test]
    fn empty_text_is_an_empty_list_or_map() {
        let empty = |form: &str, name: &str| read(form).body[name].clone();
        assert_eq!(empty("Action=ReceiveMessage&MessageAttributeNames=", "MessageAttributeNames"), json!([]));
        assert_eq!(empty("Action=SendMessageBatch&Entries=", "Entries"), json!([]));
        assert_eq!(empty("Action=CreateQueue&Attributes=", "Attributes"), json!({}));
    }

    #[test]
    fn entries_of_a_batch_keep_their_attributes() {
        let entry = |number: u8| {
            format!(
                "&SendMessageBatchRequestEntry.{number}.Id=e{number}&SendMessageBatchRequestEntry.{number}.DelaySeconds=1\
                 &SendMessageBatchRequestEntry.{number}.MessageAttribute.1.Name=n\
                 &SendMessageBatchRequestEntry.{number}.MessageAttribute.1.Value.BinaryValue=AA%3D%3D"
            )
        };
        let call = read(&format!("Action=SendMessageBatch{}{}", entry(1), entry(2)));
        let expected =
            |id: &str| json!({"Id": id, "DelaySeconds": 1, "MessageAttributes": {"n": {"BinaryValue": "AA=="}}});
        assert_eq!(call.body["Entries"], json!([expected("e1"), expected("e2")]));
    }

    #[test]
    fn path_names_the_queue_of_a_call_without_a_url() {
        let call =
            |form: &str, path| FormCall::read([form.as_bytes()], path).unwrap().unwrap().body["QueueUrl"].clone();
        assert_eq!(call("Action=PurgeQueue", "/000000000000/orders"), json!("/000000000000/orders"));
        assert_eq!(call("Action=PurgeQueue&QueueUrl=x%2Fbills", "/000000000000/orders"), json!("x/bills"));
        assert_eq!(call("Action=ListQueues", "/"), Value::Null);
    }

    #[test]
    fn malformed_forms_are_refused() {
        let message = |form: &str| match FormCall::read([form.as_bytes()], "/").unwrap() {
            Err(error) => error.message,
            Ok(call) => panic!("{form} was read as {call:?}"),
        };
        assert!(message("Action=ReceiveMessage&WaitTimeSeconds=soon").contains("WaitTimeSeconds"));
        assert!(message("Action=TagQueue&Tag.1=x").contains("Key"));
        assert!(message("Action=TagQueue&Tag.1.Value=x").contains("Key"));
        assert!(message("Action=TagQueue&Tag=x&Tag.1.Key=x").contains("Tag.1.Key"));
        assert!(FormCall::read([b"Version=2012-11-05".as_slice()], "/").is_none());
        let deep = "a.".repeat(100_000);
        assert!(FormCall::read([format!("Action=ListQueues&{deep}=1").as_bytes()], "/").unwrap().is_ok());
    }
}
