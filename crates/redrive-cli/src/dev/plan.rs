//! Selects the parts of a template to run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use redrive_local::plan::{self, LeftOut, Origin, PlannedMapping, PlannedQueue};
use redrive_local::template::{self, Kind, Problem, Setting, Template};

use crate::function::Program;

/// Queues, the functions that read from them, and their mappings.
pub(super) struct Plan {
    /// The template's file.
    pub(super) file: String,
    pub(super) queues: Vec<PlannedQueue>,
    pub(super) functions: Vec<PlannedFunction>,
    pub(super) mappings: Vec<PlannedMapping>,
    pub(super) left_out: Vec<LeftOut>,
}

pub(super) struct PlannedFunction {
    pub(super) name: String,
    /// The package's directory, and its binary if the template names one.
    pub(super) directory: PathBuf,
    pub(super) binary: Option<String>,
    pub(super) memory_mb: u32,
    pub(super) variables: BTreeMap<String, String>,
    /// The limit of concurrent invocations from all sources.
    most: u32,
    /// The concurrent invocations of its mappings within that limit.
    pub(super) concurrency: u32,
}

/// The number of processes if neither function nor mapping has a limit. A laptop can run that many.
const PROCESSES: u32 = 4;
const DEFAULT_MEMORY_MB: u32 = 128;

impl Plan {
    /// Selects the needed parts of a template whose paths are relative to `root`. With `packages`, functions must be
    /// cargo packages. Functions served elsewhere need none.
    pub(super) fn of(template: &Template, root: &Path, packages: bool) -> Result<Self, String> {
        Self::read(template, root, packages).map_err(|problem| problem.of_file(&template.file).to_string())
    }

    fn read(template: &Template, root: &Path, packages: bool) -> Result<Self, Problem> {
        let mut plan = plan::Plan::of(template)?;
        if packages {
            plan = with_packages(plan, root)?;
        }
        let plan::Plan { queues, mappings: planned, left_out } = plan;
        let mut mappings = Vec::new();
        let mut functions: Vec<PlannedFunction> = Vec::new();
        for (mapping, origin) in planned {
            match functions.iter_mut().find(|known| known.name == mapping.function) {
                Some(known) => {
                    known.concurrency = known.most.min(known.concurrency.saturating_add(bound(origin.mapping)))
                }
                None => functions.push(PlannedFunction::of(origin, root)?),
            }
            mappings.push(mapping);
        }
        Ok(Self { file: template.file.clone(), queues, functions, mappings, left_out })
    }
}

/// Leaves out functions without a cargo package, if they may not be Rust programs and others are.
fn with_packages<'t>(mut plan: plan::Plan<'t>, root: &Path) -> Result<plan::Plan<'t>, Problem> {
    let (mut lacking, mut has_any): (Vec<(&template::FunctionResource, PathBuf)>, bool) = (Vec::new(), false);
    for Origin { function, .. } in plan.mappings.iter().map(|(_, origin)| *origin) {
        let directory = directory(function, root)?;
        if directory.join("Cargo.toml").exists() {
            has_any = true;
        } else if !lacking.iter().any(|(known, _)| known.id == function.id) {
            lacking.push((function, directory));
        }
    }
    for (function, directory) in lacking {
        let directory = directory.display();
        if function.kind == Kind::Rust || !has_any {
            let text = format!(
                "the function `{}` is not a Rust package: {directory} has no Cargo.toml; serve it elsewhere, and pass --invoke-url",
                function.id,
            );
            return Err(Problem::new(function.place, text));
        }
        plan = plan.without(&function.id, &format!("{directory} has no Cargo.toml, so it is not a Rust package"));
    }
    Ok(plan)
}

fn directory(function: &template::FunctionResource, root: &Path) -> Result<PathBuf, Problem> {
    let code = function.code.as_ref().map(|code| code.need(&format!("the code of `{}`", function.id))).transpose()?;
    Ok(code.map_or_else(|| root.to_owned(), |code| root.join(code)))
}

/// Returns how many concurrent invocations a mapping may make, of those that a laptop can run.
fn bound(mapping: &template::MappingResource) -> u32 {
    known(mapping.maximum_concurrency.as_ref()).unwrap_or(PROCESSES).min(PROCESSES)
}

fn known(setting: Option<&Setting<i64>>) -> Option<u32> {
    setting.and_then(Setting::known).and_then(|&n| u32::try_from(n).ok())
}

impl PlannedFunction {
    fn of(origin: Origin<'_>, root: &Path) -> Result<Self, Problem> {
        let Origin { function, mapping } = origin;
        let most = known(function.reserved_concurrency.as_ref()).unwrap_or(PROCESSES).min(PROCESSES);
        // Values that are only known in an account are left out. A program that needs one reports it.
        let variables =
            function.environment.iter().filter_map(|(name, value)| Some((name.clone(), value.known()?.clone())));
        Ok(Self {
            name: function.name.clone(),
            directory: directory(function, root)?,
            binary: function.binary.clone(),
            memory_mb: known(function.memory_mb.as_ref()).unwrap_or(DEFAULT_MEMORY_MB),
            variables: variables.collect(),
            most,
            concurrency: most.min(bound(mapping)),
        })
    }

    /// Returns the program that the function's processes run after the build.
    pub(super) fn program(&self, executable: PathBuf) -> Program {
        Program { directory: Some(self.directory.clone()), ..Program::new(executable) }
    }
}
