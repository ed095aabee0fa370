//! What a queue is to be, and what another is in its place.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_sqs::types::QueueAttributeName as Name;
use serde_json::Value;

/// A queue that there is to be.
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

    /// What is not as wanted, in words; nothing where all is. Other attributes may be as they like.
    pub(super) fn differences(&self, found: &HashMap<Name, String>) -> Vec<String> {
        let differs = |(&name, wanted): (&&'static str, &String)| match found.get(&Name::from(name)) {
            Some(found) if is_same(found, wanted) => None,
            Some(found) => Some(format!("its {name} is {found}, not {wanted}")),
            None => Some(format!("it has no {name}, which is to be {wanted}")),
        };
        self.attributes.iter().filter_map(differs).collect()
    }
}

/// A policy is the same policy however its JSON is written, and whether its numbers are in quotes.
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
    fn a_policy_is_the_same_however_it_is_written() {
        let wanted = r#"{"deadLetterTargetArn":"a","maxReceiveCount":5}"#;
        assert!(is_same(r#"{ "maxReceiveCount": "5", "deadLetterTargetArn": "a" }"#, wanted));
        assert!(!is_same(r#"{"deadLetterTargetArn":"a","maxReceiveCount":6}"#, wanted));
        assert!(is_same("5", "5") && !is_same("5", "6"));
    }

    #[test]
    fn only_what_is_wanted_is_compared() {
        let wanted = Wanted::new("orders.fifo".to_owned()).with("VisibilityTimeout", 60);
        let found = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter().map(|(name, value)| (Name::from(*name), (*value).to_owned()));
            wanted.differences(&pairs.collect())
        };
        assert!(found(&[("FifoQueue", "true"), ("VisibilityTimeout", "60"), ("DelaySeconds", "1")]).is_empty());
        assert_eq!(
            found(&[("VisibilityTimeout", "30")]),
            ["it has no FifoQueue, which is to be true", "its VisibilityTimeout is 30, not 60"]
        );
    }
}
