//! Reads `AWS::Serverless::Function` and `AWS::Lambda::Function`.

use super::code::{self, Kind};
use super::fields::Fields;
use super::problem::{Place, Problem};
use super::value::{Setting, Value};

/// Lambda's default timeout.
const TIMEOUT_S: i64 = 3;

/// A function of a template, including values of `Globals`.
#[derive(Clone, Debug)]
pub struct FunctionResource {
    pub id: String,
    pub place: Place,
    pub name: String,
    pub timeout_s: Setting<i64>,
    pub reserved_concurrency: Option<Setting<i64>>,
    pub memory_mb: Option<Setting<i64>>,
    pub environment: Vec<(String, Setting<String>)>,
    /// The path of the code: `CodeUri` in SAM, `Code` in CloudFormation. `None` if the code is elsewhere.
    pub code: Option<Setting<String>>,
    /// The kind of its code.
    pub kind: Kind,
    /// `RecursiveLoop`: whether Lambda lets the function send repeatedly to the queue that invokes it.
    pub recursive_loop: Option<Setting<String>>,
    /// The function's role, if it is a resource of the template.
    pub role: Option<String>,
    /// `Metadata.BuildProperties.Binary`: the binary of the package.
    pub binary: Option<String>,
}

impl FunctionResource {
    pub(super) fn read(
        id: &str,
        place: Place,
        name: String,
        fields: &Fields<'_>,
        metadata: Option<&Value>,
    ) -> Result<Self, Problem> {
        let default = Setting { place, value: Ok(TIMEOUT_S) };
        let code = if fields.has("CodeUri") { "CodeUri" } else { "Code" };
        // The other form of code is a map with a bucket and a key.
        let is_path = fields.value.get(code).is_some_and(|code| code.properties().is_empty());
        let build = metadata.and_then(|metadata| metadata.get("BuildProperties"));
        Ok(Self {
            id: id.to_owned(),
            place,
            name,
            timeout_s: fields.integer("Timeout")?.unwrap_or(default),
            reserved_concurrency: fields.integer("ReservedConcurrentExecutions")?,
            memory_mb: fields.integer("MemorySize")?,
            environment: environment(fields)?,
            code: if is_path { fields.text(code)? } else { None },
            kind: code::kind(fields, metadata)?,
            recursive_loop: fields.text("RecursiveLoop")?,
            role: None,
            binary: text(build.and_then(|build| build.get("Binary"))),
        })
    }
}

impl FunctionResource {
    /// Returns `ReservedConcurrentExecutions` if it is set and known.
    pub fn reserved_concurrency(&self) -> Option<usize> {
        let reserved = self.reserved_concurrency.as_ref()?.known()?;
        usize::try_from(*reserved).ok()
    }
}

fn environment(fields: &Fields<'_>) -> Result<Vec<(String, Setting<String>)>, Problem> {
    let environment = fields.map("Environment")?;
    let Some(variables) = environment.map(|fields| fields.map("Variables")).transpose()?.flatten() else {
        return Ok(Vec::new());
    };
    let mut all = Vec::new();
    for property in variables.properties() {
        all.extend(variables.text(&property.key)?.map(|setting| (property.key.clone(), setting)));
    }
    Ok(all)
}

fn text(value: Option<&Value>) -> Option<String> {
    value.and_then(Value::text).map(str::to_owned)
}
