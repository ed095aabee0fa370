//! Selects the queues and mappings of a template that run locally, as values for the queue and the mapping.
//!
//! Both `redrive dev` and the test kit start with a plan. They differ in their functions: built packages, or the
//! handlers of a test.

mod mapping;
mod queue;

pub use self::mapping::PlannedMapping;
pub use self::queue::{PlannedQueue, make_queues};

use std::fmt;

use super::template::{self, Problem, Template};

/// The queues and the enabled mappings of a template.
pub struct Plan<'t> {
    pub queues: Vec<PlannedQueue>,
    /// The mappings with their origins. Their functions are, or may be, Rust programs.
    pub mappings: Vec<(PlannedMapping, Origin<'t>)>,
    /// The functions that are certainly not Rust programs. Another program in their place would take foreign messages.
    pub left_out: Vec<LeftOut>,
}

/// The parts of the template from which a mapping was planned.
#[derive(Clone, Copy)]
pub struct Origin<'t> {
    pub function: &'t template::FunctionResource,
    pub mapping: &'t template::MappingResource,
}

/// A function that is not run, and the queues of its mappings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// The logical id of the function.
    pub function: String,
    pub why: String,
    pub queues: Vec<String>,
}

impl<'t> Plan<'t> {
    pub fn of(template: &'t Template) -> Result<Self, Problem> {
        let queues = template.queues.iter().map(PlannedQueue::of).collect::<Result<_, _>>()?;
        let mut plan = Self { queues, mappings: Vec::new(), left_out: Vec::new() };
        for mapping in template.mappings.iter().filter(|mapping| mapping.is_enabled()) {
            let function = function_of(template, mapping)?;
            function.kind.need(&function.id)?;
            if let Some(found) = function.kind.other() {
                let queue = mapping.source.known().and_then(|arn| arn.rsplit(':').next());
                plan.leave_out(&function.id, &format!("{found}, so it is not a Rust program"), queue);
                continue;
            }
            let planned = PlannedMapping::of(mapping, queue_of(template, mapping)?, function)?;
            plan.mappings.push((planned, Origin { function, mapping }));
        }
        Ok(plan)
    }

    /// Leaves out a function that turned out not to be a Rust program.
    pub fn without(mut self, function: &str, why: &str) -> Self {
        let of_function = |(_, origin): &mut (PlannedMapping, Origin<'_>)| origin.function.id == function;
        for (mapping, _) in self.mappings.extract_if(.., of_function).collect::<Vec<_>>() {
            self.leave_out(function, why, Some(&mapping.queue));
        }
        self
    }

    fn leave_out(&mut self, function: &str, why: &str, queue: Option<&str>) {
        let queue = queue.map(str::to_owned);
        match self.left_out.iter_mut().find(|known| known.function == function) {
            Some(known) => known.queues.extend(queue),
            None => self.left_out.push(LeftOut {
                function: function.to_owned(),
                why: why.to_owned(),
                queues: queue.into_iter().collect(),
            }),
        }
    }
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { function, why, queues } = self;
        write!(f, "the function `{function}` is left out: {why}")?;
        match &queues[..] {
            [] => Ok(()),
            [queue] => write!(f, "; it takes no messages from {queue}"),
            queues => write!(f, "; it takes no messages from {}", queues.join(", ")),
        }
    }
}

fn queue_of<'t>(
    template: &'t Template,
    mapping: &template::MappingResource,
) -> Result<&'t template::QueueResource, Problem> {
    let arn = mapping.source.need(&format!("the queue of the mapping `{}`", mapping.id))?;
    template.queue(arn).ok_or_else(|| {
        let text = format!("the mapping `{}` reads from {arn}, which this template does not make; add it", mapping.id);
        Problem::new(mapping.source.place, text)
    })
}

fn function_of<'t>(
    template: &'t Template,
    mapping: &template::MappingResource,
) -> Result<&'t template::FunctionResource, Problem> {
    let name = mapping.function.need(&format!("the function of the mapping `{}`", mapping.id))?;
    template.function(name).ok_or_else(|| {
        let text = format!("the mapping `{}` invokes {name}, which this template does not make; add it", mapping.id);
        Problem::new(mapping.function.place, text)
    })
}
