//! Models the attributes of a queue that a caller can set.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::error::{Code, SqsError};
use super::message::MAX_MESSAGE_BYTES;
use super::number_attribute::NumberAttribute;

/// The settings of a queue, with AWS's
/// [defaults and ranges](https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SetQueueAttributes.html).
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Settings {
    pub visibility_timeout: Duration,
    pub retention: Duration,
    pub delay: Duration,
    pub receive_wait: Duration,
    pub max_message_bytes: usize,
    pub redrive: Option<RedrivePolicy>,
    pub redrive_allow: Option<RedriveAllowPolicy>,
    /// The settings that only FIFO queues have.
    pub fifo: Option<FifoSettings>,
    /// Attributes without an effect in this implementation: policies and encryption.
    inert: BTreeMap<&'static str, String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct FifoSettings {
    pub content_based_deduplication: bool,
    /// Whether ids are compared within a group. By default they are compared within the queue.
    pub deduplicates_by_group: bool,
    /// Stored only, because this implementation enforces no throughput quotas.
    throughput_by_group: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RedrivePolicy {
    #[serde(rename = "deadLetterTargetArn")]
    pub target_arn: String,
    #[serde(deserialize_with = "number_or_text")]
    pub max_receive_count: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RedriveAllowPolicy {
    redrive_permission: RedrivePermission,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    source_queue_arns: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum RedrivePermission {
    AllowAll,
    DenyAll,
    ByQueue,
}

/// Reads a number or a text, because policies and templates write both.
fn number_or_text<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum NumberOrText {
        Number(u32),
        Text(String),
    }
    match NumberOrText::deserialize(deserializer)? {
        NumberOrText::Number(number) => Ok(number),
        NumberOrText::Text(text) => text.parse().map_err(serde::de::Error::custom),
    }
}

impl RedriveAllowPolicy {
    pub(super) fn allows(&self, source_arn: &str) -> bool {
        match self.redrive_permission {
            RedrivePermission::AllowAll => true,
            RedrivePermission::DenyAll => false,
            RedrivePermission::ByQueue => self.source_queue_arns.iter().any(|arn| arn == source_arn),
        }
    }
}

pub(super) const FIFO_QUEUE: &str = "FifoQueue";

/// Attributes that are stored and returned without an effect.
const INERT: [&str; 3] = [KMS_KEY, "Policy", SQS_MANAGED];
const KMS_KEY: &str = "KmsMasterKeyId";
const KMS_KEY_REUSE: &str = NumberAttribute::KmsDataKeyReusePeriodSeconds.name();
const SQS_MANAGED: &str = "SqsManagedSseEnabled";

const MAX_SOURCE_ARNS: usize = 10;
const MAX_RECEIVE_COUNT: RangeInclusive<u32> = 1..=1_000;

impl Settings {
    /// Returns the defaults.
    pub(super) fn new(fifo: bool) -> Self {
        Self {
            visibility_timeout: NumberAttribute::VisibilityTimeout.default_time(),
            retention: NumberAttribute::MessageRetentionPeriod.default_time(),
            delay: NumberAttribute::DelaySeconds.default_time(),
            receive_wait: NumberAttribute::ReceiveMessageWaitTimeSeconds.default_time(),
            max_message_bytes: MAX_MESSAGE_BYTES,
            redrive: None,
            redrive_allow: None,
            fifo: fifo.then(FifoSettings::default),
            inert: BTreeMap::from([(SQS_MANAGED, "true".to_owned())]),
        }
    }

    /// Returns the settings with these attributes changed. An invalid attribute leaves all unchanged.
    pub(super) fn with(&self, attributes: &BTreeMap<String, String>) -> Result<Self, SqsError> {
        let mut changed = self.clone();
        attributes.iter().try_for_each(|(name, value)| changed.set(name, value))?;
        if changed.fifo.is_some_and(|fifo| fifo.throughput_by_group && !fifo.deduplicates_by_group) {
            let reason = "perMessageGroupId needs a DeduplicationScope of messageGroup.";
            return Err(SqsError::attribute("FifoThroughputLimit", reason));
        }
        changed.choose_encryption(attributes)?;
        Ok(changed)
    }

    /// Returns the first of these attributes whose value differs from the setting.
    pub(super) fn first_that_differs<'a>(
        &self,
        attributes: &'a BTreeMap<String, String>,
    ) -> Result<Option<&'a str>, SqsError> {
        let (own, others) = (self.to_attributes(), self.with(attributes)?.to_attributes());
        let mut names = attributes.keys().map(String::as_str);
        Ok(names.find(|name| own.get(name) != others.get(name)))
    }

    /// Applies the choice of encryption. AWS allows a KMS key or an SQS-managed key, but not both.
    fn choose_encryption(&mut self, changed: &BTreeMap<String, String>) -> Result<(), SqsError> {
        if !self.inert.contains_key(KMS_KEY) {
            return Ok(());
        }
        if changed.contains_key(SQS_MANAGED) && self.inert.get(SQS_MANAGED).is_some_and(|enabled| enabled == "true") {
            let message = "You can use one type of server-side encryption (SSE) at one time. You can either enable KMS \
                           SSE or SQS SSE.";
            return Err(SqsError::new(Code::InvalidAttributeValue, message));
        }
        self.inert.insert(SQS_MANAGED, "false".to_owned());
        Ok(())
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), SqsError> {
        if let Some(attribute) = NumberAttribute::named(name) {
            return self.set_number(attribute, value);
        }
        match name {
            "RedrivePolicy" => self.redrive = redrive_policy(value)?,
            "RedriveAllowPolicy" => self.redrive_allow = redrive_allow_policy(value)?,
            FIFO_QUEUE => self.check_fifo(value)?,
            "ContentBasedDeduplication" => {
                self.fifo(name)?.content_based_deduplication = boolean(name, value)?;
            }
            "DeduplicationScope" => {
                self.fifo(name)?.deduplicates_by_group = one_of(name, value, ["queue", "messageGroup"])?;
            }
            "FifoThroughputLimit" => {
                self.fifo(name)?.throughput_by_group = one_of(name, value, ["perQueue", "perMessageGroupId"])?;
            }
            _ => self.set_inert(name, value)?,
        }
        Ok(())
    }

    fn set_number(&mut self, attribute: NumberAttribute, value: &str) -> Result<(), SqsError> {
        let number = number(attribute, value)?;
        match attribute {
            NumberAttribute::DelaySeconds => self.delay = Duration::from_secs(number),
            NumberAttribute::KmsDataKeyReusePeriodSeconds => {
                self.inert.insert(KMS_KEY_REUSE, number.to_string());
            }
            NumberAttribute::MaximumMessageSize => {
                self.max_message_bytes = usize::try_from(number).unwrap_or(MAX_MESSAGE_BYTES);
            }
            NumberAttribute::MessageRetentionPeriod => self.retention = Duration::from_secs(number),
            NumberAttribute::ReceiveMessageWaitTimeSeconds => self.receive_wait = Duration::from_secs(number),
            NumberAttribute::VisibilityTimeout => self.visibility_timeout = Duration::from_secs(number),
        }
        Ok(())
    }

    fn check_fifo(&mut self, value: &str) -> Result<(), SqsError> {
        self.fifo(FIFO_QUEUE)?;
        match boolean(FIFO_QUEUE, value)? {
            true => Ok(()),
            false => Err(SqsError::attribute(FIFO_QUEUE, "Modifying queue type is not supported.")),
        }
    }

    fn fifo(&mut self, name: &str) -> Result<&mut FifoSettings, SqsError> {
        self.fifo.as_mut().ok_or_else(|| {
            let message = match name {
                "DeduplicationScope" | "FifoThroughputLimit" => {
                    format!("You can specify the {name} only when FifoQueue is set to true.")
                }
                _ => format!("Unknown Attribute {name}."),
            };
            SqsError::new(Code::InvalidAttributeName, message)
        })
    }

    fn set_inert(&mut self, name: &str, value: &str) -> Result<(), SqsError> {
        let Some(&name) = INERT.iter().find(|&&inert| inert == name) else {
            return Err(SqsError::new(Code::InvalidAttributeName, format!("Unknown Attribute {name}.")));
        };
        let value = match name {
            SQS_MANAGED => boolean(name, value)?.to_string(),
            "Policy" => {
                check_policy(value)?;
                value.to_owned()
            }
            _ => value.to_owned(),
        };
        if value.is_empty() {
            self.inert.remove(name);
        } else {
            self.inert.insert(name, value);
        }
        Ok(())
    }

    pub(super) fn policy(&self) -> Option<&str> {
        self.inert.get("Policy").map(String::as_str)
    }

    pub(super) fn set_policy(&mut self, policy: Option<String>) {
        match policy {
            Some(policy) => drop(self.inert.insert("Policy", policy)),
            None => drop(self.inert.remove("Policy")),
        }
    }

    /// Returns the attributes by name, in their wire form.
    pub(super) fn to_attributes(&self) -> BTreeMap<&'static str, String> {
        let mut attributes = self.inert.clone();
        if !attributes.contains_key(KMS_KEY) {
            attributes.remove(KMS_KEY_REUSE);
        }
        let seconds = |duration: Duration| duration.as_secs().to_string();
        attributes.extend([
            (NumberAttribute::VisibilityTimeout.name(), seconds(self.visibility_timeout)),
            (NumberAttribute::MessageRetentionPeriod.name(), seconds(self.retention)),
            (NumberAttribute::DelaySeconds.name(), seconds(self.delay)),
            (NumberAttribute::ReceiveMessageWaitTimeSeconds.name(), seconds(self.receive_wait)),
            (NumberAttribute::MaximumMessageSize.name(), self.max_message_bytes.to_string()),
        ]);
        attributes.extend(self.redrive.as_ref().map(|policy| ("RedrivePolicy", to_json(policy))));
        attributes.extend(self.redrive_allow.as_ref().map(|policy| ("RedriveAllowPolicy", to_json(policy))));
        if let Some(fifo) = self.fifo {
            let scope = if fifo.deduplicates_by_group { "messageGroup" } else { "queue" };
            let limit = if fifo.throughput_by_group { "perMessageGroupId" } else { "perQueue" };
            attributes.extend([
                (FIFO_QUEUE, "true".to_owned()),
                ("ContentBasedDeduplication", fifo.content_based_deduplication.to_string()),
                ("DeduplicationScope", scope.to_owned()),
                ("FifoThroughputLimit", limit.to_owned()),
            ]);
        }
        attributes
    }
}

