//! Evaluates CloudFormation's intrinsic functions, except those that refer to names.
//!
//! A function of an unknown value is unknown for the same reason.

use super::node::Node;
use super::problem::{Place, Problem};
use super::scope::Scope;
use super::value::{Data, Unknown, Value};

impl Scope<'_> {
    /// Evaluates a function call.
    pub(super) fn call(&self, name: &str, argument: &Node, place: Place) -> Result<Value, Problem> {
        match name {
            "Ref" => self.call_ref(argument),
            "Fn::GetAtt" => self.call_get_att(argument),
            "Fn::Sub" => self.call_sub(argument),
            "Fn::If" => self.call_if(argument, place),
            "Fn::Join" => self.call_join(argument, place),
            "Fn::Split" => self.call_split(argument, place),
            "Fn::Select" => self.call_select(argument, place),
            "Fn::FindInMap" => self.call_find_in_map(argument, place),
            "Fn::Base64" => self.call_base64(argument, place),
            "Fn::Cidr" => self.call_cidr(argument, place),
            "Fn::GetAZs" => self.call_get_azs(argument, place),
            "Fn::Length" => self.call_length(argument, place),
            "Fn::ToJsonString" => self.call_to_json_string(argument, place),
            "Fn::And" | "Fn::Or" | "Fn::Not" | "Fn::Equals" => Ok(self
                .logic(name, argument, place)?
                .map_or_else(|why| Value::unknown(place, why), |truth| Value::of_text(place, truth.to_string()))),
            _ => Ok(Value::unknown(place, Unknown::Deployed(format!("the result of `{name}`")))),
        }
    }

    fn call_if(&self, argument: &Node, place: Place) -> Result<Value, Problem> {
        let [condition, then, otherwise] = arguments(argument, "Fn::If", "a condition, and a value for each case")?;
        let Some(name) = condition.text() else {
            return Err(Problem::new(condition.place, "the first argument of `Fn::If` has to be a condition's name"));
        };
        match self.condition(name, condition.place)? {
            Ok(true) => self.value(then),
            Ok(false) => self.value(otherwise),
            Err(why) => Ok(Value::unknown(place, why)),
        }
    }

    fn call_join(&self, argument: &Node, place: Place) -> Result<Value, Problem> {
        let usage = "a delimiter and a list of texts";
        let [delimiter, items] = arguments(argument, "Fn::Join", usage)?;
        let (delimiter, items) = (self.value(delimiter)?, self.value(items)?);
        if let Some(why) = unknown(&items).or_else(|| items.items().iter().find_map(unknown)) {
            return Ok(Value::unknown(place, why));
        }
        let texts: Option<Vec<&str>> = items.items().iter().map(Value::text).collect();
        let (Some(delimiter), Some(texts)) = (delimiter.text(), texts) else {
            return Err(misused("Fn::Join", usage, place));
        };
        self.spend(place, texts.iter().map(|text| text.len() + delimiter.len()).sum())?;
        Ok(Value::resolved(place, texts.join(delimiter)))
    }

    fn call_split(&self, argument: &Node, place: Place) -> Result<Value, Problem> {
        let usage = "a delimiter and a text";
        let [delimiter, source] = arguments(argument, "Fn::Split", usage)?;
        let (delimiter, source) = (self.value(delimiter)?, self.value(source)?);
        if let Some(why) = unknown(&source) {
            return Ok(Value::unknown(place, why));
        }
        let (Some(delimiter), Some(source)) = (delimiter.text().filter(|text| !text.is_empty()), source.text()) else {
            return Err(misused("Fn::Split", usage, place));
        };
        self.spend(place, source.len())?;
        let parts = source.split(delimiter).map(|part| Value::of_text(place, part)).collect();
        Ok(Value::new(place, Data::List(parts)))
    }

    fn call_select(&self, argument: &Node, place: Place) -> Result<Value, Problem> {
        let usage = "an index and a list that is long enough for it";
        let [index, items] = arguments(argument, "Fn::Select", usage)?;
        let (index, items) = (self.value(index)?, self.value(items)?);
        if let Some(why) = unknown(&index).or_else(|| unknown(&items)) {
            return Ok(Value::unknown(place, why));
        }
        let index = index.text().and_then(|index| index.parse::<usize>().ok());
        match index.and_then(|index| items.items().get(index)) {
            Some(item) => Ok(item.clone()),
            None => Err(misused("Fn::Select", usage, place)),
        }
    }

    fn call_find_in_map(&self, argument: &Node, place: Place) -> Result<Value, Problem> {
        let usage = "the name of a mapping, and two keys of it";
        // A fourth argument may contain the default for missing keys.
        let [map, first, second, rest @ ..] = list(argument, "Fn::FindInMap", usage)? else {
            return Err(misused("Fn::FindInMap", usage, place));
        };
        let mut found = self.mappings;
        let mut keys = Vec::new();
        for key in [map, first, second] {
            let key = self.value(key)?;
            if let Some(why) = unknown(&key) {
                return Ok(Value::unknown(place, why));
            }
            let key = key.text().ok_or_else(|| misused("Fn::FindInMap", usage, place))?;
            found = found.and_then(|node| node.get(key));
            keys.push(format!("`{key}`"));
        }
        match (found, rest.first().and_then(|options| options.get("DefaultValue"))) {
            (Some(node), _) | (None, Some(node)) => self.value(node),
            (None, None) => Ok(Value::unknown(place, Unknown::Unmapped(keys.join(", ")))),
        }
    }
}

/// Returns the arguments of a function with a fixed number of them.
pub(super) fn arguments<'n, const N: usize>(
    argument: &'n Node,
    name: &str,
    usage: &str,
) -> Result<&'n [Node; N], Problem> {
    list(argument, name, usage)?.try_into().map_err(|_| misused(name, usage, argument.place))
}

fn list<'n>(argument: &'n Node, name: &str, usage: &str) -> Result<&'n [Node], Problem> {
    argument.list().ok_or_else(|| misused(name, usage, argument.place))
}

pub(super) fn misused(name: &str, usage: &str, place: Place) -> Problem {
    Problem::new(place, format!("`{name}` takes {usage}, but this argument is different"))
}

pub(super) fn unknown(value: &Value) -> Option<Unknown> {
    match &value.data {
        Data::Unknown(why) => Some(why.clone()),
        _ => None,
    }
}
