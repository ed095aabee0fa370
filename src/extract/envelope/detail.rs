//! Parses an event's detail, which may be text that contains JSON.

use serde::de::value::Error as NotAUnit;
use serde::de::{DeserializeOwned, Deserializer, Error as _, Visitor};
use serde::forward_to_deserialize_any;

use crate::json::{JsonError, text};

/// Parses a detail as it is, or the JSON inside its text.
pub(super) fn parse<T: DeserializeOwned>(json: &str) -> Result<T, JsonError> {
    let error = match serde_json::from_str(json) {
        Ok(detail) => return Ok(detail),
        Err(error) => JsonError::from(error),
    };
    let text = if json.starts_with('"') { text(json)? } else { None };
    let (json, error) = match text.as_deref().map(|text| (text, serde_json::from_str(text))) {
        Some((_, Ok(detail))) => return Ok(detail),
        // If the text is not JSON at all, the first error tells more.
        Some((text, Err(of_text))) => (text, if of_text.is_data() { of_text.into() } else { error }),
        None => (json, error),
    };
    if is_empty_object(json) { T::deserialize(Unit).map_err(|_| error) } else { Err(error) }
}

fn is_empty_object(json: &str) -> bool {
    let inside = json.trim().strip_prefix('{').and_then(|json| json.strip_suffix('}'));
    inside.is_some_and(|inside| inside.trim().is_empty())
}

/// Deserializes only units. serde_json accepts only `null` for them.
struct Unit;

impl<'de> Deserializer<'de> for Unit {
    type Error = NotAUnit;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, NotAUnit> {
        Err(NotAUnit::custom("not a unit"))
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NotAUnit> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, NotAUnit> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option newtype_struct seq
        tuple tuple_struct map struct enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fmt::Debug;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Nightly;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Empty {}

    #[derive(Debug, PartialEq, Deserialize)]
    struct Order {
        id: u32,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(tag = "kind")]
    enum Task {
        Clean { days: u32 },
    }

    fn takes<T: DeserializeOwned + PartialEq + Debug>(json: &str, expected: T) {
        assert_eq!(parse::<T>(json).unwrap(), expected, "{json}");
    }

    #[test]
    fn json_inside_text_is_parsed_into_the_wanted_type() {
        takes(r#""{}""#, ());
        takes(r#"" { } ""#, Nightly);
        takes(r#""{}""#, Empty {});
        takes(r#""{}""#, BTreeMap::<String, u32>::new());
        takes(r#""{\"id\": 7}""#, Order { id: 7 });
        takes(r#""{\"kind\": \"Clean\", \"days\": 2}""#, Task::Clean { days: 2 });
        takes(r#""[1, 2]""#, vec![1, 2]);
        takes(r#""{\"id\": 7}""#, Some(Order { id: 7 }));
    }

    #[test]
    fn text_stays_text_if_the_type_is_text() {
        takes(r#""{}""#, "{}".to_owned());
        takes(r#""7""#, serde_json::json!("7"));
    }

    #[test]
    fn detail_that_is_not_text_is_parsed_directly() {
        takes("{}", ());
        takes(r#"{"id": 7}"#, Order { id: 7 });
        takes("null", ());
        assert!(parse::<Order>("{}").unwrap_err().to_string().contains("missing field `id`"));
        assert!(parse::<()>(r#"{"id": 7}"#).is_err(), "a unit does not accept data");
        assert!(parse::<Option<Order>>("{}").is_err(), "a malformed detail is not absent");
        assert!(parse::<String>("{}").is_err());
    }

    #[test]
    fn error_concerns_the_json_inside_the_text_if_there_is_any() {
        let problem = |json| parse::<Order>(json).unwrap_err().problem().to_owned();
        assert_eq!(problem(r#""{\"no\": 1}""#), "missing field `id`");
        assert!(problem(r#""hello""#).starts_with("invalid type: string, expected struct Order"));
    }
}
