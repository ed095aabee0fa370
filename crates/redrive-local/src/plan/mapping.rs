//! Checks mappings as Lambda does.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use aws_sdk_sqs::Client;
use redrive::internals::source::Source;

use crate::function::Function;
use crate::mapping::config::{BatchSize, Batching, FunctionTimeout, MaximumConcurrency, Window};
use crate::mapping::filter::FilterCriteria;
use crate::partition::function_arn;
use crate::poller::{EventSourceMapping, NewsSink};
use crate::queue::NumberAttribute;
use crate::template::{self, ACCOUNT, Place, Problem, Setting, VISIBILITY_TIMEOUT};

pub struct PlannedMapping {
    pub queue: String,
    pub queue_url: String,
    pub function: String,
    pub source: Source,
    pub batching: Batching,
    pub maximum_concurrency: Option<MaximumConcurrency>,
    pub filter: FilterCriteria,
    pub reports_item_failures: bool,
    pub timeout: FunctionTimeout,
    pub visibility_timeout: Duration,
}

impl PlannedMapping {
    pub(super) fn of(
        mapping: &template::MappingResource,
        queue: &template::QueueResource,
        function: &template::FunctionResource,
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
        let visibility =
            seconds(queue.number(VISIBILITY_TIMEOUT).unwrap_or(NumberAttribute::VisibilityTimeout.default()));
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

    /// Returns a mapping that polls for this function and reports to this sink.
    pub fn with(
        self,
        client: &Client,
        function: Arc<dyn Function>,
        settled: &Arc<AtomicU64>,
        news: NewsSink,
    ) -> EventSourceMapping {
        EventSourceMapping {
            client: client.clone(),
            queue_url: self.queue_url,
            function_arn: function_arn(self.source.region(), ACCOUNT, &self.function),
            source: self.source,
            batching: self.batching,
            maximum_concurrency: self.maximum_concurrency,
            filter: self.filter,
            reports_item_failures: self.reports_item_failures,
            function,
            timeout: self.timeout,
            visibility_timeout: self.visibility_timeout,
            news,
            settled: settled.clone(),
        }
    }
}

fn reports_item_failures(mapping: &template::MappingResource) -> Result<bool, Problem> {
    let Some(types) = &mapping.response_types else { return Ok(false) };
    let what = format!("`FunctionResponseTypes` of the mapping `{}`", mapping.id);
    let types = types.need(&what)?;
    let types: Vec<&String> = types.iter().map(|each| each.need(&what)).collect::<Result<_, _>>()?;
    Ok(types.iter().any(|each| *each == "ReportBatchItemFailures"))
}

fn seconds(seconds: i64) -> Duration {
    Duration::from_secs(u64::try_from(seconds).unwrap_or_default())
}
