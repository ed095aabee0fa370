//! Reads `AWS::SQS::Queue`.

use std::collections::BTreeMap;

use super::fields::Fields;
use super::problem::{Place, Problem};
use super::value::{Data, Setting, Value};
use super::yaml;
use crate::queue::NumberAttribute;

/// A queue of a template. Settings without a value have SQS's defaults.
#[derive(Clone, Debug)]
pub struct QueueResource {
    pub id: String,
    pub place: Place,
    /// The queue's local name. Without a known name in the template it is the resource's logical id.
    pub name: String,
    pub arn: String,
    pub url: String,
    /// `QueueName`, if it is set.
    pub queue_name: Option<Setting<String>>,
    pub fifo_queue: Option<Setting<bool>>,
    /// The whole numbers by their attribute names.
    pub numbers: BTreeMap<&'static str, Setting<i64>>,
    /// The texts and booleans that are only passed to SetQueueAttributes.
    others: BTreeMap<&'static str, Setting<String>>,
    pub redrive: Option<Redrive>,
    redrive_allow: Option<RedriveAllow>,
}

/// A `RedrivePolicy`.
#[derive(Clone, Debug)]
pub struct Redrive {
    /// `deadLetterTargetArn`.
    pub target: Setting<String>,
    pub max_receive_count: Option<Setting<i64>>,
}

/// A `RedriveAllowPolicy`.
#[derive(Clone, Debug)]
struct RedriveAllow {
    permission: Setting<String>,
    sources: Option<Setting<Vec<Setting<String>>>>,
}

pub const VISIBILITY_TIMEOUT: &str = NumberAttribute::VisibilityTimeout.name();
pub const RETENTION: &str = NumberAttribute::MessageRetentionPeriod.name();

const TEXTS: [&str; 3] = ["DeduplicationScope", "FifoThroughputLimit", "KmsMasterKeyId"];
const BOOLEANS: [&str; 2] = ["ContentBasedDeduplication", "SqsManagedSseEnabled"];

/// The local names of a queue.
pub(super) struct Names {
    pub(super) name: String,
    pub(super) arn: String,
    pub(super) url: String,
}

impl QueueResource {
    pub(super) fn read(id: &str, place: Place, names: Names, fields: &Fields<'_>) -> Result<Self, Problem> {
        let Names { name, arn, url } = names;
        let mut numbers = BTreeMap::new();
        for name in NumberAttribute::ALL.map(NumberAttribute::name) {
            numbers.extend(fields.integer(name)?.map(|setting| (name, setting)));
        }
        let mut others = BTreeMap::new();
        for key in TEXTS {
            others.extend(fields.text(key)?.map(|setting| (key, setting)));
        }
        for key in BOOLEANS {
            others.extend(
                fields.boolean(key)?.map(|Setting { place, value }| {
                    (key, Setting { place, value: value.map(|value| value.to_string()) })
                }),
            );
        }
        let (redrive, allow) = (policy(fields, "RedrivePolicy")?, policy(fields, "RedriveAllowPolicy")?);
        Ok(Self {
            id: id.to_owned(),
            place,
            name,
            arn,
            url,
            queue_name: fields.text("QueueName")?,
            fifo_queue: fields.boolean("FifoQueue")?,
            numbers,
            others,
            redrive: redrive.map(|value| Redrive::read(fields.of, &value)).transpose()?,
            redrive_allow: allow.map(|value| RedriveAllow::read(fields.of, &value)).transpose()?,
        })
    }

    /// Returns whether the template declares a FIFO queue.
    pub fn is_fifo(&self) -> bool {
        self.fifo_queue.as_ref().and_then(Setting::known).copied().unwrap_or(false)
    }

    /// Returns `KmsMasterKeyId`, if it is set.
    pub fn kms_key(&self) -> Option<&Setting<String>> {
        self.others.get("KmsMasterKeyId")
    }

    /// Returns a number or its default, or `None` if the value is unknown.
    pub fn number(&self, attribute: &str) -> Option<i64> {
        match self.numbers.get(attribute) {
            Some(setting) => setting.known().copied(),
            None => NumberAttribute::named(attribute).map(NumberAttribute::default),
        }
    }

