//! Models a template after the evaluation of its functions, as far as it is possible without an account.

use std::fmt;

use super::node::{Entry, Node, NodeData};
use super::problem::{Place, Problem};

/// A value with its place in the template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Value {
    pub place: Place,
    pub data: Data,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Data {
    Null,
    /// `AWS::NoValue`. Lists and maps drop it, so the property is not set.
    Absent,
    Text(String),
    List(Vec<Value>),
    Map(Vec<Property>),
    Unknown(Unknown),
}

/// A map entry: a key, its place, and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Property {
    pub key: String,
    pub place: Place,
    pub value: Value,
}

/// The reason for an unknown value. It is an error only when the value is needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// A parameter without a default was not given.
    Parameter(String),
    /// Only a deployment determines the value.
    Deployed(String),
    /// `Mappings` has no value for these keys. It may have one for another region or parameter.
    Unmapped(String),
    /// The name does not exist.
    Missing(String),
    /// The resource is not created, because its condition is false.
    LeftOut { resource: String, condition: String },
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Parameter(name) => {
                write!(
                    f,
                    "the parameter `{name}` has no default; add one, or pass `--parameter {name}=...` (in a test: \
                     `.parameter(\"{name}\", ..)`)"
                )
            }
            Self::Deployed(what) => write!(
                f,
                "{what} is only known in an account, after a deployment; replace it by a parameter with a default"
            ),
            Self::Unmapped(keys) => write!(
                f,
                "`Mappings` has no value for {keys}; add it, or pass a `--region` or `--parameter` that has one"
            ),
            Self::Missing(name) => write!(f, "there is no resource or parameter `{name}` in this template"),
            Self::LeftOut { resource, condition } => {
                write!(f, "`{resource}` is not created, because its condition `{condition}` is false")
            }
        }
    }
}

impl Value {
    pub(super) fn new(place: Place, data: Data) -> Self {
        Self { place, data }
    }

    pub(super) fn of_text(place: Place, text: impl Into<String>) -> Self {
        Self::new(place, Data::Text(text.into()))
    }

    /// Returns a text that may contain dynamic references. A deployment replaces them by values from Systems Manager or
    /// Secrets Manager, so such a text is unknown here.
    pub(super) fn resolved(place: Place, text: impl Into<String>) -> Self {
        let text = text.into();
        match text.contains("{{resolve:") {
            true => Self::unknown(place, Unknown::Deployed("a dynamic reference".to_owned())),
            false => Self::of_text(place, text),
        }
    }

    pub(super) fn unknown(place: Place, why: Unknown) -> Self {
        Self::new(place, Data::Unknown(why))
    }

    /// Copies a node without evaluating functions. All parts have the same place.
    pub(super) fn written(node: &Node, place: Place) -> Self {
        let data = match &node.data {
            NodeData::Null => Data::Null,
            NodeData::Text(text) => Data::Text(text.clone()),
            NodeData::List(items) => Data::List(items.iter().map(|item| Self::written(item, place)).collect()),
            NodeData::Map(entries) => {
                let property = |entry: &Entry| Property {
                    key: entry.key.clone(),
                    place,
                    value: Self::written(&entry.value, place),
                };
                Data::Map(entries.iter().map(property).collect())
            }
        };
        Self { place, data }
    }

    /// Merges two values as SAM merges `Globals`: maps by key, lists end to end. Otherwise `self` replaces the global
    /// value.
    pub(super) fn over(self, global: Value) -> Self {
        let data = match (global.data, self.data) {
            (Data::Map(mut merged), Data::Map(own)) => {
                for property in own {
                    match merged.iter_mut().find(|merged| merged.key == property.key) {
                        Some(merged) => {
                            let global = std::mem::replace(&mut merged.value, Value::new(self.place, Data::Null));
                            merged.place = property.place;
                            merged.value = property.value.over(global);
                        }
                        None => merged.push(property),
                    }
                }
                Data::Map(merged)
            }
            (Data::List(mut merged), Data::List(own)) => {
                merged.extend(own);
                Data::List(merged)
            }
            (_, own) => own,
        };
        Self { place: self.place, data }
    }

    /// Returns the value of a key of this map.
    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        self.properties().iter().find(|property| property.key == key).map(|property| &property.value)
    }

    /// Returns the properties, or an empty list if this is not a map.
    pub(super) fn properties(&self) -> &[Property] {
        match &self.data {
            Data::Map(properties) => properties,
            _ => &[],
        }
    }

    pub(super) fn text(&self) -> Option<&str> {
        match &self.data {
            Data::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Returns the items of a list. Any other value is a list of one, as in IAM and SAM's `Policies`.
    pub(super) fn items(&self) -> &[Value] {
        match &self.data {
            Data::List(items) => items,
            _ => std::slice::from_ref(self),
        }
    }

    /// Returns a description for errors.
    pub(super) fn kind(&self) -> String {
        match &self.data {
            Data::Null | Data::Absent => "nothing".to_owned(),
            Data::Text(text) if text.chars().count() <= 40 => format!("`{text}`"),
            Data::Text(_) => "a long text".to_owned(),
            Data::List(_) => "a list".to_owned(),
            Data::Map(_) => "a map".to_owned(),
            Data::Unknown(_) => "not known here".to_owned(),
        }
    }
}

/// A setting of a template: its place, and its value if it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting<T> {
    pub place: Place,
    pub value: Result<T, Unknown>,
}

impl<T> Setting<T> {
    pub fn known(&self) -> Option<&T> {
        self.value.as_ref().ok()
    }

    /// Returns the value, or an error if it is unknown.
    pub fn need(&self, what: &str) -> Result<&T, Problem> {
        self.value.as_ref().map_err(|why| Problem::new(self.place, format!("{what} is needed, but {why}")))
    }
}
