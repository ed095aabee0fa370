//! Matches the fields of an object.

use serde_json::Value;

use super::error::{PatternError, PatternPath};
use super::rule::{Rule, is_operator};

/// Fields of an object that must all match, and lists of alternatives. One alternative of each list must match.
#[derive(Debug)]
pub(super) struct ObjectPattern {
    fields: Vec<(String, Expected)>,
    any_of: Vec<Vec<ObjectPattern>>,
}

/// The requirement for a field.
#[derive(Debug)]
pub(super) enum Expected {
    /// At least one of these rules matches the value.
    OneOf(Vec<Rule>),
    /// The value is an object whose fields match, or a list that contains such an object.
    Object(ObjectPattern),
}

const OR: &str = "$or";

impl ObjectPattern {
    pub(super) fn parse(json: &Value, path: &PatternPath) -> Result<Self, PatternError> {
        let Value::Object(json) = json else {
            return Err(path.wrong("expected an object with fields, such as {\"body\":{\"kind\":[\"order\"]}}"));
        };
        if json.is_empty() {
            return Err(path.wrong("the object is empty; add at least one field"));
        }
        let mut parsed = Self { fields: Vec::new(), any_of: Vec::new() };
        for (name, value) in json {
            let path = path.field(name);
            match alternatives(name, value) {
                Some(alternatives) => {
                    let each = alternatives.iter().enumerate();
                    let each = each.map(|(position, fields)| Self::parse(fields, &path.item(position)));
                    parsed.any_of.push(each.collect::<Result<_, _>>()?);
                }
                None => parsed.fields.push((name.clone(), Expected::parse(value, &path)?)),
            }
        }
        Ok(parsed)
    }

    /// Returns whether all requirements match. The closure decides on each field.
    pub(super) fn all_match(&self, field_matches: &impl Fn(&str, &Expected) -> bool) -> bool {
        self.fields.iter().all(|(name, expected)| field_matches(name, expected))
            && self.any_of.iter().all(|any| any.iter().any(|fields| fields.all_match(field_matches)))
    }

    pub(super) fn names(&self) -> Vec<&str> {
        let own = self.fields.iter().map(|(name, _)| name.as_str());
        own.chain(self.any_of.iter().flatten().flat_map(Self::names)).collect()
    }

    fn match_object(&self, object: Option<&Value>) -> bool {
        self.all_match(&|name, expected| expected.matches(object.and_then(|object| object.get(name))))
    }
}

/// Returns the alternatives of a `$or`. Otherwise `$or` is an ordinary field: it needs two objects with fields.
fn alternatives<'a>(name: &str, value: &'a Value) -> Option<&'a [Value]> {
    let items = value.as_array().filter(|items| name == OR && items.len() >= 2)?;
    let names_fields = |item: &Value| item.as_object().is_some_and(|item| !item.keys().any(|key| is_operator(key)));
    items.iter().all(names_fields).then_some(items)
}

impl Expected {
    fn parse(json: &Value, path: &PatternPath) -> Result<Self, PatternError> {
        match json {
            Value::Object(_) => ObjectPattern::parse(json, path).map(Self::Object),
            Value::Array(rules) if rules.is_empty() => {
                Err(path.wrong("the list is empty and would match nothing; add at least one value or rule"))
            }
            Value::Array(rules) => {
                let rules = rules.iter().enumerate().map(|(position, rule)| Rule::parse(rule, &path.item(position)));
                Ok(Self::OneOf(rules.collect::<Result<_, _>>()?))
            }
            other => {
                Err(path.wrong(format!("expected a list of values or an object; put the value in a list: [{other}]")))
            }
        }
    }

    /// Returns whether the value matches. One matching item of a list is enough, and nested lists count as one list.
    pub(super) fn matches(&self, value: Option<&Value>) -> bool {
        let mut items = Vec::new();
        value.into_iter().for_each(|value| flatten(value, &mut items));
        match self {
            Self::OneOf(rules) => {
                items.retain(|item| !item.is_object());
                rules.iter().any(|rule| rule.matches(&items))
            }
            Self::Object(fields) => {
                items.retain(|item| item.is_object());
                match items.is_empty() {
                    true => fields.match_object(None),
                    false => items.into_iter().any(|item| fields.match_object(Some(item))),
                }
            }
        }
    }
}

