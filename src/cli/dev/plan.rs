//! What of a template is to run here.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::local::function::Program;
use crate::local::plan::{self, Origin, PlannedMapping, PlannedQueue};
use crate::local::template::{Problem, Setting, Template};

/// Queues, the functions that read from them, and how.
pub(super) struct Plan {
    /// The template's.
    pub(super) file: String,
    pub(super) queues: Vec<PlannedQueue>,
    pub(super) functions: Vec<PlannedFunction>,
    pub(super) mappings: Vec<PlannedMapping>,
}

pub(super) struct PlannedFunction {
    pub(super) name: String,
    /// The package, and the binary in it, if the template names one.
    pub(super) directory: PathBuf,
    pub(super) binary: Option<String>,
    pub(super) memory_mb: u32,
    pub(super) variables: BTreeMap<String, String>,
    /// Most invocations at a time.
    pub(super) concurrency: u32,
}

/// Where neither function nor mapping has a bound: as many processes as a laptop bears.
const PROCESSES: u32 = 4;
const DEFAULT_MEMORY_MB: u32 = 128;

impl Plan {
    /// Takes what is needed out of a template, whose paths begin at `root`. Functions are to be `packages`, unless they are
    /// served elsewhere.
    pub(super) fn of(template: &Template, root: &Path, packages: bool) -> Result<Self, String> {
        Self::read(template, root, packages).map_err(|problem| problem.of_file(&template.file).to_string())
    }

    fn read(template: &Template, root: &Path, packages: bool) -> Result<Self, Problem> {
        let plan::Plan { queues, mappings: planned } = plan::Plan::of(template)?;
        let mut mappings = Vec::new();
        let mut functions: Vec<PlannedFunction> = Vec::new();
        for (mapping, origin) in planned {
            if !functions.iter().any(|known| known.name == mapping.function) {
                functions.push(PlannedFunction::of(origin, root, packages)?);
            }
            mappings.push(mapping);
        }
        Ok(Self { file: template.file.clone(), queues, functions, mappings })
    }
}

impl PlannedFunction {
    fn of(origin: Origin<'_>, root: &Path, packages: bool) -> Result<Self, Problem> {
        let Origin { function, mapping } = origin;
        let code = function.code.as_ref().map(|code| code.need(&format!("the code of `{}`", function.id)));
        let directory = code.transpose()?.map_or_else(|| root.to_owned(), |code| root.join(code));
        if packages && !directory.join("Cargo.toml").exists() {
            let text = format!(
                "the function `{}` is no Rust package: {} has no Cargo.toml; serve it elsewhere, and pass --invoke-url",
                function.id,
                directory.display()
            );
            return Err(Problem::new(function.place, text));
        }
        let known =
            |setting: Option<&Setting<i64>>| setting.and_then(Setting::known).and_then(|&n| u32::try_from(n).ok());
        let bound = known(function.reserved_concurrency.as_ref()).or(known(mapping.maximum_concurrency.as_ref()));
        // What is only known in an account is left out: a program that needs it says so.
        let variables =
            function.environment.iter().filter_map(|(name, value)| Some((name.clone(), value.known()?.clone())));
        Ok(Self {
            name: function.name.clone(),
            directory,
            binary: function.binary.clone(),
            memory_mb: known(function.memory_mb.as_ref()).unwrap_or(DEFAULT_MEMORY_MB),
            variables: variables.collect(),
            concurrency: bound.unwrap_or(PROCESSES).min(PROCESSES),
        })
    }

    /// What its processes run, once it is built.
    pub(super) fn program(&self, executable: PathBuf) -> Program {
        Program { directory: Some(self.directory.clone()), ..Program::new(executable) }
    }
}
