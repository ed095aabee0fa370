//! Evaluates the functions that refer to names: `Ref`, `Fn::GetAtt` and `Fn::Sub`.

use super::Inputs;
use super::intrinsics::{misused, unknown};
use super::node::{Node, NodeData};
use super::problem::{Place, Problem};
use super::scope::{Declared, Parameter, Scope};
use super::value::{Data, Unknown, Value};
use crate::partition::{function_arn, partition, url_suffix};

pub(super) const QUEUE: &str = "AWS::SQS::Queue";
pub(super) const SAM_FUNCTION: &str = "AWS::Serverless::Function";
pub(super) const FUNCTION: &str = "AWS::Lambda::Function";

impl Scope<'_> {
    pub(super) fn call_ref(&self, argument: &Node) -> Result<Value, Problem> {
        // With `AWS::LanguageExtensions`, a function may make the name.
        let name = self.value(argument)?;
        match (name.text(), unknown(&name)) {
            (Some(name), _) => self.named(name, argument.place),
            (None, Some(why)) => Ok(Value::unknown(argument.place, why)),
            (None, None) => Err(misused("Ref", "the name of a parameter or resource", argument.place)),
        }
    }

    /// Returns the value of `Ref` for a name.
    fn named(&self, name: &str, place: Place) -> Result<Value, Problem> {
        if let Some(value) = self.pseudo_parameter(name, place) {
            return Ok(value);
        }
        if let Some(parameter) = self.parameters.get(name) {
            return Ok(parameter_value(name, parameter, place));
        }
        let Some(declared) = self.resource(name) else { return Ok(self.nothing_named(name, place)) };
        if let Some(condition) = self.left_out(declared)? {
            return Ok(self.breaks(place, Unknown::LeftOut { resource: name.to_owned(), condition }));
        }
        Ok(match declared.kind {
            QUEUE => Value::of_text(place, self.queue_url(&self.queue_name(declared)?)),
            FUNCTION | SAM_FUNCTION => Value::of_text(place, self.function_name(declared)?),
            _ => Value::unknown(place, Unknown::Deployed(format!("the value of `Ref` for `{name}`"))),
        })
    }

    pub(super) fn call_get_att(&self, argument: &Node) -> Result<Value, Problem> {
        let usage = "the name of a resource and one of its attributes";
        match &argument.data {
            NodeData::Text(text) => match text.split_once('.') {
                Some((name, attribute)) => self.attribute(name, attribute, argument.place),
                None => Err(misused("Fn::GetAtt", usage, argument.place)),
            },
            NodeData::List(parts) => match parts.as_slice() {
                [name, attribute] => {
                    let (name, attribute) = (self.value(name)?, self.value(attribute)?);
                    if let Some(why) = unknown(&name).or_else(|| unknown(&attribute)) {
                        return Ok(Value::unknown(argument.place, why));
                    }
                    match (name.text(), attribute.text()) {
                        (Some(name), Some(attribute)) => self.attribute(name, attribute, argument.place),
                        _ => Err(misused("Fn::GetAtt", usage, argument.place)),
                    }
                }
                _ => Err(misused("Fn::GetAtt", usage, argument.place)),
            },
            _ => Err(misused("Fn::GetAtt", usage, argument.place)),
        }
    }

    fn attribute(&self, name: &str, attribute: &str, place: Place) -> Result<Value, Problem> {
        let Some(declared) = self.resource(name) else { return Ok(self.nothing_named(name, place)) };
        if let Some(condition) = self.left_out(declared)? {
            return Ok(self.breaks(place, Unknown::LeftOut { resource: name.to_owned(), condition }));
        }
        Ok(match (declared.kind, attribute) {
            (QUEUE, "Arn") => Value::of_text(place, self.queue_arn(&self.queue_name(declared)?)),
            (QUEUE, "QueueName") => Value::of_text(place, self.queue_name(declared)?),
            (QUEUE, "QueueUrl") => Value::of_text(place, self.queue_url(&self.queue_name(declared)?)),
            (QUEUE, _) => {
                let problem =
                    format!("a queue has no attribute `{attribute}`; it has `Arn`, `QueueName` and `QueueUrl`");
                return Err(Problem::new(place, problem));
            }
            (FUNCTION | SAM_FUNCTION, "Arn") => {
                let name = self.function_name(declared)?;
                Value::of_text(place, function_arn(&self.inputs.region, &self.inputs.account, &name))
            }
            _ => Value::unknown(place, Unknown::Deployed(format!("`{attribute}` of `{name}`"))),
        })
    }

    fn nothing_named(&self, name: &str, place: Place) -> Value {
        if self.may_be_sams(name) {
            return Value::unknown(place, Unknown::Deployed(format!("`{name}`, which SAM creates,")));
        }
        self.breaks(place, Unknown::Missing(name.to_owned()))
    }

    pub(super) fn call_sub(&self, argument: &Node) -> Result<Value, Problem> {
        let usage = "a text, or a list of a text and a map of its variables";
        let (text, variables) = match &argument.data {
            NodeData::Text(text) => (text.as_str(), None),
            NodeData::List(parts) => match parts.as_slice() {
                [text, variables] => match (text.text(), &variables.data) {
                    (Some(text), NodeData::Map(_)) => (text, Some(variables)),
                    _ => return Err(misused("Fn::Sub", usage, argument.place)),
                },
                _ => return Err(misused("Fn::Sub", usage, argument.place)),
            },
            _ => return Err(misused("Fn::Sub", usage, argument.place)),
        };
        self.filled_in(text, variables, argument.place)
    }

    /// Replaces each `${Name}` in a text by its value. `${!Name}` is the escape for `${Name}`.
    fn filled_in(&self, text: &str, variables: Option<&Node>, place: Place) -> Result<Value, Problem> {
        let mut filled = String::new();
        let mut why = None;
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            filled.push_str(before);
            let Some((name, after)) = after.split_once('}') else {
                return Err(Problem::new(place, "a `${` of this text is not closed; add the `}`, or write `${!`"));
            };
            rest = after;
            if let Some(literal) = name.strip_prefix('!') {
                filled.push_str(&format!("${{{literal}}}"));
                continue;
            }
            let value = match (variables.and_then(|variables| variables.get(name)), name.split_once('.')) {
                (Some(node), _) => self.value(node)?,
                (None, Some((name, attribute))) => self.attribute(name, attribute, place)?,
                (None, None) => self.named(name.trim(), place)?,
            };
            match value.text() {
                Some(text) => filled.push_str(text),
                None => why = why.or(unknown(&value)).or_else(|| Some(Unknown::Deployed(format!("`${{{name}}}`")))),
            }
            self.spend(place, filled.len())?;
        }
        filled.push_str(rest);
        self.spend(place, filled.len())?;
        Ok(why.map_or_else(|| Value::resolved(place, filled), |why| Value::unknown(place, why)))
    }

    fn pseudo_parameter(&self, name: &str, place: Place) -> Option<Value> {
        let text = match name.strip_prefix("AWS::")? {
            "AccountId" => &self.inputs.account,
            "NoValue" => return Some(Value::new(place, Data::Absent)),
            "Partition" => self.partition(),
            "Region" => &self.inputs.region,
            "StackName" => &self.inputs.stack_name,
            "URLSuffix" => url_suffix(&self.inputs.region),
            _ => return Some(Value::unknown(place, Unknown::Deployed(format!("`{name}`")))),
        };
        Some(Value::of_text(place, text))
    }

    /// Returns the name of a queue: the known `QueueName`, or otherwise the logical id.
    ///
    /// A deployment would add the stack's name and a random suffix. Here the same template always gives the same names.
    pub(super) fn queue_name(&self, declared: &Declared<'_>) -> Result<String, Problem> {
        self.once(declared.id, declared.place, || {
            let Some(properties) = declared.properties else { return Ok(declared.id.to_owned()) };
            if let Some(Data::Text(name)) = self.property(properties, "QueueName")? {
                return Ok(name);
            }
            let is_fifo = matches!(self.property(properties, "FifoQueue")?, Some(Data::Text(text)) if text.eq_ignore_ascii_case("true"));
            Ok(if is_fifo { format!("{}.fifo", declared.id) } else { declared.id.to_owned() })
        })
    }

    pub(super) fn function_name(&self, declared: &Declared<'_>) -> Result<String, Problem> {
        self.once(declared.id, declared.place, || {
            let Some(properties) = declared.properties else { return Ok(declared.id.to_owned()) };
            Ok(match self.property(properties, "FunctionName")? {
                Some(Data::Text(name)) => name,
                _ => declared.id.to_owned(),
            })
        })
    }

    fn property(&self, properties: &Node, key: &str) -> Result<Option<Data>, Problem> {
        Ok(properties.get(key).map(|node| self.value(node)).transpose()?.map(|value| value.data))
    }

    pub(super) fn queue_arn(&self, name: &str) -> String {
        let Inputs { region, account, .. } = self.inputs;
        format!("arn:{}:sqs:{region}:{account}:{name}", self.partition())
    }

    pub(super) fn queue_url(&self, name: &str) -> String {
        format!("{}/{}/{name}", self.inputs.endpoint.trim_end_matches('/'), self.inputs.account)
    }

    fn partition(&self) -> &'static str {
        partition(&self.inputs.region)
    }
}

fn parameter_value(name: &str, parameter: &Parameter<'_>, place: Place) -> Value {
    let Some(value) = &parameter.value else { return Value::unknown(place, Unknown::Parameter(name.to_owned())) };
    if parameter.kind == "CommaDelimitedList" || parameter.kind.starts_with("List<") {
        let items = value.split(',').map(|item| Value::of_text(place, item.trim())).collect();
        return Value::new(place, Data::List(items));
    }
    Value::of_text(place, value)
}