fn number(attribute: NumberAttribute, value: &str) -> Result<u64, SqsError> {
    let range = attribute.range();
    let reason = || format!("{value:?} is not a whole number from {} to {}.", range.start(), range.end());
    let number = value.parse::<u64>().ok().filter(|&number| i64::try_from(number).is_ok_and(|it| range.contains(&it)));
    number.ok_or_else(|| SqsError::attribute(attribute.name(), &reason()))
}

/// Reads a boolean in any case, because Python writes "True".
fn boolean(name: &str, value: &str) -> Result<bool, SqsError> {
    one_of(name, &value.to_ascii_lowercase(), ["false", "true"])
}

/// Returns whether the value is the second of the two.
fn one_of(name: &str, value: &str, [no, yes]: [&str; 2]) -> Result<bool, SqsError> {
    match value {
        _ if value == yes => Ok(true),
        _ if value == no => Ok(false),
        _ => Err(SqsError::attribute(name, &format!("{value:?} is neither {no} nor {yes}."))),
    }
}

/// Checks a policy. An empty text removes it.
fn check_policy(value: &str) -> Result<(), SqsError> {
    match serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(value) {
        Err(error) if !value.is_empty() => Err(SqsError::attribute("Policy", &format!("{error}."))),
        _ => Ok(()),
    }
}

