//! What a template says once its functions are worked out, as far as they can be without an account.

use std::fmt;

use super::node::{Entry, Node, NodeData};
use super::problem::{Place, Problem};

/// A value, and where in the template it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Value {
    pub place: Place,
    pub data: Data,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Data {
    Null,
    /// `AWS::NoValue`. Lists and maps drop it: whatever was set to it is not set.
    Absent,
    Text(String),
    List(Vec<Value>),
    Map(Vec<Property>),
    Unknown(Unknown),
}

/// A key of a map, where it stands, and what it is set to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Property {
    pub key: String,
    pub place: Place,
    pub value: Value,
}

/// Why a value is not known here. That is no error until somebody needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// A parameter that has no default and was not given.
    Parameter(String),
    /// Something that only a deployment tells.
    Deployed(String),
    /// Keys that `Mappings` has nothing under. Another region or parameter may make others of them.
    Unmapped(String),
    /// The name of nothing.
    Missing(String),
    /// A resource that is not made, because its condition is false.
    LeftOut { resource: String, condition: String },
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Parameter(name) => {
                write!(
                    f,
                    "the parameter `{name}` has no default; give it one, or pass `--parameter {name}=...`, which in a \
                     test is `.parameter(\"{name}\", ..)`"
                )
            }
            Self::Deployed(what) => write!(
                f,
                "{what} is only known in an account, after a deployment; put a parameter with a default in its place"
            ),
            Self::Unmapped(keys) => write!(
                f,
                "`Mappings` has nothing under {keys}; add it, or pass the `--region` or `--parameter` that it is for"
            ),
            Self::Missing(name) => write!(f, "there is no resource or parameter `{name}` in this template"),
            Self::LeftOut { resource, condition } => {
                write!(f, "`{resource}` is not made, since its condition `{condition}` is false")
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

    pub(super) fn unknown(place: Place, why: Unknown) -> Self {
        Self::new(place, Data::Unknown(why))
    }

    /// A node as it is written, with nothing to work out in it, all of it at one place.
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

    /// The two as one, as SAM merges `Globals`: maps by key, lists end to end, and of all else what `self` says.
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

    /// What a key of this map is set to.
    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        self.properties().iter().find(|property| property.key == key).map(|property| &property.value)
    }

    /// The properties, of which there are none where this is no map.
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

    /// The items of a list; of anything else, that alone. IAM, and SAM's `Policies`, take one for a list of one.
    pub(super) fn items(&self) -> &[Value] {
        match &self.data {
            Data::List(items) => items,
            _ => std::slice::from_ref(self),
        }
    }

    /// What this is, for an error.
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

/// Something a template sets: where, and to what, if that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting<T> {
    pub place: Place,
    pub value: Result<T, Unknown>,
}

impl<T> Setting<T> {
    pub fn known(&self) -> Option<&T> {
        self.value.as_ref().ok()
    }

    /// The value, for those who cannot do without it.
    pub fn need(&self, what: &str) -> Result<&T, Problem> {
        self.value.as_ref().map_err(|why| Problem::new(self.place, format!("{what} is needed, but {why}")))
    }
}
