//! Holds everything that a template's functions can refer to: parameters, conditions, mappings and resources.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use super::Inputs;
use super::node::{Node, NodeData};
use super::problem::{Place, Problem};
use super::value::{Data, Property, Unknown, Value};

/// The limit for evaluated values, and for bytes of evaluated text, in one template. A name can consist of two copies
/// of another name, so a chain of names grows exponentially.
const MAX_WORK: usize = 16 * 1024 * 1024;
/// The limit for nested calls. The evaluation is recursive, and a template must not exhaust the stack.
const MAX_CALLS: usize = 250;

pub(super) struct Scope<'t> {
    pub(super) inputs: &'t Inputs,
    /// Whether SAM translates the template first and adds its own resources.
    is_sam: bool,
    pub(super) parameters: HashMap<&'t str, Parameter<'t>>,
    pub(super) conditions: HashMap<&'t str, &'t Node>,
    pub(super) mappings: Option<&'t Node>,
    pub(super) resources: Vec<Declared<'t>>,
    by_id: HashMap<&'t str, usize>,
    /// The references to missing names, with their places.
    broken: RefCell<Vec<(Place, Unknown)>>,
    /// The names whose evaluation has started, each because of the previous one.
    open: RefCell<Vec<String>>,
    work: Cell<usize>,
    calls: Cell<usize>,
}

pub(super) struct Parameter<'t> {
    pub(super) kind: &'t str,
    pub(super) value: Option<String>,
}

/// A declared resource whose properties are not evaluated.
pub(super) struct Declared<'t> {
    pub(super) id: &'t str,
    pub(super) place: Place,
    pub(super) kind: &'t str,
    pub(super) condition: Option<&'t Node>,
    pub(super) properties: Option<&'t Node>,
    pub(super) metadata: Option<&'t Node>,
}

impl<'t> Scope<'t> {
    pub(super) fn of(root: &'t Node, inputs: &'t Inputs) -> Result<Self, Problem> {
        let resources = section(root, "Resources")?.map(declared).transpose()?.unwrap_or_default();
        if resources.is_empty() {
            let problem = "there are no `Resources` here, so this is not a SAM or CloudFormation template";
            return Err(Problem::new(root.place, problem));
        }
        let conditions = section(root, "Conditions")?.map(entries).unwrap_or_default();
        Ok(Self {
            conditions: conditions.into_iter().collect(),
            by_id: resources.iter().enumerate().map(|(index, declared)| (declared.id, index)).collect(),
            resources,
            ..Self::of_names(root, inputs)?
        })
    }

    /// Returns a scope that has parameters and mappings only.
    pub(super) fn of_names(root: &'t Node, inputs: &'t Inputs) -> Result<Self, Problem> {
        Ok(Self {
            inputs,
            is_sam: root.get("Transform").is_some(),
            parameters: parameters(root, inputs)?,
            conditions: HashMap::new(),
            mappings: section(root, "Mappings")?,
            resources: Vec::new(),
            by_id: HashMap::new(),
            broken: RefCell::default(),
            open: RefCell::default(),
            work: Cell::new(0),
            calls: Cell::new(0),
        })
    }

    pub(super) fn resource(&self, id: &str) -> Option<&Declared<'t>> {
        self.by_id.get(id).map(|&index| &self.resources[index])
    }

    /// Returns whether SAM may create this resource. SAM derives the names of its resources from their purpose
    /// (`OrdersRole`) or from its own name (`ServerlessRestApi`).
    pub(super) fn may_be_sams(&self, id: &str) -> bool {
        let of_one = |declared: &Declared<'_>| {
            declared.kind.starts_with("AWS::Serverless::")
                && id.len() > declared.id.len()
                && id.starts_with(declared.id)
        };
        self.is_sam
            && (id.starts_with("Serverless") || id == "CodeDeployServiceRole" || self.resources.iter().any(of_one))
    }

    /// Evaluates a value.
    pub(super) fn value(&self, node: &Node) -> Result<Value, Problem> {
        self.spend(node.place, 1)?;
        self.deeper(node.place, || {
            if let Some((name, argument)) = node.call() {
                return self.call(name, argument, node.place);
            }
            let data = match &node.data {
                NodeData::Null => Data::Null,
                NodeData::Text(text) => {
                    self.spend(node.place, text.len())?;
                    return Ok(Value::resolved(node.place, text));
                }
                NodeData::List(items) => {
                    let mut values = items.iter().map(|item| self.value(item)).collect::<Result<Vec<_>, _>>()?;
                    values.retain(|value| value.data != Data::Absent);
                    Data::List(values)
                }
                NodeData::Map(entries) => {
                    let property = |entry: &super::node::Entry| {
                        let value = self.value(&entry.value)?;
                        Ok(Property { key: entry.key.clone(), place: entry.place, value })
                    };
                    let mut properties = entries.iter().map(property).collect::<Result<Vec<_>, _>>()?;
                    properties.retain(|property| property.value.data != Data::Absent);
                    Data::Map(properties)
                }
            };
            Ok(Value::new(node.place, data))
        })
    }

    /// Records a reference to a missing name, so that the caller can report it.
    pub(super) fn breaks(&self, place: Place, why: Unknown) -> Value {
        self.broken.borrow_mut().push((place, why.clone()));
        Value::unknown(place, why)
    }

    pub(super) fn take_broken(&self) -> Vec<(Place, Unknown)> {
        self.broken.take()
    }

    pub(super) fn spend(&self, place: Place, work: usize) -> Result<(), Problem> {
        self.work.set(self.work.get().saturating_add(work));
        if self.work.get() > MAX_WORK {
            return Err(Problem::new(
                place,
                "the template grows without end during its evaluation; remove repeated references",
            ));
        }
        Ok(())
    }

    /// Evaluates a name, unless its own evaluation is already running.
    pub(super) fn once<T>(
        &self,
        name: &str,
        place: Place,
        f: impl FnOnce() -> Result<T, Problem>,
    ) -> Result<T, Problem> {
        if let Some(first) = self.open.borrow().iter().position(|open| open == name) {
            let circle = self.open.borrow()[first..].join("` needs `");
            let problem = format!("`{circle}` needs `{name}`, a circular reference; replace one of them by a value");
            return Err(Problem::new(place, problem));
        }
        self.open.borrow_mut().push(name.to_owned());
        let result = f();
        self.open.borrow_mut().pop();
        result
    }

    pub(super) fn deeper<T>(&self, place: Place, f: impl FnOnce() -> Result<T, Problem>) -> Result<T, Problem> {
        if self.calls.get() >= MAX_CALLS {
            let problem =
                format!("functions are nested more than {MAX_CALLS} deep here; replace some of them by values");
            return Err(Problem::new(place, problem));
        }
        self.calls.set(self.calls.get() + 1);
        let result = f();
        self.calls.set(self.calls.get() - 1);
        result
    }
}

