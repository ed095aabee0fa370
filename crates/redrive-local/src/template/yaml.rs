//! Parses YAML into nodes. JSON is a subset of YAML, so the parser reads both.

use std::borrow::Cow;
use std::collections::HashMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Tag};

use super::node::{Entry, Node, NodeData};
use super::problem::{Place, Problem};

/// CloudFormation's limit for a template.
const MAX_TEMPLATE_BYTES: usize = 1024 * 1024;
/// The limit for nested lists and maps. Later steps are recursive, and a template must not exhaust the stack.
const MAX_LEVELS: usize = 100;
/// The limit for nodes after the expansion of aliases. A short text with nested aliases can exhaust any memory.
pub(super) const MAX_NODES: usize = 200_000;

/// Parses a text with exactly one document.
pub(super) fn read(text: &str) -> Result<Node, Problem> {
    if text.len() > MAX_TEMPLATE_BYTES {
        let problem =
            format!("the template has {} bytes; CloudFormation takes at most {MAX_TEMPLATE_BYTES}", text.len());
        return Err(Problem::new(START, problem));
    }
    let mut builder = Builder::default();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let text = if text.trim_start().starts_with('{') { without_surrogates(text) } else { text.into() };
    for event in Parser::new_from_str(&text) {
        let (event, span) = event.map_err(|error| {
            Problem::new(place(error.marker()), format!("this is neither YAML nor JSON: {}", error.info()))
        })?;
        builder.take(event, place(&span.start))?;
    }
    builder.root.ok_or_else(|| Problem::new(START, "there is nothing in it; a template has at least `Resources`"))
}

/// Rewrites the escapes of JSON that YAML does not have: JSON writes a character beyond U+FFFF as two escapes
/// (`\ud83d\ude00`), YAML as one (`\U0001f600`). Half a pair is no character.
fn without_surrogates(json: &str) -> Cow<'_, str> {
    if !json.contains("\\u") {
        return json.into();
    }
    let unit = |escape: &str| u16::from_str_radix(escape.strip_prefix("\\u")?.get(..4)?, 16).ok();
    let mut rewritten = String::with_capacity(json.len());
    let mut rest = json;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        rewritten.push_str(before);
        // An escape is two characters long, or six.
        let length = match unit(escape) {
            Some(0xd800..0xe000) => 6,
            _ => 1 + escape.chars().nth(1).map_or(0, char::len_utf8),
        };
        let (escape, after) = escape.split_at(length);
        rest = after;
        let Some(first) = unit(escape) else {
            rewritten.push_str(escape);
            continue;
        };
        let pair = unit(after).and_then(|second| char::decode_utf16([first, second]).next()?.ok());
        if pair.is_some() {
            rest = after.get(6..).unwrap_or_default();
        }
        rewritten.push_str(&format!("\\U{:08x}", u32::from(pair.unwrap_or(char::REPLACEMENT_CHARACTER))));
    }
    rewritten.push_str(rest);
    rewritten.into()
}

const START: Place = Place { line: 1, column: 1 };

fn place(marker: &Marker) -> Place {
    Place { line: marker.line().max(1), column: marker.col() + 1 }
}

/// Builds the tree without recursion, so that a deep text cannot exhaust the stack.
#[derive(Default)]
struct Builder {
    root: Option<Node>,
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    documents: usize,
    nodes: usize,
}

/// A list or map whose end has not been parsed.
struct Open {
    place: Place,
    anchor: usize,
    tag: Option<Tag>,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    Map(OpenMap),
}

