//! `AWS::CloudWatch::Alarm`: which metrics of which queues somebody is told of.

use super::value::Value;

/// A metric of SQS that an alarm watches.
#[derive(Clone, Debug)]
pub struct Watched {
    pub metric: String,
    /// The name of the queue.
    pub queue: String,
}

/// What an alarm watches of SQS, in both forms: a metric of its own, or several under `Metrics`.
///
/// What is not known counts as not watched, so nothing here is an error.
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
