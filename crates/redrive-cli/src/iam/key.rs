//! The permissions that a queue's KMS key requires.
//!
//! <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-key-management.html>

use redrive_local::template::QueueResource;
use serde_json::{Value, json};

use super::{Arguments, allow};

/// SQS generates a data key for each send, and decrypts it to verify it.
pub(super) const SEND: [&str; 2] = ["kms:GenerateDataKey", "kms:Decrypt"];
pub(super) const RECEIVE: [&str; 1] = ["kms:Decrypt"];

/// Allows these actions on the queue's key. The key that AWS manages for SQS needs no permission and accepts none: its
/// own policy allows everyone in the account who may use the queue. A queue without a KMS key needs none either.
pub(super) fn allowed(actions: &[&str], queue: &QueueResource, arguments: &Arguments) -> Option<Value> {
    let key = queue.kms_key()?;
    let Some(key) = key.known() else { return Some(any_through_sqs(actions, queue, arguments)) };
    let alias = key.find("alias/").map(|begin| &key[begin..]);
    match alias {
        _ if key.is_empty() => None,
        Some("alias/aws/sqs") => None,
        Some(alias) => Some(with_alias(actions, alias, queue, arguments)),
        None if key.starts_with("arn:") => Some(allow(actions, &json!(key))),
        None => Some(allow(actions, &keys(key, queue, arguments))),
    }
}

/// Allows the key by its alias, as a condition: a policy names keys by id, and an alias can move to another key.
fn with_alias(actions: &[&str], alias: &str, queue: &QueueResource, arguments: &Arguments) -> Value {
    let mut statement = allow(actions, &keys("*", queue, arguments));
    statement["Condition"] = json!({ "ForAnyValue:StringEquals": { "kms:ResourceAliases": alias } });
    statement
}

/// Allows any key that is used through SQS, because only the deployment determines the key.
fn any_through_sqs(actions: &[&str], queue: &QueueResource, arguments: &Arguments) -> Value {
    let mut statement = allow(actions, &keys("*", queue, arguments));
    let sqs = match arguments.account {
        Some(_) => json!(format!("sqs.{}.amazonaws.com", queue.arn.split(':').nth(3).unwrap_or_default())),
        None => json!({ "Fn::Sub": "sqs.${AWS::Region}.amazonaws.com" }),
    };
    statement["Condition"] = json!({ "StringEquals": { "kms:ViaService": sqs } });
    statement
}

/// Returns the ARN of keys in the queue's account and region.
fn keys(id: &str, queue: &QueueResource, arguments: &Arguments) -> Value {
    match (arguments.account.as_ref(), queue.arn.split(':').collect::<Vec<_>>().as_slice()) {
        (Some(_), [arn, partition, _, region, account, ..]) => {
            json!(format!("{arn}:{partition}:kms:{region}:{account}:key/{id}"))
        }
        _ => json!({ "Fn::Sub": format!("arn:${{AWS::Partition}}:kms:${{AWS::Region}}:${{AWS::AccountId}}:key/{id}") }),
    }
}
