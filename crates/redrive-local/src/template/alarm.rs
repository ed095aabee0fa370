//! Reads `AWS::CloudWatch::Alarm`: the metrics of queues that an alarm watches.

use super::value::Value;

/// A metric of SQS that an alarm watches.
#[derive(Clone, Debug)]
pub struct Watched {
    pub metric: String,
    /// The queue's name.
    pub queue: String,
}

/// Returns the SQS metrics of an alarm in both forms: its own metric, or several under `Metrics`.
///
/// An unknown value counts as not watched, so this function has no errors.
pub(super) fn watched(alarm: &Value) -> Vec<Watched> {
    let several = alarm.get("Metrics").map(Value::items).unwrap_or_default();
    let several = several.iter().filter_map(|query| query.get("MetricStat")?.get("Metric"));
    several.chain([alarm]).filter_map(of_metric).collect()
}

fn of_metric(metric: &Value) -> Option<Watched> {
    let text = |value: &Value, key: &str| value.get(key).and_then(Value::text).map(str::to_owned);
    if text(metric, "Namespace")? != "AWS/SQS" {
        return None;
    }
    let dimensions = metric.get("Dimensions")?.items();
    let name = dimensions.iter().find(|dimension| text(dimension, "Name").as_deref() == Some("QueueName"))?;
    Some(Watched { metric: text(metric, "MetricName")?, queue: text(name, "Value")? })
}
