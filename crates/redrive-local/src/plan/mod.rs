//! What of a template is to run here, in values that the queue and the mapping take.
//!
//! `redrive dev` and the test kit both begin with it. They differ in what a function is: a package that is built, or a
//! handler that a test gives.

mod mapping;
mod queue;

pub use self::mapping::PlannedMapping;
pub use self::queue::{PlannedQueue, make_queues};

use std::fmt;

use super::template::{self, Problem, Template};

/// A template's queues, and its mappings that are enabled.
pub struct Plan<'t> {
    pub queues: Vec<PlannedQueue>,
    /// Each mapping with what it was made from. Their functions are Rust programs, or may be.
    pub mappings: Vec<(PlannedMapping, Origin<'t>)>,
    /// The functions that are certainly none. What runs in their place would consume messages that are not its own.
    pub left_out: Vec<LeftOut>,
}

/// What of the template a mapping is made from.
#[derive(Clone, Copy)]
pub struct Origin<'t> {
    pub function: &'t template::Function,
    pub mapping: &'t template::Mapping,
}

/// A function that is not run, and the queues that it reads from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// Its resource in the template.
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
                plan.leave_out(&function.id, &format!("{found}, so it is no Rust program"), queue);
                continue;
            }
            let planned = PlannedMapping::of(mapping, queue_of(template, mapping)?, function)?;
            plan.mappings.push((planned, Origin { function, mapping }));
        }
        Ok(plan)
    }

    /// Leaves out a function of the mappings, which turned out to be no Rust program.
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

fn queue_of<'t>(template: &'t Template, mapping: &template::Mapping) -> Result<&'t template::Queue, Problem> {
    let arn = mapping.source.need(&format!("the queue of the mapping `{}`", mapping.id))?;
    template.queue(arn).ok_or_else(|| {
        let text = format!("the mapping `{}` reads from {arn}, which this template does not make; add it", mapping.id);
        Problem::new(mapping.source.place, text)
    })
}

fn function_of<'t>(template: &'t Template, mapping: &template::Mapping) -> Result<&'t template::Function, Problem> {
    let name = mapping.function.need(&format!("the function of the mapping `{}`", mapping.id))?;
    template.function(name).ok_or_else(|| {
        let text = format!("the mapping `{}` invokes {name}, which this template does not make; add it", mapping.id);
        Problem::new(mapping.function.place, text)
    })
}
