//! Event source mappings: `AWS::Lambda::EventSourceMapping`, and a SAM function's events of type `SQS`.

use super::fields::Fields;
use super::problem::{Place, Problem};
use super::value::{Data, Setting, Unknown, Value};

/// What reads from a queue and invokes a function with what it read.
#[derive(Clone, Debug)]
pub struct Mapping {
    /// Its resource; of a SAM event the function's and the event's, joined as SAM does.
    pub id: String,
    pub place: Place,
    /// The ARN of the queue.
    pub source: Setting<String>,
    /// The name of the function, an alias or version taken off.
    pub function: Setting<String>,
    pub batch_size: Option<Setting<i64>>,
    pub window_s: Option<Setting<i64>>,
    pub response_types: Option<Setting<Vec<Setting<String>>>>,
    pub maximum_concurrency: Option<Setting<i64>>,
    /// Whether pollers are provisioned. Their maximum bounds the concurrency too.
    pub is_provisioned: bool,
    /// The patterns of `FilterCriteria`, each JSON in a text.
    pub filters: Vec<Setting<String>>,
    pub enabled: Option<Setting<bool>>,
}

impl Mapping {
    /// A SAM event, if it is one of SQS.
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
            let problem = format!("{of} has no `Properties`; give it at least the `Queue`");
            return Err(Problem::new(place, problem));
        };
        let fields = Fields::of(&of, properties)?;
        let Some(source) = source(&fields, "Queue")? else {
            return Err(Problem::new(place, format!("{of} has no `Queue`; set it to the ARN of one")));
        };
        let function = Setting { place, value: Ok(name.to_owned()) };
        Self::read(format!("{id}{event}"), place, source, function, &fields).map(Some)
    }

    /// A mapping that is a resource, if it is one of SQS.
    pub(super) fn of_resource(id: &str, place: Place, fields: &Fields<'_>) -> Result<Option<Self>, Problem> {
        // Only sources that are no queue take these. It tells for a source whose ARN is not known.
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
            return Err(Problem::new(place, format!("{} has no `FunctionName`; set it to the function's", fields.of)));
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

    /// How long Lambda waits for a batch to fill; nothing where what is set is not known.
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

/// Takes a function's name out of its ARN, and the alias or version off its end.
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
    fn a_function_is_known_by_its_name_however_it_is_written() {
        for written in ["orders", "orders:live", "arn:aws:lambda:eu-central-1:1:function:orders:7"] {
            assert_eq!(bare(written), "orders", "{written}");
        }
    }
}