/// Reads a RedrivePolicy. An empty text removes it.
fn redrive_policy(value: &str) -> Result<Option<RedrivePolicy>, SqsError> {
    if value.is_empty() {
        return Ok(None);
    }
    let invalid = |reason: String| SqsError::attribute("RedrivePolicy", &reason);
    let policy: RedrivePolicy = serde_json::from_str(value).map_err(|error| invalid(format!("{error}.")))?;
    if !MAX_RECEIVE_COUNT.contains(&policy.max_receive_count) {
        return Err(invalid(format!("maxReceiveCount is {}; it should be 1 to 1000.", policy.max_receive_count)));
    }
    Ok(Some(policy))
}

fn redrive_allow_policy(value: &str) -> Result<Option<RedriveAllowPolicy>, SqsError> {
    if value.is_empty() {
        return Ok(None);
    }
    let invalid = |reason: &str| SqsError::attribute("RedriveAllowPolicy", reason);
    let policy: RedriveAllowPolicy = serde_json::from_str(value).map_err(|error| invalid(&format!("{error}.")))?;
    let sources = policy.source_queue_arns.len();
    match policy.redrive_permission {
        RedrivePermission::ByQueue if sources == 0 || sources > MAX_SOURCE_ARNS => {
            Err(invalid("byQueue needs 1 to 10 sourceQueueArns."))
        }
        RedrivePermission::AllowAll | RedrivePermission::DenyAll if sources > 0 => {
            Err(invalid("sourceQueueArns are for byQueue only."))
        }
        _ => Ok(Some(policy)),
    }
}