fn flatten<'a>(value: &'a Value, items: &mut Vec<&'a Value>) {
    match value {
        Value::Array(list) => list.iter().for_each(|item| flatten(item, items)),
        item => items.push(item),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, value: &str) -> bool {
        let pattern = serde_json::from_str(pattern).unwrap();
        let value = serde_json::from_str(value).unwrap();
        ObjectPattern::parse(&pattern, &PatternPath::root(0)).unwrap().match_object(Some(&value))
    }

    fn refusal(pattern: &str) -> String {
        ObjectPattern::parse(&serde_json::from_str(pattern).unwrap(), &PatternPath::root(0)).unwrap_err().to_string()
    }

    #[test]
    fn all_fields_must_match_with_one_value_of_each_list() {
        let pattern = r#"{"a":["x","y"],"b":[1]}"#;
        assert!(matches(pattern, r#"{"a":"y","b":1,"c":true}"#));
        assert!(!matches(pattern, r#"{"a":"z","b":1}"#));
        assert!(!matches(pattern, r#"{"a":"x"}"#));
    }

    #[test]
    fn objects_match_at_any_depth() {
        assert!(matches(r#"{"a":{"b":{"c":[1]}}}"#, r#"{"a":{"b":{"c":1}}}"#));
        assert!(!matches(r#"{"a":{"b":{"c":[1]}}}"#, r#"{"a":{"c":1}}"#));
        assert!(!matches(r#"{"a":{"b":[1]}}"#, r#"{"a":1}"#));
    }

    #[test]
    fn one_matching_item_of_a_list_is_enough() {
        assert!(matches(r#"{"a":[2,3]}"#, r#"{"a":[1,[2]]}"#));
        assert!(!matches(r#"{"a":[2]}"#, r#"{"a":[1,3]}"#));
        assert!(!matches(r#"{"a":[2]}"#, r#"{"a":[]}"#));
    }

    #[test]
    fn one_object_of_a_list_must_match_all_fields() {
        let people = r#"{"people":[{"first":"Anna","last":"Smith"},[{"first":"Peter","last":"Jones"}]]}"#;
        assert!(matches(r#"{"people":{"first":["Anna"]}}"#, people));
        assert!(matches(r#"{"people":{"first":["Peter"],"last":["Jones"]}}"#, people));
        assert!(!matches(r#"{"people":{"first":["Anna"],"last":["Jones"]}}"#, people));
    }

    #[test]
    fn absence_matches_below_a_missing_object() {
        let pattern = r#"{"a":{"b":[{"exists":false}]}}"#;
        assert!(matches(pattern, "{}") && matches(pattern, r#"{"a":7}"#) && matches(pattern, r#"{"a":{"c":1}}"#));
        assert!(!matches(pattern, r#"{"a":{"b":1}}"#));
        assert!(matches(pattern, r#"{"a":{"b":{"c":1}}}"#), "AWS applies exists only to leaves");
    }

    #[test]
    fn one_alternative_of_an_or_must_match_with_all_other_fields() {
        let pattern = r#"{"a":[1],"$or":[{"b":[2]},{"c":[3],"d":[4]}]}"#;
        assert!(matches(pattern, r#"{"a":1,"b":2}"#) && matches(pattern, r#"{"a":1,"c":3,"d":4}"#));
        assert!(!matches(pattern, r#"{"b":2}"#) && !matches(pattern, r#"{"a":1,"c":3}"#));
        let nested = r#"{"x":{"$or":[{"b":[2]},{"$or":[{"c":[3]},{"d":[4]}]}]}}"#;
        assert!(matches(nested, r#"{"x":{"d":4}}"#) && !matches(nested, r#"{"x":{"e":5}}"#));
    }

    #[test]
    fn malformed_or_is_an_ordinary_field() {
        assert!(matches(r#"{"$or":["x"]}"#, r#"{"$or":"x"}"#));
        assert!(matches(r#"{"$or":[{"prefix":"x"},{"prefix":"y"}]}"#, r#"{"$or":"yz"}"#));
        assert!(matches(r#"{"$or":{"a":[1]}}"#, r#"{"$or":{"a":1}}"#));
    }

    #[test]
    fn refusal_names_the_place_and_the_remedy() {
        let rows = [
            ("null", "filter pattern 1: expected an object"),
            (r#""simple string""#, "filter pattern 1: expected an object"),
            ("{}", "filter pattern 1: the object is empty"),
            (
                r#"{"eventSource":"aws:sqs"}"#,
                r#"at eventSource: expected a list of values or an object; put the value in a list: ["aws:sqs"]"#,
            ),
            (r#"{"eventSource":[]}"#, "at eventSource: the list is empty"),
            (r#"{"body":{"a":{}}}"#, "at body.a: the object is empty"),
            (r#"{"$or":[{"a":[1]},{"b":2}]}"#, "at $or[1].b: expected a list"),
            (r#"{"a":[1,[2]]}"#, "at a[1]: "),
            (r#"{"$or":[{"a":[1]}]}"#, "at $or[0].a: unknown operator"),
        ];
        for (pattern, text) in rows {
            assert!(refusal(pattern).contains(text), "{pattern}: {}", refusal(pattern));
        }
    }
}
