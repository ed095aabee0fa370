//! Models a template before the evaluation of its functions.

use super::problem::Place;

/// A piece of YAML with its place.
///
/// Short tags are replaced: `!Ref X` is the map `{Ref: X}`, so later steps read only long forms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub place: Place,
    pub data: NodeData,
    /// Whether this is a text without quotes, which may be a number or a boolean.
    pub is_plain: bool,
}

/// Numbers and booleans stay texts. CloudFormation accepts `"30"` as 30 and compares all scalars as texts, so only a
/// reader that needs a number can recognize one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NodeData {
    Null,
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A map entry: a key, its place, and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub key: String,
    pub place: Place,
    pub value: Node,
}

impl Node {
    pub(super) fn new(place: Place, data: NodeData) -> Self {
        Self { place, data, is_plain: false }
    }

    /// Returns the value of a key, or `None` if this is not a map, or the key is absent or null.
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        let NodeData::Map(entries) = &self.data else { return None };
        let entry = entries.iter().find(|entry| entry.key == key)?;
        (entry.value.data != NodeData::Null).then_some(&entry.value)
    }

    pub(super) fn text(&self) -> Option<&str> {
        match &self.data {
            NodeData::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn list(&self) -> Option<&[Node]> {
        match &self.data {
            NodeData::List(items) => Some(items),
            _ => None,
        }
    }

    /// Returns the function and the argument of a map that is a function call.
    pub(super) fn call(&self) -> Option<(&str, &Node)> {
        match &self.data {
            NodeData::Map(entries) => match entries.as_slice() {
                [Entry { key, value, .. }] if key == "Ref" || key.starts_with("Fn::") => Some((key, value)),
                _ => None,
            },
            _ => None,
        }
    }

    /// Returns a description for errors.
    pub(super) fn kind(&self) -> &'static str {
        match self.data {
            NodeData::Null => "nothing",
            NodeData::Text(_) => "a text",
            NodeData::List(_) => "a list",
            NodeData::Map(_) => "a map",
        }
    }

    /// Returns the number of nested levels, including this node.
    pub(super) fn height(&self) -> usize {
        let below = match &self.data {
            NodeData::Null | NodeData::Text(_) => None,
            NodeData::List(items) => items.iter().map(Self::height).max(),
            NodeData::Map(entries) => entries.iter().map(|entry| entry.value.height()).max(),
        };
        1 + below.unwrap_or(0)
    }

    /// Returns the number of nodes.
    pub(super) fn size(&self) -> usize {
        let below: usize = match &self.data {
            NodeData::Null | NodeData::Text(_) => 0,
            NodeData::List(items) => items.iter().map(Self::size).sum(),
            NodeData::Map(entries) => entries.iter().map(|entry| entry.value.size()).sum(),
        };
        1 + below
    }
}