/// Returns a section of the template, which has to be a map.
pub(super) fn section<'t>(root: &'t Node, name: &str) -> Result<Option<&'t Node>, Problem> {
    let NodeData::Map(_) = root.data else {
        let problem = format!("this is {}, not a SAM or CloudFormation template, which is a map", root.kind());
        return Err(Problem::new(root.place, problem));
    };
    match root.get(name) {
        Some(node) if !matches!(node.data, NodeData::Map(_)) => {
            Err(Problem::new(node.place, format!("`{name}` has to be a map, but is {}", node.kind())))
        }
        section => Ok(section),
    }
}

fn entries(node: &Node) -> Vec<(&str, &Node)> {
    match &node.data {
        NodeData::Map(entries) => entries.iter().map(|entry| (entry.key.as_str(), &entry.value)).collect(),
        _ => Vec::new(),
    }
}

fn declared(resources: &Node) -> Result<Vec<Declared<'_>>, Problem> {
    let NodeData::Map(entries) = &resources.data else { return Ok(Vec::new()) };
    let mut all = Vec::new();
    for entry in entries {
        if entry.key.starts_with("Fn::") {
            let problem = format!("`{}` is not known among resources; write the resources out", entry.key);
            return Err(Problem::new(entry.place, problem));
        }
        let Some(kind) = entry.value.get("Type").and_then(Node::text) else {
            let problem = format!("the resource `{}` has no `Type`; add one, such as `AWS::SQS::Queue`", entry.key);
            return Err(Problem::new(entry.place, problem));
        };
        all.push(Declared {
            id: &entry.key,
            place: entry.place,
            kind,
            condition: entry.value.get("Condition"),
            properties: entry.value.get("Properties"),
            metadata: entry.value.get("Metadata"),
        });
    }
    Ok(all)
}

fn parameters<'t>(root: &'t Node, inputs: &Inputs) -> Result<HashMap<&'t str, Parameter<'t>>, Problem> {
    let declared = section(root, "Parameters")?.map(entries).unwrap_or_default();
    let mut parameters = HashMap::new();
    for (name, node) in declared {
        let kind = node.get("Type").and_then(Node::text).unwrap_or("String");
        // The default of such a parameter is a name in Systems Manager, not the value.
        let is_looked_up = kind.starts_with("AWS::SSM::Parameter::Value");
        let default = node.get("Default").and_then(Node::text).filter(|_| !is_looked_up);
        parameters.insert(name, Parameter { kind, value: default.map(str::to_owned) });
    }
    for (name, value) in &inputs.parameters {
        let Some(parameter) = parameters.get_mut(name.as_str()) else {
            let problem = match parameters.keys().min() {
                Some(_) => format!("has no parameter `{name}`; it has {}", names(parameters.keys())),
                None => format!("has no parameter `{name}`, nor any other"),
            };
            return Err(Problem::new(root.place, format!("the template {problem}")));
        };
        parameter.value = Some(value.clone());
    }
    Ok(parameters)
}

fn names<'a>(names: impl Iterator<Item = &'a &'a str>) -> String {
    let mut names: Vec<&str> = names.copied().collect();
    names.sort_unstable();
    format!("`{}`", names.join("`, `"))
}
