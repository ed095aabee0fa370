//! Creates queues and mappings from a template.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redrive::Consumer;

use super::Kit;
use super::mapping::{observed, run, tell};
use super::queue::TestQueue;
use crate::connector::BASE_URL;
use crate::error::Error;
use crate::function::{InProcess, Slots};
use crate::plan::{Origin, Plan, PlannedMapping, PlannedQueue, make_queues};
use crate::template::{Inputs, Problem, Template};

/// A builder that deploys a template to a [`Kit`].
#[must_use = "the queues exist only after `deploy`"]
pub struct TemplateBuilder {
    kit: Kit,
    text: Text,
    parameters: Vec<(String, String)>,
    /// The handlers by the logical ids of their functions.
    handlers: BTreeMap<String, Handler>,
}

enum Text {
    OfFile(PathBuf),
    Given(String),
}

/// Builds the function of a queue. The function records its runs in the history of that queue.
type Handler = Box<dyn Fn(&TestQueue) -> InProcess + Send + Sync>;

/// The name of a template without a file, for errors.
const NO_FILE: &str = "template";

/// The queues of a template with their dead-letter queues and mappings.
#[derive(Clone)]
pub struct Stack {
    template: String,
    /// The queues by logical id, in the template's order.
    queues: Vec<(String, TestQueue)>,
}

impl TemplateBuilder {
    pub(super) fn of_file(kit: Kit, file: &Path) -> Self {
        Self::new(kit, Text::OfFile(file.to_owned()))
    }

    pub(super) fn of_text(kit: Kit, text: String) -> Self {
        Self::new(kit, Text::Given(text))
    }

    fn new(kit: Kit, text: Text) -> Self {
        Self { kit, text, parameters: Vec::new(), handlers: BTreeMap::new() }
    }

    /// Sets a parameter of the template, which replaces its default.
    pub fn parameter(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.parameters.push((name.into(), value.into()));
        self
    }

    /// Sets the handler of a function by its logical id. Each function that a queue is mapped to needs one.
    pub fn function<K: redrive::HandlerKind + Sync>(mut self, id: impl Into<String>, consumer: Consumer<K>) -> Self {
        let handler = move |queue: &TestQueue| observed(queue, consumer.clone());
        self.handlers.insert(id.into(), Box::new(handler));
        self
    }

    /// Creates the queues and starts to poll. A function that is not a Rust program (another `Runtime`, an image,
    /// inline code) is left out, and its queue keeps its messages.
    ///
    /// # Errors
    ///
    /// Returns an error when the template cannot be read, or when AWS would refuse its settings. A function without a
    /// handler is an error, and so is a handler without a Rust function. The error contains the line of the template,
    /// if there is one.
    pub async fn deploy(self) -> Result<Stack, Error> {
        let (file, text) = self.text.read()?;
        let inputs = Inputs { parameters: self.parameters, endpoint: BASE_URL.to_owned(), ..Inputs::default() };
        let template = Template::read(&file, &text, &inputs).map_err(local)?;
        let plan = Plan::of(&template).map_err(|problem| local(problem.of_file(&file)))?;
        for left_out in &plan.left_out {
            tracing::warn!("{left_out}");
        }
        let mut mappings = handled(&template, plan.mappings, &self.handlers)?;

        let client = self.kit.sqs().client();
        make_queues(&client, &plan.queues).await.map_err(local)?;
        let (mut queues, mut slots) = (Vec::new(), HashMap::new());
        for PlannedQueue { id, name, url, .. } in plan.queues {
            let queue = TestQueue::of(&self.kit, client.clone(), name, url).await?;
            // Found by name, because an id may be the name of another queue.
            for (mapping, handler, reserved) in mappings.extract_if(.., |(mapping, ..)| mapping.queue == queue.name) {
                let mut function = handler(&queue);
                if let Some(reserved) = reserved {
                    let of_function = slots.entry(mapping.function.clone()).or_insert_with(|| Slots::new(reserved));
                    function = function.with_slots(of_function.clone());
                }
                run(&queue, mapping.with(&client, Arc::new(function), &Arc::default(), tell(&queue)));
            }
            queues.push((id, queue));
        }
        Ok(Stack { template: file, queues })
    }
}

