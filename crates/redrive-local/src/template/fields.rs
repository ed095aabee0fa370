//! Reads typed settings from a resource's properties.

use super::problem::{Place, Problem};
use super::value::{Data, Property, Setting, Unknown, Value};

/// The properties of an object, and its name for errors.
pub(super) struct Fields<'v> {
    pub(super) of: &'v str,
    pub(super) value: &'v Value,
}

impl<'v> Fields<'v> {
    pub(super) fn of(of: &'v str, value: &'v Value) -> Result<Self, Problem> {
        match value.data {
            Data::Map(_) | Data::Unknown(_) => Ok(Self { of, value }),
            _ => Err(Problem::new(value.place, format!("{of} has to be a map of properties, but is {}", value.kind()))),
        }
    }

    pub(super) fn place(&self) -> Place {
        self.value.place
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.value.get(key).is_some()
    }

    pub(super) fn text(&self, key: &str) -> Result<Option<Setting<String>>, Problem> {
        self.read(key, "a text", |data| match data {
            Data::Text(text) => Some(text.clone()),
            _ => None,
        })
    }

    pub(super) fn integer(&self, key: &str) -> Result<Option<Setting<i64>>, Problem> {
        self.read(key, "a whole number", |data| match data {
            Data::Text(text) => text.trim().parse().ok(),
            _ => None,
        })
    }

    pub(super) fn boolean(&self, key: &str) -> Result<Option<Setting<bool>>, Problem> {
        self.read(key, "true or false", |data| match data {
            Data::Text(text) => match text.to_ascii_lowercase().as_str() {
                "true" | "yes" | "on" => Some(true),
                "false" | "no" | "off" => Some(false),
                _ => None,
            },
            _ => None,
        })
    }

    /// Returns a list of texts. Each text may be unknown.
    pub(super) fn texts(&self, key: &str) -> Result<Option<Setting<Vec<Setting<String>>>>, Problem> {
        self.read(key, "a list of texts", |data| match data {
            Data::List(items) => items.iter().map(text_of_item).collect(),
            _ => None,
        })
    }

    /// Returns a nested map as fields.
    pub(super) fn map(&self, key: &str) -> Result<Option<Fields<'v>>, Problem> {
        match self.value.get(key) {
            None => Ok(None),
            Some(value) => match value.data {
                Data::Map(_) | Data::Unknown(_) => Ok(Some(Fields { of: self.of, value })),
                _ => Err(self.wrong(key, value, "a map")),
            },
        }
    }

    /// Returns a map, or a text that contains one.
    pub(super) fn map_or_text(&self, key: &str) -> Result<Option<&'v Value>, Problem> {
        match self.value.get(key) {
            Some(value) if matches!(value.data, Data::Null | Data::List(_)) => Err(self.wrong(key, value, "a map")),
            value => Ok(value),
        }
    }

    pub(super) fn list(&self, key: &str) -> Result<&'v [Value], Problem> {
        match self.value.get(key) {
            None => Ok(&[]),
            Some(value) => match &value.data {
                Data::List(items) => Ok(items),
                Data::Unknown(_) => Ok(&[]),
                _ => Err(self.wrong(key, value, "a list")),
            },
        }
    }

    pub(super) fn properties(&self) -> &'v [Property] {
        self.value.properties()
    }

    /// Returns why the whole map is unknown.
    pub(super) fn unknown(&self) -> Option<&'v Unknown> {
        match &self.value.data {
            Data::Unknown(why) => Some(why),
            _ => None,
        }
    }

    fn read<T>(
        &self,
        key: &str,
        expected: &str,
        read: impl FnOnce(&Data) -> Option<T>,
    ) -> Result<Option<Setting<T>>, Problem> {
        let Some(value) = self.value.get(key) else { return Ok(None) };
        let place = value.place;
        if let Data::Unknown(why) = &value.data {
            return Ok(Some(Setting { place, value: Err(why.clone()) }));
        }
        match read(&value.data) {
            Some(read) => Ok(Some(Setting { place, value: Ok(read) })),
            None => Err(self.wrong(key, value, expected)),
        }
    }

    fn wrong(&self, key: &str, value: &Value, expected: &str) -> Problem {
        let problem = format!("`{key}` of {} has to be {expected}, but is {}", self.of, value.kind());
        Problem::new(value.place, problem)
    }
}

fn text_of_item(item: &Value) -> Option<Setting<String>> {
    let value = match &item.data {
        Data::Text(text) => Ok(text.clone()),
        Data::Unknown(why) => Err(why.clone()),
        _ => return None,
    };
    Some(Setting { place: item.place, value })
}
