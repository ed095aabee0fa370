//! Compares the wanted settings of a queue with its actual ones.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_sqs::types::QueueAttributeName as Name;
use serde_json::Value;

/// The wanted settings of a queue.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) name: String,
    pub(super) attributes: BTreeMap<&'static str, String>,
}

impl Wanted {
    pub(super) fn new(name: String) -> Self {
        let is_fifo = name.ends_with(".fifo");
        let fifo = is_fifo.then(|| ("FifoQueue", "true".to_owned()));
        Self { name, attributes: fifo.into_iter().collect() }
    }

    pub(super) fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.attributes.insert(name, value.to_string());
        self
    }

    /// Describes each setting that differs. Other attributes are ignored.
    pub(super) fn differences(&self, found: &HashMap<Name, String>) -> Vec<String> {
        let differs = |(&name, wanted): (&&'static str, &String)| match found.get(&Name::from(name)) {
            Some(found) if is_same(found, wanted) => None,
            Some(found) => Some(format!("its {name} is {found}, not {wanted}")),
            None => Some(format!("it has no {name}, which should be {wanted}")),
        };
        self.attributes.iter().filter_map(differs).collect()
    }
}

/// Returns whether two values are equal. Policies may differ in their JSON's form and in quotes around numbers.
fn is_same(found: &str, wanted: &str) -> bool {
    let policy = |text: &str| serde_json::from_str::<BTreeMap<String, Value>>(text).ok();
    match (policy(found), policy(wanted)) {
        (Some(found), Some(wanted)) => {
            let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let texts = |policy: BTreeMap<String, Value>| -> BTreeMap<String, String> {
                policy.iter().map(|(key, value)| (key.clone(), text(value))).collect()
            };
            texts(found) == texts(wanted)
        }
        _ => found == wanted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policy_is_equal_in_any_form() {
        let wanted = r#"{"deadLetterTargetArn":"a","maxReceiveCount":5}"#;
        assert!(is_same(r#"{ "maxReceiveCount": "5", "deadLetterTargetArn": "a" }"#, wanted));
        assert!(!is_same(r#"{"deadLetterTargetArn":"a","maxReceiveCount":6}"#, wanted));
        assert!(is_same("5", "5") && !is_same("5", "6"));
    }

    #[test]
    fn only_wanted_settings_are_compared() {
        let wanted = Wanted::new("orders.fifo".to_owned()).with("VisibilityTimeout", 60);
        let found = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter().map(|(name, value)| (Name::from(*name), (*value).to_owned()));
            wanted.differences(&pairs.collect())
        };
        assert!(found(&[("FifoQueue", "true"), ("VisibilityTimeout", "60"), ("DelaySeconds", "1")]).is_empty());
        assert_eq!(
            found(&[("VisibilityTimeout", "30")]),
            ["it has no FifoQueue, which should be true", "its VisibilityTimeout is 30, not 60"]
        );
    }
}
