//! Reads SAM and CloudFormation templates: queues, functions, and the resources that connect them.
//!
//! ```text
//! text -> nodes -> values -> queues, functions, mappings, alarms, policies
//! ```
//!
//! 1. `yaml` parses the text into nodes with places. Short tags become long forms.
//! 2. `foreach` expands the loops.
//! 3. `scope` evaluates functions and conditions as far as possible without an account. An unknown value has a reason,
//!    and is an error only when it is needed.
//! 4. `queue` and similar modules read typed settings from the values.
//!
//! Depth, size and work are limited, because a template is untrusted input.

mod alarm;
mod code;
mod computed;
mod conditions;
mod fields;
mod foreach;
mod function;
mod intrinsics;
mod mapping;
mod node;
mod policy;
mod problem;
mod queue;
mod references;
mod scope;
#[cfg(test)]
mod tests;
mod value;
mod yaml;

pub use self::alarm::Watched;
pub use self::code::Kind;
pub use self::function::FunctionResource;
pub use self::mapping::MappingResource;
pub use self::policy::{PolicyResource, Statement, Written};
pub use self::problem::{Place, Problem, TemplateError};
pub use self::queue::{QueueResource, RETENTION, Redrive, VISIBILITY_TIMEOUT};
pub use self::value::{Setting, Unknown};

use self::fields::Fields;
use self::node::Node;
use self::queue::Names;
use self::references::{FUNCTION, QUEUE, SAM_FUNCTION};
use self::scope::{Declared, Scope, section};
use self::value::{Data, Value};

/// The account of all local resources.
pub const ACCOUNT: &str = "000000000000";

/// The inputs for evaluating a template.
#[derive(Clone, Debug)]
pub struct Inputs {
    /// The values of parameters, which replace the defaults.
    pub parameters: Vec<(String, String)>,
    pub region: String,
    pub account: String,
    pub stack_name: String,
    /// The beginning of queue URLs.
    pub endpoint: String,
}

impl Default for Inputs {
    fn default() -> Self {
        Self {
            parameters: Vec::new(),
            region: "us-east-1".to_owned(),
            account: ACCOUNT.to_owned(),
            stack_name: "local".to_owned(),
            endpoint: "https://sqs.us-east-1.amazonaws.com".to_owned(),
        }
    }
}

/// The SQS part of a template. It excludes resources of other types, and those whose condition is false.
#[derive(Clone, Debug, Default)]
pub struct Template {
    pub file: String,
    pub queues: Vec<QueueResource>,
    pub functions: Vec<FunctionResource>,
    pub mappings: Vec<MappingResource>,
    pub watched: Vec<Watched>,
    pub policies: Vec<PolicyResource>,
    pub broken: Vec<BrokenReference>,
}

/// A reference to a name that does not exist.
#[derive(Clone, Debug)]
pub struct BrokenReference {
    /// The resource that contains the reference.
    pub resource: String,
    pub place: Place,
    pub why: Unknown,
}

impl Template {
    /// Reads a template. Errors contain the file's name.
    pub fn read(file: &str, text: &str, inputs: &Inputs) -> Result<Self, TemplateError> {
        Self::of_text(file, text, inputs).map_err(|problem| problem.of_file(file))
    }

    /// Returns the queue with an ARN.
    pub fn queue(&self, arn: &str) -> Option<&QueueResource> {
        self.queues.iter().find(|queue| queue.arn == arn)
    }

    /// Returns the function with a name.
    pub fn function(&self, name: &str) -> Option<&FunctionResource> {
        self.functions.iter().find(|function| function.name == name)
    }

    fn of_text(file: &str, text: &str, inputs: &Inputs) -> Result<Self, Problem> {
        let root = foreach::expand(yaml::read(text)?, inputs)?;
        let scope = Scope::of(&root, inputs)?;
        let globals = section(&root, "Globals")?.and_then(|globals| globals.get("Function"));
        let mut template = Self { file: file.to_owned(), ..Self::default() };
        for declared in &scope.resources {
            if scope.left_out(declared)?.is_none() {
                template.add(&scope, declared, globals)?;
                template.add_broken(&scope, declared.id);
            }
        }
        Ok(template)
    }

    fn add_broken(&mut self, scope: &Scope<'_>, id: &str) {
        for (place, why) in scope.take_broken() {
            // A queue's name is evaluated at each use, so a broken reference in it would be reported repeatedly.
            if !self.broken.iter().any(|known| known.place == place) {
                self.broken.push(BrokenReference { resource: id.to_owned(), place, why });
            }
        }
    }

    fn add(&mut self, scope: &Scope<'_>, declared: &Declared<'_>, globals: Option<&Node>) -> Result<(), Problem> {
        let Declared { id, place, kind, .. } = *declared;
        match kind {
            QUEUE => {
                let value = properties(scope, declared)?;
                let of = format!("the queue `{id}`");
                let name = scope.queue_name(declared)?;
                let names = Names { arn: scope.queue_arn(&name), url: scope.queue_url(&name), name };
                self.queues.push(QueueResource::read(id, place, names, &Fields::of(&of, &value)?)?);
            }
            SAM_FUNCTION => {
                let own = properties(scope, declared)?;
                let value = match globals {
                    Some(globals) => own.over(scope.value(globals)?),
                    None => own,
                };
                self.add_function(scope, declared, &value)?;
            }
            FUNCTION => self.add_function(scope, declared, &properties(scope, declared)?)?,
            "AWS::Lambda::EventSourceMapping" => {
                let value = properties(scope, declared)?;
                let of = format!("the mapping `{id}`");
                self.mappings.extend(MappingResource::of_resource(id, place, &Fields::of(&of, &value)?)?);
            }
            "AWS::CloudWatch::Alarm" => self.watched.extend(alarm::watched(&properties(scope, declared)?)),
            kind if policy::has_any(kind) => {
                self.policies.push(PolicyResource::of(id, kind, &properties(scope, declared)?, declared.properties));
            }
            _ => {}
        }
        Ok(())
    }

    fn add_function(&mut self, scope: &Scope<'_>, declared: &Declared<'_>, value: &Value) -> Result<(), Problem> {
        let Declared { id, place, kind, .. } = *declared;
        let of = format!("the function `{id}`");
        let fields = Fields::of(&of, value)?;
        let name = scope.function_name(declared)?;
        let metadata = declared.metadata.map(|metadata| scope.value(metadata)).transpose()?;
        if let Some(events) = fields.map("Events")?.filter(|_| kind == SAM_FUNCTION) {
            for event in events.properties() {
                self.mappings.extend(MappingResource::of_event((id, &name), &event.key, event.place, &event.value)?);
            }
        }
        self.policies.push(PolicyResource::of(id, kind, value, declared.properties));
        let mut function = FunctionResource::read(id, place, name, &fields, metadata.as_ref())?;
        let role = declared.properties.and_then(|properties| properties.get("Role"));
        function.role = role.and_then(|role| policy::named_resources(role).pop());
        self.functions.push(function);
        Ok(())
    }
}

/// Returns the evaluated properties of a resource. Without properties it returns an empty map.
fn properties(scope: &Scope<'_>, declared: &Declared<'_>) -> Result<Value, Problem> {
    match declared.properties {
        Some(node) => scope.value(node),
        None => Ok(Value::new(declared.place, Data::Map(Vec::new()))),
    }
}