fn to_json(policy: &impl Serialize) -> String {
    // The policy contains only texts and numbers, so serializing cannot fail.
    serde_json::to_string(policy).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(fifo: bool, attributes: &[(&str, &str)]) -> Result<Settings, SqsError> {
        let attributes = attributes.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        Settings::new(fifo).with(&attributes)
    }

    #[test]
    fn bounds_of_each_range_are_accepted_and_values_outside_are_refused() {
        let ranges = [
            ("VisibilityTimeout", 0, 43_200),
            ("MessageRetentionPeriod", 60, 1_209_600),
            ("DelaySeconds", 0, 900),
            ("ReceiveMessageWaitTimeSeconds", 0, 20),
            ("MaximumMessageSize", 1_024, 1_048_576),
            ("KmsDataKeyReusePeriodSeconds", 60, 86_400),
        ];
        for (name, least, most) in ranges {
            for good in [least, most] {
                let value = good.to_string();
                let settings = set(false, &[(name, &value), ("KmsMasterKeyId", "alias/orders")]).unwrap();
                assert_eq!(settings.to_attributes()[name], value, "{name}");
            }
            for bad in [least - 1, most + 1] {
                let error = set(false, &[(name, &bad.to_string())]).unwrap_err();
                assert_eq!(error.code, Code::InvalidAttributeValue, "{name} {bad}");
            }
        }
        assert_eq!(set(false, &[("DelaySeconds", "1.5")]).unwrap_err().code, Code::InvalidAttributeValue);
    }

    #[test]
    fn redrive_policy_is_read_with_a_number_or_a_text_and_written_in_one_form() {
        let arn = "arn:aws:sqs:us-east-1:000000000000:dlq";
        for count in ["5", "\"5\""] {
            let json = format!(r#"{{"deadLetterTargetArn": "{arn}", "maxReceiveCount": {count}}}"#);
            let settings = set(false, &[("RedrivePolicy", &json)]).unwrap();
            let expected = format!(r#"{{"deadLetterTargetArn":"{arn}","maxReceiveCount":5}}"#);
            assert_eq!(settings.to_attributes()["RedrivePolicy"], expected);
        }
        for bad in [r#"{"maxReceiveCount": 1}"#, r#"{"deadLetterTargetArn": "a", "maxReceiveCount": 0}"#, "5"] {
            assert_eq!(set(false, &[("RedrivePolicy", bad)]).unwrap_err().code, Code::InvalidAttributeValue, "{bad}");
        }
        assert_eq!(set(false, &[("RedrivePolicy", "")]).unwrap().redrive, None);
    }

    #[test]
    fn redrive_allow_policy_decides_which_queues_are_allowed() {
        let allow =
            |json: &str| set(false, &[("RedriveAllowPolicy", json)]).map(|settings| settings.redrive_allow.unwrap());
        assert!(allow(r#"{"redrivePermission": "allowAll"}"#).unwrap().allows("a"));
        assert!(!allow(r#"{"redrivePermission": "denyAll"}"#).unwrap().allows("a"));
        let by_queue = allow(r#"{"redrivePermission": "byQueue", "sourceQueueArns": ["a"]}"#).unwrap();
        assert!(by_queue.allows("a") && !by_queue.allows("b"));
        assert!(allow(r#"{"redrivePermission": "byQueue"}"#).is_err());
        assert!(allow(r#"{"redrivePermission": "denyAll", "sourceQueueArns": ["a"]}"#).is_err());
    }

    #[test]
    fn fifo_attributes_are_refused_on_standard_queues() {
        for (name, value) in [
            ("ContentBasedDeduplication", "true"),
            ("DeduplicationScope", "queue"),
            ("FifoThroughputLimit", "perQueue"),
        ] {
            assert_eq!(set(false, &[(name, value)]).unwrap_err().code, Code::InvalidAttributeName, "{name}");
            assert_eq!(set(true, &[(name, value)]).unwrap().to_attributes()[name], value);
            assert_eq!(set(true, &[(name, "x")]).unwrap_err().code, Code::InvalidAttributeValue, "{name}");
        }
        for value in ["true", "false", "x"] {
            let error = set(false, &[("FifoQueue", value)]).unwrap_err();
            let expected = (Code::InvalidAttributeName, "Unknown Attribute FifoQueue.");
            assert_eq!((error.code, error.message.as_str()), expected, "{value}");
        }
        let error = set(false, &[("DeduplicationScope", "queue")]).unwrap_err();
        assert_eq!(error.message, "You can specify the DeduplicationScope only when FifoQueue is set to true.");
        let error = set(true, &[("FifoQueue", "False")]).unwrap_err();
        let expected = "Invalid value for the parameter FifoQueue. Reason: Modifying queue type is not supported.";
        assert_eq!((error.code, error.message.as_str()), (Code::InvalidAttributeValue, expected));
        assert!(set(true, &[("FifoQueue", "true")]).is_ok());
        assert!(set(true, &[("FifoThroughputLimit", "perMessageGroupId")]).is_err());
        let high = [("FifoThroughputLimit", "perMessageGroupId"), ("DeduplicationScope", "messageGroup")];
        assert!(set(true, &high).is_ok());
    }

    #[test]
    fn booleans_are_read_in_any_case_and_returned_in_lower_case() {
        for (name, of_fifo) in
            [("FifoQueue", true), ("ContentBasedDeduplication", true), ("SqsManagedSseEnabled", false)]
        {
            for value in ["true", "True", "TRUE", "tRuE"] {
                let settings = set(of_fifo, &[(name, value)]).unwrap();
                assert_eq!(settings.to_attributes()[name], "true", "{name} {value}");
            }
            for bad in ["", "yes", "1", " true"] {
                let error = set(of_fifo, &[(name, bad)]).unwrap_err();
                assert_eq!(error.code, Code::InvalidAttributeValue, "{name} {bad:?}");
            }
        }
        for value in ["false", "False", "FALSE"] {
            assert_eq!(set(true, &[("ContentBasedDeduplication", value)]).unwrap(), Settings::new(true));
            let settings = set(false, &[("SqsManagedSseEnabled", value)]).unwrap();
            assert_eq!(settings.to_attributes()["SqsManagedSseEnabled"], "false", "{value}");
        }
        // Other values have exactly one spelling.
        assert!(set(true, &[("DeduplicationScope", "MessageGroup")]).is_err());
    }

    #[test]
    fn queue_takes_only_one_kind_of_encryption() {
        let shown = |settings: &Settings| {
            let attributes = settings.to_attributes();
            [SQS_MANAGED, KMS_KEY, KMS_KEY_REUSE].map(|name| attributes.get(name).cloned().unwrap_or_default())
        };
        assert_eq!(shown(&set(false, &[(KMS_KEY_REUSE, "60")]).unwrap()), ["true", "", ""]);
        let with_key = set(false, &[(KMS_KEY_REUSE, "60"), (KMS_KEY, "k")]).unwrap();
        assert_eq!(shown(&with_key), ["false", "k", "60"]);
        assert!(set(false, &[(KMS_KEY, "k"), (SQS_MANAGED, "false")]).is_ok());
        let both = set(false, &[(KMS_KEY, "k"), (SQS_MANAGED, "True")]).unwrap_err();
        assert_eq!(both.code, Code::InvalidAttributeValue);
        assert!(both.message.starts_with("You can use one type of server-side encryption"), "{both}");
        let change = |settings: &Settings, attributes: &[(&str, &str)]| {
            settings.with(&attributes.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect())
        };
        assert!(change(&with_key, &[(SQS_MANAGED, "true")]).is_err());
        assert_eq!(shown(&change(&with_key, &[("DelaySeconds", "5")]).unwrap()), ["false", "k", "60"]);
        let back = change(&with_key, &[(KMS_KEY, ""), (SQS_MANAGED, "true")]).unwrap();
        assert_eq!(shown(&back), ["true", "", ""]);
    }

    #[test]
    fn one_invalid_attribute_leaves_all_attributes_unchanged() {
        let error = set(false, &[("DelaySeconds", "5"), ("Nonsense", "1")]).unwrap_err();
        assert_eq!(error.code, Code::InvalidAttributeName);
    }
}