#[derive(Default)]
struct OpenMap {
    entries: Vec<Entry>,
    seen: HashMap<String, Place>,
    /// The entries from `<<`. They are added at the end, because explicit keys win at any position.
    merged: Vec<Entry>,
    key: Option<(String, Place)>,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, place: Place) -> Result<(), Problem> {
        match event {
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    return Err(Problem::new(
                        place,
                        "a second document starts here; split the file, because a template is one document",
                    ));
                }
            }
            Event::Scalar(text, style, anchor, tag) => {
                let is_plain = style == ScalarStyle::Plain && tag.is_none();
                let node = Node { place, data: scalar(text.into_owned(), style, tag.as_deref()), is_plain };
                self.put(tagged(node, tag.as_deref())?, anchor)?;
            }
            Event::SequenceStart(anchor, tag) => self.start(place, anchor, tag, Content::List(Vec::new()))?,
            Event::MappingStart(anchor, tag) => self.start(place, anchor, tag, Content::Map(OpenMap::default()))?,
            Event::SequenceEnd | Event::MappingEnd => self.end()?,
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor).cloned() else {
                    return Err(Problem::new(
                        place,
                        "this alias refers to a value that contains it; write the value out",
                    ));
                };
                self.put(node, 0)?;
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
        }
        Ok(())
    }

    fn start(
        &mut self,
        place: Place,
        anchor: usize,
        tag: Option<std::borrow::Cow<'_, Tag>>,
        content: Content,
    ) -> Result<(), Problem> {
        self.open.push(Open { place, anchor, tag: tag.map(std::borrow::Cow::into_owned), content });
        self.check_levels(place, 0)
    }

    fn end(&mut self) -> Result<(), Problem> {
        // The parser sends one end event for each start event.
        let Some(Open { place, anchor, tag, content }) = self.open.pop() else { return Ok(()) };
        let data = match content {
            Content::List(items) => NodeData::List(items),
            Content::Map(map) => NodeData::Map(map.close()),
        };
        self.put(tagged(Node::new(place, data), tag.as_ref())?, anchor)
    }

    fn put(&mut self, node: Node, anchor: usize) -> Result<(), Problem> {
        self.check_levels(node.place, node.height())?;
        self.nodes += node.size();
        if self.nodes > MAX_NODES {
            let problem = format!("the template has more than {MAX_NODES} values with its aliases; use fewer aliases");
            return Err(Problem::new(node.place, problem));
        }
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut().map(|open| &mut open.content) {
            None => self.root = Some(node),
            Some(Content::List(items)) => items.push(node),
            Some(Content::Map(map)) => map.put(node)?,
        }
        Ok(())
    }

    fn check_levels(&self, place: Place, below: usize) -> Result<(), Problem> {
        if self.open.len() + below > MAX_LEVELS {
            return Err(Problem::new(place, format!("this is nested more than {MAX_LEVELS} levels deep")));
        }
        Ok(())
    }
}

impl OpenMap {
    fn put(&mut self, node: Node) -> Result<(), Problem> {
        let Some((key, place)) = self.key.take() else {
            let NodeData::Text(key) = node.data else {
                return Err(Problem::new(node.place, format!("a key has to be a text, but is {}", node.kind())));
            };
            self.key = Some((key, node.place));
            return Ok(());
        };
        if key == "<<" {
            return self.merge(node);
        }
        if let Some(first) = self.seen.insert(key.clone(), place) {
            let problem = format!("`{key}` repeats the key of line {}; remove one of them", first.line);
            return Err(Problem::new(place, problem));
        }
        self.entries.push(Entry { key, place, value: node });
        Ok(())
    }

    fn merge(&mut self, node: Node) -> Result<(), Problem> {
        let place = node.place;
        let parts = match node.data {
            NodeData::List(parts) => parts,
            data => vec![Node::new(place, data)],
        };
        for part in parts {
            let NodeData::Map(entries) = part.data else {
                return Err(Problem::new(
                    part.place,
                    format!("`<<` takes a map or a list of maps, not {}", part.kind()),
                ));
            };
            self.merged.extend(entries);
        }
        Ok(())
    }

    fn close(mut self) -> Vec<Entry> {
        for entry in self.merged {
            if self.seen.insert(entry.key.clone(), entry.place).is_none() {
                self.entries.push(entry);
            }
        }
        self.entries
    }
}

fn scalar(text: String, style: ScalarStyle, tag: Option<&Tag>) -> NodeData {
    let is_null = style == ScalarStyle::Plain && matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL");
    let is_bare = tag.is_none_or(|tag| tag.is_yaml_core_schema() && tag.suffix == "null");
    if is_null && is_bare { NodeData::Null } else { NodeData::Text(text) }
}

/// Converts `!Name argument` into `{Fn::Name: argument}`.
fn tagged(node: Node, tag: Option<&Tag>) -> Result<Node, Problem> {
    let Some(tag) = tag.filter(|tag| !tag.is_yaml_core_schema() && !tag.suffix.is_empty()) else { return Ok(node) };
    let place = node.place;
    let name = tag.suffix.as_str();
    let key = match name {
        _ if tag.handle != "!" || !FUNCTIONS.contains(&name) => {
            let problem = format!("`{tag}` is not a function of CloudFormation; use one such as `!Sub`");
            return Err(Problem::new(place, problem));
        }
        "Ref" | "Condition" => name.to_owned(),
        _ => format!("Fn::{name}"),
    };
    Ok(Node::new(place, NodeData::Map(vec![Entry { key, place, value: node }])))
}

