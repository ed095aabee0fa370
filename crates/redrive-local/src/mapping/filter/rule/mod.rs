//! Matches one rule of a list: a value, or an object with an operator.

#[cfg(test)]
mod tests;

use std::ops::Bound;

use serde_json::{Map, Value};

use super::cidr::Cidr;
use super::error::{PatternError, PatternPath};
use super::wildcard::Wildcard;

/// A rule for one value of a field.
#[derive(Debug)]
pub(super) enum Rule {
    /// The value equals this text, number, boolean or null.
    Exactly(Value),
    Exists(bool),
    Numeric(Range),
    Cidr(Cidr),
    Text(TextRule),
    /// The value is present and none of these.
    AnythingBut(Excluded),
}

/// Rules that match only text.
#[derive(Debug)]
pub(super) enum TextRule {
    Prefix(String),
    Suffix(String),
    /// Lower case, like the other rules that ignore case.
    PrefixIgnoreCase(String),
    SuffixIgnoreCase(String),
    EqualsIgnoreCase(String),
    Wildcard(Wildcard),
}

#[derive(Debug)]
pub(super) enum Excluded {
    Values(Vec<Value>),
    Texts(Vec<TextRule>),
}

/// The numbers between two bounds.
#[derive(Debug)]
pub(super) struct Range {
    lower: Bound<f64>,
    upper: Bound<f64>,
}

/// Returns whether an object with this key is a rule. Other keys are fields.
pub(super) fn is_operator(key: &str) -> bool {
    matches!(key, "exists" | "anything-but" | "numeric" | "cidr") || is_of_text(key)
}

fn is_of_text(operator: &str) -> bool {
    matches!(operator, "prefix" | "suffix" | "equals-ignore-case" | "wildcard")
}

impl Rule {
    pub(super) fn parse(json: &Value, path: &PatternPath) -> Result<Self, PatternError> {
        match json {
            Value::Object(rule) => match rule.iter().next() {
                Some((operator, operand)) if rule.len() == 1 => Self::of(operator, operand, &path.field(operator)),
                _ => Err(path.wrong("a rule has one operator, such as {\"prefix\":\"x\"}; put each into an object")),
            },
            Value::Array(_) => Err(path.wrong("found a list in a list; put its items into the outer list")),
            value => Ok(Self::Exactly(value.clone())),
        }
    }

    fn of(operator: &str, operand: &Value, path: &PatternPath) -> Result<Self, PatternError> {
        match operator {
            "exists" => match operand {
                Value::Bool(exists) => Ok(Self::Exists(*exists)),
                _ => Err(path.wrong("expected true or false")),
            },
            "numeric" => Range::parse(operand, path).map(Self::Numeric),
            "cidr" => {
                let cidr = Cidr::parse(text(operand, path)?);
                cidr.map(Self::Cidr).ok_or_else(|| path.wrong("expected an address range, such as \"10.0.0.0/24\""))
            }
            "anything-but" => Excluded::parse(operand, path).map(Self::AnythingBut),
            _ => TextRule::parse(operator, operand, path).map(Self::Text),
        }
    }

    /// Returns whether the values of a field match. `values` is empty for an absent field, and a list has several.
    pub(super) fn matches(&self, values: &[&Value]) -> bool {
        match self {
            Self::Exists(expected) => *expected != values.is_empty(),
            Self::Exactly(expected) => values.contains(&expected),
            Self::Numeric(range) => {
                values.iter().filter_map(|value| value.as_f64()).any(|number| range.contains(number))
            }
            Self::Cidr(cidr) => texts(values).any(|text| cidr.contains(text)),
            Self::Text(rule) => texts(values).any(|text| rule.matches(text)),
            Self::AnythingBut(excluded) => values.iter().any(|value| !excluded.contains(value)),
        }
    }
}

fn texts<'a>(values: &[&'a Value]) -> impl Iterator<Item = &'a str> {
    values.iter().filter_map(|value| value.as_str())
}

fn text<'a>(operand: &'a Value, path: &PatternPath) -> Result<&'a str, PatternError> {
    operand.as_str().ok_or_else(|| path.wrong("expected a string"))
}

impl TextRule {
    fn parse(operator: &str, operand: &Value, path: &PatternPath) -> Result<Self, PatternError> {
        let ignoring_case =
            operand.get("equals-ignore-case").filter(|_| operand.as_object().is_some_and(|o| o.len() == 1));
        match (operator, ignoring_case) {
            ("prefix", Some(nested)) => Ok(Self::PrefixIgnoreCase(text(nested, path)?.to_lowercase())),
            ("suffix", Some(nested)) => Ok(Self::SuffixIgnoreCase(text(nested, path)?.to_lowercase())),
            ("prefix", None) => Ok(Self::Prefix(text(operand, path)?.to_owned())),
            ("suffix", None) => Ok(Self::Suffix(text(operand, path)?.to_owned())),
            ("equals-ignore-case", _) => Ok(Self::EqualsIgnoreCase(text(operand, path)?.to_lowercase())),
            ("wildcard", _) => {
                Wildcard::parse(text(operand, path)?).map(Self::Wildcard).map_err(|problem| path.wrong(problem))
            }
            _ => Err(path.wrong(
                "unknown operator; use exists, anything-but, prefix, suffix, equals-ignore-case, wildcard, \
                 numeric or cidr",
            )),
        }
    }

