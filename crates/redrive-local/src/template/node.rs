//! A template as it is written, before any of its functions is worked out.

use super::problem::Place;

/// A piece of YAML, and where it stands.
///
/// Short tags are gone: `!Ref X` is the map `{Ref: X}` that it stands for, so that only the long forms are left to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub place: Place,
    pub data: NodeData,
}

/// Numbers and booleans stay texts. CloudFormation takes `"30"` for 30 and compares all as texts, so only who wants a
/// number can tell that something is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NodeData {
    Null,
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key of a map, where it stands, and what it is set to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub key: String,
    pub place: Place,
    pub value: Node,
}

impl Node {
    /// What a key of this map is set to; nothing where it is no map, or the key is not there or is null.
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

    /// The function that this map is a call of, and its argument.
    pub(super) fn call(&self) -> Option<(&str, &Node)> {
        match &self.data {
            NodeData::Map(entries) => match entries.as_slice() {
                [Entry { key, value, .. }] if key == "Ref" || key.starts_with("Fn::") => Some((key, value)),
                _ => None,
            },
            _ => None,
        }
    }

    /// What this is, for an error.
    pub(super) fn kind(&self) -> &'static str {
        match self.data {
            NodeData::Null => "nothing",
            NodeData::Text(_) => "a text",
            NodeData::List(_) => "a list",
            NodeData::Map(_) => "a map",
        }
    }

    /// How many levels of lists and maps there are in it, itself included.
    pub(super) fn height(&self) -> usize {
        let below = match &self.data {
            NodeData::Null | NodeData::Text(_) => None,
            NodeData::List(items) => items.iter().map(Self::height).max(),
            NodeData::Map(entries) => entries.iter().map(|entry| entry.value.height()).max(),
        };
        1 + below.unwrap_or(0)
    }

    /// How many nodes it is made of.
    pub(super) fn size(&self) -> usize {
        let below: usize = match &self.data {
            NodeData::Null | NodeData::Text(_) => 0,
            NodeData::List(items) => items.iter().map(Self::size).sum(),
            NodeData::Map(entries) => entries.iter().map(|entry| entry.value.size()).sum(),
        };
        1 + below
    }
}
