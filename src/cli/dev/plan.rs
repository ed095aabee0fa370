//! What of a template is to run here.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::local::mapping::config::{BatchSize, Batching, FunctionTimeout, MaximumConcurrency, Window};
use crate::local::mapping::filter::FilterCriteria;
use crate::local::mapping::source::Source;
use crate::local::template::{self, Place, Problem, Setting, Template, VISIBILITY_TIMEOUT};

/// Queues, the functions that read from them, and how.
pub(super) struct Plan {
    pub(super) queues: Vec<PlannedQueue>,
    pub(super) functions: Vec<PlannedFunction>,
    pub(super) mappings: Vec<PlannedMapping>,
}

pub(super) struct PlannedQueue {
    pub(super) name: String,
    pub(super) url: String,
    /// All but the RedrivePolicy: a queue's dead-letter queue must be there first.
    pub(super) attributes: BTreeMap<&'static str, String>,
    pub(super) redrive_policy: Option<String>,
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

pub(super) struct PlannedMapping {
    pub(super) queue: String,
    pub(super) queue_url: String,
    pub(super) function: String,
    pub(super) source: Source,
    pub(super) batching: Batching,
    pub(super) maximum_concurrency: Option<MaximumConcurrency>,
    pub(super) filter: FilterCriteria,
    pub(super) reports_item_failures: bool,
    pub(super) timeout: FunctionTimeout,
    pub(super) visibility_timeout: Duration,
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
        let queues = template.queues.iter().map(PlannedQueue::of).collect::<Result<_, _>>()?;
        let mut mappings = Vec::new();
        let mut functions: Vec<PlannedFunction> = Vec::new();
        for mapping in template.mappings.iter().filter(|mapping| mapping.is_enabled()) {
            let (queue, function) = ends_of(template, mapping)?;
            mappings.push(PlannedMapping::of(mapping, queue, function)?);
            if !functions.iter().any(|known| known.name == function.name) {
                functions.push(PlannedFunction::of(function, mapping, root, packages)?);
            }
        }
        Ok(Self { queues, functions, mappings })
    }
}

/// The queue and the function of a mapping.
fn ends_of<'a>(
    template: &'a Template,
    mapping: &template::Mapping,
) -> Result<(&'a template::Queue, &'a template::Function), Problem> {
    let arn = mapping.source.need(&format!("the queue of the mapping `{}`", mapping.id))?;
    let queue = template.queue(arn).ok_or_else(|| {
        let text = format!("the mapping `{}` reads from {arn}, which this template does not make; add it", mapping.id);
        Problem::new(mapping.source.place, text)
    })?;
    let name = mapping.function.need(&format!("the function of the mapping `{}`", mapping.id))?;
    let function = template.function(name).ok_or_else(|| {
        let text = format!("the mapping `{}` invokes {name}, which this template does not make; add it", mapping.id);
        Problem::new(mapping.function.place, text)
    })?;
    Ok((queue, function))
}

impl PlannedQueue {
    fn of(queue: &template::Queue) -> Result<Self, Problem> {
        let mut attributes = queue.attributes()?;
        // Nothing is encrypted here, and the key is on AWS.
        attributes.remove("KmsMasterKeyId");
        let redrive_policy = attributes.remove("RedrivePolicy");
        Ok(Self { name: queue.name.clone(), url: queue.url.clone(), attributes, redrive_policy })
    }
}

impl PlannedFunction {
    fn of(
        function: &template::Function,
        mapping: &template::Mapping,
        root: &Path,
        packages: bool,
    ) -> Result<Self, Problem> {
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
}

impl PlannedMapping {
    fn of(
        mapping: &template::Mapping,
        queue: &template::Queue,
        function: &template::Function,
    ) -> Result<Self, Problem> {
        let what = |setting: &str| format!("`{setting}` of the mapping `{}`", mapping.id);
        let number = |name: &str, setting: &Option<Setting<i64>>, default: i64| {
            setting.as_ref().map_or(Ok(default), |setting| setting.need(&what(name)).copied())
        };
        let size = number("BatchSize", &mapping.batch_size, 10)?;
        let window = number("MaximumBatchingWindowInSeconds", &mapping.window_s, 0)?;
        let concurrency = mapping.maximum_concurrency.as_ref();
        let concurrency = concurrency.map(|bound| bound.need(&what("MaximumConcurrency")).copied()).transpose()?;
        let timeout = *function.timeout_s.need(&format!("`Timeout` of the function `{}`", function.id))?;
        let visibility = seconds(queue.number(VISIBILITY_TIMEOUT).unwrap_or(30));
        let filters = mapping.filters.iter().map(|filter| filter.need(&what("FilterCriteria")));
        let filters: Vec<&String> = filters.collect::<Result<_, _>>()?;

        let refused = |place: Place| move |error: Box<dyn std::error::Error>| Problem::new(place, error.to_string());
        let place = mapping.place;
        let source = Source::from_arn(&queue.arn).map_err(|error| refused(place)(error.into()))?;
        let batching = BatchSize::new(size).and_then(|size| {
            let window = Window::new(window)?;
            Batching::new(source.is_fifo(), size, window)
        });
        let concurrency = concurrency.map(MaximumConcurrency::new).transpose();
        Ok(Self {
            queue: queue.name.clone(),
            queue_url: queue.url.clone(),
            function: function.name.clone(),
            source,
            batching: batching.map_err(|error| refused(place)(error.into()))?,
            maximum_concurrency: concurrency.map_err(|error| refused(place)(error.into()))?,
            filter: FilterCriteria::parse(&filters).map_err(|error| refused(place)(error.into()))?,
            reports_item_failures: reports_item_failures(mapping)?,
            timeout: FunctionTimeout::new(seconds(timeout), visibility)
                .map_err(|error| refused(place)(error.into()))?,
            visibility_timeout: visibility,
        })
    }
}

fn reports_item_failures(mapping: &template::Mapping) -> Result<bool, Problem> {
    let Some(types) = &mapping.response_types else { return Ok(false) };
    let what = format!("`FunctionResponseTypes` of the mapping `{}`", mapping.id);
    let types = types.need(&what)?;
    let types: Vec<&String> = types.iter().map(|each| each.need(&what)).collect::<Result<_, _>>()?;
    Ok(types.iter().any(|each| *each == "ReportBatchItemFailures"))
}

fn seconds(seconds: i64) -> Duration {
    Duration::from_secs(u64::try_from(seconds).unwrap_or_default())
}