    /// Returns the place of a number, or of the queue if the number is not set.
    pub fn place_of(&self, attribute: &str) -> Place {
        self.numbers.get(attribute).map_or(self.place, |setting| setting.place)
    }

    /// Returns the attributes for CreateQueue and SetQueueAttributes. An unknown value is an error.
    pub fn attributes(&self) -> Result<BTreeMap<&'static str, String>, Problem> {
        let mut attributes = BTreeMap::new();
        for (&attribute, setting) in &self.numbers {
            attributes.insert(attribute, setting.need(&self.what(attribute))?.to_string());
        }
        for (&attribute, setting) in &self.others {
            attributes.insert(attribute, setting.need(&self.what(attribute))?.clone());
        }
        // SQS refuses `FifoQueue: false`, so a standard queue has no such attribute.
        if let Some(setting) = &self.fifo_queue
            && *setting.need(&self.what("FifoQueue"))?
        {
            attributes.insert("FifoQueue", "true".to_owned());
        }
        if let Some(redrive) = &self.redrive {
            attributes.insert("RedrivePolicy", redrive.json(&self.what("RedrivePolicy"))?);
        }
        if let Some(allow) = &self.redrive_allow {
            attributes.insert("RedriveAllowPolicy", allow.json(&self.what("RedriveAllowPolicy"))?);
        }
        Ok(attributes)
    }

    fn what(&self, attribute: &str) -> String {
        format!("`{attribute}` of the queue `{}`", self.id)
    }
}

/// Returns a policy, which is a map or JSON in a text. A policy that is unknown as a whole stays unknown.
fn policy(fields: &Fields<'_>, key: &str) -> Result<Option<Value>, Problem> {
    let Some(value) = fields.map_or_text(key)? else { return Ok(None) };
    let Data::Text(text) = &value.data else { return Ok(Some(value.clone())) };
    let node = yaml::read(text).map_err(|problem| {
        Problem::new(value.place, format!("`{key}` of {} is a text but not JSON: {}", fields.of, problem.text))
    })?;
    Ok(Some(Value::written(&node, value.place)))
}

impl Redrive {
    fn read(of: &str, value: &Value) -> Result<Self, Problem> {
        let fields = Fields::of(of, value)?;
        let target = match (fields.text("deadLetterTargetArn")?, fields.unknown()) {
            (Some(target), _) => target,
            (None, Some(why)) => Setting { place: value.place, value: Err(why.clone()) },
            (None, None) => {
                let problem =
                    format!("the `RedrivePolicy` of {of} has no `deadLetterTargetArn`; set it to a queue's ARN");
                return Err(Problem::new(value.place, problem));
            }
        };
        Ok(Self { target, max_receive_count: fields.integer("maxReceiveCount")? })
    }

    fn json(&self, what: &str) -> Result<String, Problem> {
        let target = self.target.need(what)?;
        let count = self.max_receive_count.as_ref().map(|count| count.need(what)).transpose()?;
        // The default of SQS.
        let count = count.copied().unwrap_or(10);
        Ok(serde_json::json!({ "deadLetterTargetArn": target, "maxReceiveCount": count }).to_string())
    }
}

impl RedriveAllow {
    fn read(of: &str, value: &Value) -> Result<Self, Problem> {
        let fields = Fields::of(of, value)?;
        let permission = match (fields.text("redrivePermission")?, fields.unknown()) {
            (Some(permission), _) => permission,
            (None, Some(why)) => Setting { place: value.place, value: Err(why.clone()) },
            (None, None) => Setting { place: value.place, value: Ok("allowAll".to_owned()) },
        };
        Ok(Self { permission, sources: fields.texts("sourceQueueArns")? })
    }

    fn json(&self, what: &str) -> Result<String, Problem> {
        let mut policy = serde_json::json!({ "redrivePermission": self.permission.need(what)? });
        if let Some(sources) = &self.sources {
            let arns = sources.need(what)?.iter().map(|source| source.need(what).cloned());
            policy["sourceQueueArns"] = arns.collect::<Result<Vec<_>, _>>()?.into();
        }
        Ok(policy.to_string())
    }
}