impl Text {
    /// Returns the text, and the template's name for errors.
    fn read(self) -> Result<(String, String), Error> {
        match self {
            Self::Given(text) => Ok((NO_FILE.to_owned(), text)),
            Self::OfFile(file) => {
                let name = file.display().to_string();
                let text = std::fs::read_to_string(&file).map_err(|error| {
                    let remedy = "the path is relative to the working directory, in a cargo test the package's root";
                    local(format!("cannot read {name}: {error}; {remedy}"))
                });
                Ok((name, text?))
            }
        }
    }
}

/// A mapping, its function's handler, and the function's reserved concurrency.
type Handled<'h> = (PlannedMapping, &'h Handler, Option<usize>);

/// Returns each mapping with the handler of its function and the function's reserved concurrency.
fn handled<'h>(
    template: &Template,
    mappings: Vec<(PlannedMapping, Origin<'_>)>,
    handlers: &'h BTreeMap<String, Handler>,
) -> Result<Vec<Handled<'h>>, Error> {
    // A handler without an invocation is a mistake: its test would always pass.
    for id in handlers.keys() {
        let function = template.functions.iter().find(|function| function.id == *id).ok_or_else(|| {
            let known = template.functions.iter().map(|function| function.id.as_str());
            local(format!("{}: there is no function `{id}`; {}", template.file, known_ids(known)))
        })?;
        if let Some(found) = function.kind.other() {
            let text =
                format!("the function `{id}` has a handler, but it is not a Rust program: {found}; remove the handler");
            return Err(local(Problem::new(function.place, text).of_file(&template.file)));
        }
        if !mappings.iter().any(|(_, origin)| origin.function.id == *id) {
            let text = format!("the function `{id}` has a handler, but no enabled mapping of a queue; add a mapping");
            return Err(local(Problem::new(function.place, text).of_file(&template.file)));
        }
    }
    let with_handler = |(mapping, Origin { function, .. }): (PlannedMapping, Origin<'_>)| {
        let id = &function.id;
        let handler = handlers.get(id).ok_or_else(|| {
            let text = format!("the function `{id}` has no handler; add one with `.function(\"{id}\", ..)`");
            local(Problem::new(function.place, text).of_file(&template.file))
        })?;
        Ok((mapping, handler, function.reserved_concurrency()))
    };
    mappings.into_iter().map(with_handler).collect()
}

impl Stack {
    /// Returns a queue by its logical id or its name.
    ///
    /// # Errors
    ///
    /// Returns an error when the template has no such queue.
    pub fn queue(&self, id: &str) -> Result<TestQueue, Error> {
        let by_id = self.queues.iter().find(|(known, _)| known == id);
        let found = by_id.or_else(|| self.queues.iter().find(|(_, queue)| queue.name == id));
        found.map(|(_, queue)| queue.clone()).ok_or_else(|| {
            let known = self.queues.iter().map(|(id, _)| id.as_str());
            local(format!("{}: there is no queue `{id}`; {}", self.template, known_ids(known)))
        })
    }
}

fn known_ids<'a>(known: impl Iterator<Item = &'a str>) -> String {
    match known.map(|id| format!("`{id}`")).collect::<Vec<_>>().join(", ") {
        ids if ids.is_empty() => "the template has none".to_owned(),
        ids => format!("the template has {ids}"),
    }
}

fn local(error: impl fmt::Display) -> Error {
    Error::new(error.to_string())
}

impl fmt::Debug for TemplateBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let functions: Vec<_> = self.handlers.keys().collect();
        f.debug_struct("TemplateBuilder").field("functions", &functions).finish_non_exhaustive()
    }
}

impl fmt::Debug for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let queues: Vec<_> = self.queues.iter().map(|(id, _)| id).collect();
        f.debug_struct("Stack").field("template", &self.template).field("queues", &queues).finish_non_exhaustive()
    }
}