    fn matches(&self, text: &str) -> bool {
        match self {
            Self::Prefix(prefix) => text.starts_with(prefix),
            Self::Suffix(suffix) => text.ends_with(suffix),
            Self::PrefixIgnoreCase(prefix) => text.to_lowercase().starts_with(prefix),
            Self::SuffixIgnoreCase(suffix) => text.to_lowercase().ends_with(suffix),
            Self::EqualsIgnoreCase(expected) => text.to_lowercase() == *expected,
            Self::Wildcard(wildcard) => wildcard.matches(text),
        }
    }
}

impl Excluded {
    fn parse(operand: &Value, path: &PatternPath) -> Result<Self, PatternError> {
        match operand {
            Value::String(_) | Value::Number(_) => Ok(Self::Values(vec![operand.clone()])),
            Value::Array(values) if !values.is_empty() => {
                match values.iter().all(Value::is_string) || values.iter().all(Value::is_number) {
                    true => Ok(Self::Values(values.clone())),
                    false => Err(path.wrong("expected only strings or only numbers")),
                }
            }
            Value::Object(rule) if rule.len() == 1 && rule.keys().all(|operator| is_of_text(operator)) => {
                Self::parse_texts(rule, path)
            }
            _ => Err(path.wrong(
                "expected a string, a number, a list of either, or an object with one of prefix, suffix, \
                 equals-ignore-case and wildcard",
            )),
        }
    }

    fn parse_texts(rule: &Map<String, Value>, path: &PatternPath) -> Result<Self, PatternError> {
        let mut texts = Vec::new();
        for (operator, operand) in rule {
            let path = path.field(operator);
            let operands = operand.as_array().map_or(std::slice::from_ref(operand), Vec::as_slice);
            if operands.is_empty() {
                return Err(path.wrong("the list is empty and would exclude nothing; add at least one string"));
            }
            for operand in operands {
                texts.push(TextRule::parse(operator, operand, &path)?);
            }
        }
        Ok(Self::Texts(texts))
    }

    fn contains(&self, value: &Value) -> bool {
        match self {
            // Unlike an exact rule, this one compares numbers as numbers.
            Self::Values(excluded) => {
                let number = value.as_f64();
                excluded.iter().any(|each| each == value || (number.is_some() && each.as_f64() == number))
            }
            Self::Texts(excluded) => value.as_str().is_some_and(|text| excluded.iter().any(|rule| rule.matches(text))),
        }
    }
}

impl Range {
    /// AWS's limit for compared numbers, positive and negative. A larger number matches no range.
    const LARGEST: f64 = 5.0e9;

    fn parse(operand: &Value, path: &PatternPath) -> Result<Self, PatternError> {
        let expected =
            || path.wrong("expected an operator and a number, such as [\"=\",5], [\">\",0] or [\">\",0,\"<=\",5]");
        let items = operand.as_array().ok_or_else(expected)?;
        let pairs: Vec<_> = items.chunks(2).map(|pair| Some((pair[0].as_str()?, pair.get(1)?.as_f64()?))).collect();
        let pairs: Vec<(&str, f64)> = pairs.into_iter().collect::<Option<_>>().ok_or_else(expected)?;
        if pairs.iter().any(|(_, number)| number.abs() > Self::LARGEST) {
            return Err(path.wrong("AWS compares only numbers from -5.0e9 to 5.0e9"));
        }
        let unbounded = Bound::Unbounded;
        let range = match pairs[..] {
            [("=", number)] => Self { lower: Bound::Included(number), upper: Bound::Included(number) },
            [(below @ ("<" | "<="), number)] => Self { lower: unbounded, upper: bound(below, number) },
            [(above @ (">" | ">="), number)] => Self { lower: bound(above, number), upper: unbounded },
            [(above @ (">" | ">="), low), (below @ ("<" | "<="), high)] if low < high => {
                Self { lower: bound(above, low), upper: bound(below, high) }
            }
            [(">" | ">=", _), ("<" | "<=", _)] => return Err(path.wrong("the lower bound is not below the upper one")),
            _ => return Err(expected()),
        };
        Ok(range)
    }

    fn contains(&self, number: f64) -> bool {
        number.abs() <= Self::LARGEST && std::ops::RangeBounds::contains(&(self.lower, self.upper), &number)
    }
}

fn bound(operator: &str, number: f64) -> Bound<f64> {
    match operator.ends_with('=') {
        true => Bound::Included(number),
        false => Bound::Excluded(number),
    }
}
