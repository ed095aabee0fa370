//! Reads event source mappings: `AWS::Lambda::EventSourceMapping`, and events of type `SQS` in a SAM function.

use super::fields::Fields;
use super::problem::{Place, Problem};
use super::value::{Data, Setting, Unknown, Value};

/// An event source mapping: it polls a queue and invokes a function.
#[derive(Clone, Debug)]
pub struct MappingResource {
    /// The logical id of the resource. A SAM event has the joined ids of its function and itself, as in SAM.
    pub id: String,
    pub place: Place,
    /// The queue's ARN.
    pub source: Setting<String>,
    /// The function's name without an alias or version.
    pub function: Setting<String>,
    pub batch_size: Option<Setting<i64>>,
    pub window_s: Option<Setting<i64>>,
    pub response_types: Option<Setting<Vec<Setting<String>>>>,
    pub maximum_concurrency: Option<Setting<i64>>,
    /// Whether the mapping has provisioned pollers. Their maximum also limits the concurrency.
    pub is_provisioned: bool,
    /// The patterns of `FilterCriteria`, each as JSON in a text.
    pub filters: Vec<Setting<String>>,
    pub enabled: Option<Setting<bool>>,
}

impl MappingResource {
    /// Reads a SAM event. Returns `None` if it is not an event of SQS.
    pub(super) fn of_event(
        function: (&str, &str),
        event: &str,
        place: Place,
        value: &Value,
    ) -> Result<Option<Self>, Problem> {
        let (id, name) = function;
        if value.get("Type").and_then(Value::text) != Some("SQS") {
            return Ok(None);
        }
        let of = format!("the event `{event}` of the function `{id}`");
        let Some(properties) = value.get("Properties") else {
            let problem = format!("{of} has no `Properties`; add them with at least the `Queue`");
            return Err(Problem::new(place, problem));
        };
        let fields = Fields::of(&of, properties)?;
        let Some(source) = source(&fields, "Queue")? else {
            return Err(Problem::new(place, format!("{of} has no `Queue`; set it to a queue's ARN")));
        };
        let function = Setting { place, value: Ok(name.to_owned()) };
        Self::read(format!("{id}{event}"), place, source, function, &fields).map(Some)
    }

    /// Reads a mapping resource. Returns `None` if its source is not SQS.
    pub(super) fn of_resource(id: &str, place: Place, fields: &Fields<'_>) -> Result<Option<Self>, Problem> {
        // Only other sources take these settings, which matters when the source's ARN is unknown.
        const OTHERS: [&str; 6] = [
            "AmazonManagedKafkaEventSourceConfig",
            "DocumentDBEventSourceConfig",
            "Queues",
            "SelfManagedEventSource",
            "StartingPosition",
            "Topics",
        ];
        if OTHERS.iter().any(|key| fields.has(key)) {
            return Ok(None);
        }
        let Some(source) = source(fields, "EventSourceArn")? else { return Ok(None) };
        if let Some(arn) = source.known()
            && arn.starts_with("arn:")
            && arn.split(':').nth(2) != Some("sqs")
        {
            return Ok(None);
        }
        let Some(function) = fields.text("FunctionName")? else {
            return Err(Problem::new(place, format!("{} has no `FunctionName`; set it to a function", fields.of)));
        };
        let function = Setting { place: function.place, value: function.value.map(|name| bare(&name)) };
        Self::read(id.to_owned(), place, source, function, fields).map(Some)
    }

    fn read(
        id: String,
        place: Place,
        source: Setting<String>,
        function: Setting<String>,
        fields: &Fields<'_>,
    ) -> Result<Self, Problem> {
        let scaling = fields.map("ScalingConfig")?;
        Ok(Self {
            id,
            place,
            source,
            function,
            batch_size: fields.integer("BatchSize")?,
            window_s: fields.integer("MaximumBatchingWindowInSeconds")?,
            response_types: fields.texts("FunctionResponseTypes")?,
            maximum_concurrency: match &scaling {
                Some(scaling) => match scaling.unknown() {
                    Some(why) => Some(Setting { place: scaling.place(), value: Err(why.clone()) }),
                    None => scaling.integer("MaximumConcurrency")?,
                },
                None => None,
            },
            is_provisioned: fields.has("ProvisionedPollerConfig"),
            filters: filters(fields)?,
            enabled: fields.boolean("Enabled")?,
        })
    }

    pub fn is_enabled(&self) -> bool {
        self.enabled.as_ref().and_then(Setting::known).copied().unwrap_or(true)
    }

    /// Returns how long Lambda waits for a batch to fill, or `None` if the setting is unknown.
    pub fn window_s(&self) -> Option<i64> {
        self.window_s.as_ref().map_or(Some(0), |setting| setting.known().copied())
    }
}

fn source(fields: &Fields<'_>, key: &str) -> Result<Option<Setting<String>>, Problem> {
    match fields.unknown() {
        Some(why) => Ok(Some(Setting { place: fields.place(), value: Err(why.clone()) })),
        None => fields.text(key),
    }
}

/// Returns a function's name without the rest of its ARN, an alias or a version.
fn bare(function: &str) -> String {
    let name = match function.split_once(":function:") {
        Some((_, name)) => name,
        None => function,
    };
    name.split(':').next().unwrap_or(name).to_owned()
}

fn filters(fields: &Fields<'_>) -> Result<Vec<Setting<String>>, Problem> {
    let Some(criteria) = fields.map("FilterCriteria")? else { return Ok(Vec::new()) };
    if let Some(why) = criteria.unknown() {
        return Ok(vec![Setting { place: criteria.place(), value: Err(why.clone()) }]);
    }
    let mut filters = Vec::new();
    for filter in criteria.list("Filters")? {
        let of = format!("a filter of {}", fields.of);
        let pattern = Fields::of(&of, filter)?.text("Pattern")?;
        let unknown = || match &filter.data {
            Data::Unknown(why) => why.clone(),
            _ => Unknown::Deployed("a filter without a `Pattern`".to_owned()),
        };
        filters.push(pattern.unwrap_or_else(|| Setting { place: filter.place, value: Err(unknown()) }));
    }
    Ok(filters)
}

#[cfg(test)]
mod tests {
    use super::bare;

    #[test]
    fn function_name_is_extracted_from_every_form() {
        for written in ["orders", "orders:live", "arn:aws:lambda:eu-central-1:1:function:orders:7"] {
            assert_eq!(bare(written), "orders", "{written}");
        }
    }
}
