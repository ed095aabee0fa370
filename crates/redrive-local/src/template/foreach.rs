//! Expands the loops of `AWS::LanguageExtensions`: `Fn::ForEach` in any section, and in any map within it.
//!
//! A loop is an entry of a map: `Fn::ForEach::NAME: [VARIABLE, COLLECTION, {KEY: VALUE}]`. Its entries take its place,
//! once for each item, with the item for `${VARIABLE}`, `&{VARIABLE}` and `Ref: VARIABLE`:
//! <https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/intrinsic-function-reference-foreach.html>.

use super::Inputs;
use super::intrinsics::{misused, unknown};
use super::node::{Entry, Node, NodeData};
use super::problem::{Place, Problem};
use super::scope::Scope;
use super::value::{Unknown, Value};
use super::yaml::MAX_NODES;

const LOOP: &str = "Fn::ForEach::";
const USAGE: &str = "a variable, a list of texts, and a map with the variable in its keys";

/// Returns the template without loops. A collection may use parameters and mappings.
pub(super) fn expand(root: Node, inputs: &Inputs) -> Result<Node, Problem> {
    if !has_loop(&root) {
        return Ok(root);
    }
    let declared = root.clone();
    let scope = Scope::of_names(&declared, inputs)?;
    Expansion { scope: &scope, nodes: 0 }.expand(root)
}

fn has_loop(node: &Node) -> bool {
    match &node.data {
        NodeData::Null | NodeData::Text(_) => false,
        NodeData::List(items) => items.iter().any(has_loop),
        NodeData::Map(entries) => entries.iter().any(|entry| entry.key.starts_with(LOOP) || has_loop(&entry.value)),
    }
}

struct Expansion<'e, 't> {
    scope: &'e Scope<'t>,
    /// The nodes that loops have made.
    nodes: usize,
}

impl Expansion<'_, '_> {
    fn expand(&mut self, node: Node) -> Result<Node, Problem> {
        let data = match node.data {
            NodeData::List(items) => {
                NodeData::List(items.into_iter().map(|item| self.expand(item)).collect::<Result<_, _>>()?)
            }
            NodeData::Map(entries) => {
                let mut expanded: Vec<Entry> = Vec::new();
                for entry in entries {
                    let entries = match entry.key.starts_with(LOOP) {
                        true => self.unroll(&entry)?,
                        false => vec![Entry { value: self.expand(entry.value)?, ..entry }],
                    };
                    for entry in entries {
                        add(&mut expanded, entry)?;
                    }
                }
                NodeData::Map(expanded)
            }
            data => data,
        };
        Ok(Node { data, ..node })
    }

    /// Returns the entries of a loop. Loops within it are expanded for each item.
    fn unroll(&mut self, entry: &Entry) -> Result<Vec<Entry>, Problem> {
        let place = entry.value.place;
        let misuse = || misused(&entry.key, USAGE, place);
        let Some([variable, collection, body]) = entry.value.list() else { return Err(misuse()) };
        let (Some(variable), NodeData::Map(body)) = (variable.text(), &body.data) else { return Err(misuse()) };
        let mut entries = Vec::new();
        for item in self.items(collection, &entry.key)? {
            for each in body {
                self.nodes += each.value.size();
                if self.nodes > MAX_NODES {
                    let problem =
                        format!("the loops of the template make more than {MAX_NODES} values; use fewer items");
                    return Err(Problem::new(place, problem));
                }
                let of_item = Entry {
                    key: filled_in(&each.key, variable, &item),
                    place: each.place,
                    value: with_item(&each.value, variable, &item),
                };
                match of_item.key.starts_with(LOOP) {
                    true => entries.extend(self.unroll(&of_item)?),
                    false => entries.push(Entry { value: self.expand(of_item.value)?, ..of_item }),
                }
            }
        }
        Ok(entries)
    }

    fn items(&self, collection: &Node, name: &str) -> Result<Vec<String>, Problem> {
        let value = self.scope.value(collection)?;
        if let Some(why) = unknown(&value) {
            return Err(unknown_items(name, &why, collection.place));
        }
        let text = |item: &Value| match (item.text(), unknown(item)) {
            (Some(text), _) => Ok(text.to_owned()),
            (None, Some(why)) => Err(unknown_items(name, &why, item.place)),
            (None, None) => Err(misused(name, USAGE, item.place)),
        };
        // An item may be a list itself, as the value of a parameter is.
        let items = value.items().iter().flat_map(|item| item.items().iter());
        items.map(text).collect()
    }
}

fn unknown_items(name: &str, why: &Unknown, place: Place) -> Problem {
    Problem::new(place, format!("the items of `{name}` are needed, but {why}"))
}

fn add(entries: &mut Vec<Entry>, entry: Entry) -> Result<(), Problem> {
    if entries.iter().any(|other| other.key == entry.key) {
        let problem = format!("a loop makes `{}` twice; use its variable in the key", entry.key);
        return Err(Problem::new(entry.place, problem));
    }
    entries.push(entry);
    Ok(())
}

fn with_item(node: &Node, variable: &str, item: &str) -> Node {
    let of_item = |node: &Node| with_item(node, variable, item);
    let data = match &node.data {
        NodeData::Null => NodeData::Null,
        NodeData::Text(text) => NodeData::Text(filled_in(text, variable, item)),
        NodeData::List(items) => NodeData::List(items.iter().map(of_item).collect()),
        NodeData::Map(entries) => match node.call() {
            Some(("Ref", name)) if name.text() == Some(variable) => NodeData::Text(item.to_owned()),
            _ => {
                let entry = |entry: &Entry| Entry {
                    key: filled_in(&entry.key, variable, item),
                    place: entry.place,
                    value: of_item(&entry.value),
                };
                NodeData::Map(entries.iter().map(entry).collect())
            }
        },
    };
    Node { data, ..*node }
}

/// Replaces the variable in a text. `&{VARIABLE}` keeps only the letters and digits of the item, which a logical id may
/// have.
fn filled_in(text: &str, variable: &str, item: &str) -> String {
    let alphanumeric = || item.chars().filter(char::is_ascii_alphanumeric).collect::<String>();
    let filled = text.replace(&format!("${{{variable}}}"), item);
    let in_id = format!("&{{{variable}}}");
    if filled.contains(&in_id) { filled.replace(&in_id, &alphanumeric()) } else { filled }
}
