//! What of a template is to run here, in values that the queue and the mapping take.
//!
//! `redrive dev` and the test kit both begin with it. They differ in what a function is: a package that is built, or a
//! handler that a test gives.

mod mapping;
mod queue;

pub(crate) use self::mapping::PlannedMapping;
pub(crate) use self::queue::{PlannedQueue, make_queues};

use super::template::{self, Problem, Template};

/// A template's queues, and its mappings that are enabled.
pub(crate) struct Plan<'t> {
    pub(crate) queues: Vec<PlannedQueue>,
    /// Each mapping with what it was made from.
    pub(crate) mappings: Vec<(PlannedMapping, Origin<'t>)>,
}

/// What of the template a mapping is made from.
#[derive(Clone, Copy)]
pub(crate) struct Origin<'t> {
    pub(crate) function: &'t template::Function,
    pub(crate) mapping: &'t template::Mapping,
}

impl<'t> Plan<'t> {
    pub(crate) fn of(template: &'t Template) -> Result<Self, Problem> {
        let queues = template.queues.iter().map(PlannedQueue::of).collect::<Result<_, _>>()?;
        let enabled = template.mappings.iter().filter(|mapping| mapping.is_enabled());
        let planned = |mapping: &'t template::Mapping| {
            let (queue, function) = ends_of(template, mapping)?;
            Ok((PlannedMapping::of(mapping, queue, function)?, Origin { function, mapping }))
        };
        Ok(Self { queues, mappings: enabled.map(planned).collect::<Result<_, _>>()? })
    }
}

/// The queue and the function of a mapping.
fn ends_of<'t>(
    template: &'t Template,
    mapping: &template::Mapping,
) -> Result<(&'t template::Queue, &'t template::Function), Problem> {
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