const FUNCTIONS: [&str; 25] = [
    "And",
    "Base64",
    "Cidr",
    "Condition",
    "Contains",
    "EachMemberEquals",
    "EachMemberIn",
    "Equals",
    "FindInMap",
    "GetAZs",
    "GetAtt",
    "If",
    "ImportValue",
    "Join",
    "Length",
    "Not",
    "Or",
    "Ref",
    "RefAll",
    "Select",
    "Split",
    "Sub",
    "ToJsonString",
    "Transform",
    "ValueOf",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> String {
        let Problem { place, text } = read(text).unwrap_err();
        format!("{}:{}: {text}", place.line, place.column)
    }

    #[test]
    fn short_tag_equals_its_long_form() {
        let short = read("a: !Sub x-${B}").unwrap();
        let (name, argument) = short.get("a").unwrap().call().unwrap();
        assert_eq!((name, argument.text()), ("Fn::Sub", Some("x-${B}")));
    }

    #[test]
    fn json_is_parsed_with_its_places() {
        let json = read("{\n\t\"a\": {\"b\": [1, \"\"]}\n}").unwrap();
        let b = json.get("a").unwrap().get("b").unwrap();
        assert_eq!(b.place, Place { line: 2, column: 13 });
        assert_eq!(b.list().unwrap()[1].text(), Some(""));
    }

    #[test]
    fn json_has_its_own_escapes() {
        let json = r#"{"a": "\ud83d\ude00 \/ \\ud83d \u00e9 \ud83d", "b\"": "\ud83dx"}"#;
        let expected: serde_json::Value =
            serde_json::from_str(&json.replace("\\ud83d\"", "\\ufffd\"").replace("\\ud83dx", "\\ufffdx")).unwrap();
        let read = read(json).unwrap();
        for key in ["a", "b\""] {
            assert_eq!(read.get(key).unwrap().text(), expected[key].as_str(), "{key}");
        }
    }

    #[test]
    fn explicit_key_wins_over_a_merged_key() {
        let merged = read("base: &base {a: 1, b: 2}\nx:\n  <<: *base\n  b: 3").unwrap();
        let x = merged.get("x").unwrap();
        assert_eq!((x.get("a").unwrap().text(), x.get("b").unwrap().text()), (Some("1"), Some("3")));
    }

    #[test]
    fn errors_name_the_place_and_the_problem() {
        assert!(problem("").starts_with("1:1: there is nothing in it"));
        assert!(problem("# only a comment").starts_with("1:1: there is nothing in it"));
        assert!(problem("a: 1\n---\nb: 2").contains("a second document"));
        assert!(problem("a: 1\nb: 2\na: 3").starts_with("3:1: `a` repeats the key of line 1"));
        assert!(problem("? [a]\n: 1").contains("a key has to be a text, but is a list"));
        assert!(problem("a: !Sup x").contains("`!Sup` is not a function of CloudFormation"));
        assert!(problem("a: [1").contains("neither YAML nor JSON"));
        assert!(problem("a: &a [*a]").contains("a value that contains it"));
        assert!(problem("a: *nowhere").contains("neither YAML nor JSON"));
    }

    #[test]
    fn template_that_would_exhaust_stack_or_memory_is_refused() {
        assert!(problem(&format!("{}{}", "[".repeat(150), "]".repeat(150))).contains("nested more than"));
        assert!(problem(&format!("{}{}", "{a: ".repeat(150), "}".repeat(150))).contains("nested more than"));
        // The parser has its own limit and reads ahead.
        assert!(problem(&"[".repeat(100_000)).contains("neither YAML nor JSON: recursion limit"));
        assert!(problem(&"- ".repeat(10_000)).contains("nested more than"));

        let row = |name: usize, of: usize| format!("a{name}: &a{name} [{}]\n", vec![format!("*a{of}"); 10].join(", "));
        let laughs: String = (1..12).map(|name| row(name, name - 1)).collect();
        assert!(problem(&format!("a0: &a0 [x]\n{laughs}")).contains("values with its aliases"));

        let chain: String = (1..500).map(|name| format!("a{name}: &a{name} [*a{}]\n", name - 1)).collect();
        assert!(problem(&format!("a0: &a0 [x]\n{chain}")).contains("nested more than"));
    }
}
