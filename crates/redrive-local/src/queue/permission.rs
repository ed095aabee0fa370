//! Implements AddPermission and RemovePermission. Both change the queue's policy. Nothing enforces the policy: every
//! caller is the owner.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::account::{Account, Queue};
use super::batch::is_id;
use super::error::{Code, SqsError};
use super::settle::Nothing;
use super::time::Time;

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct AddPermission {
    queue_url: String,
    label: String,
    #[serde(rename = "AWSAccountIds")]
    aws_account_ids: Vec<String>,
    actions: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct RemovePermission {
    queue_url: String,
    label: String,
}

const MAX_ACTIONS: usize = 7;
/// The actions that a policy can grant:
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_AddPermission.html>.
const ACTIONS: [&str; 7] = [
    "*",
    "ChangeMessageVisibility",
    "DeleteMessage",
    "GetQueueAttributes",
    "GetQueueUrl",
    "ReceiveMessage",
    "SendMessage",
];

impl Account {
    pub fn add_permission(&mut self, request: AddPermission, now: Time) -> Result<Nothing, SqsError> {
        let queue = self.queue(&request.queue_url, now)?;
        request.check()?;
        let label = request.label;
        let mut policy = QueuePolicy::of(queue);
        if policy.statements.iter().any(|statement| statement["Sid"] == *label) {
            return Err(SqsError::parameter("Label", &label, "Already exists."));
        }
        policy.statements.push(statement(&queue.arn, &label, &request.aws_account_ids, &request.actions));
        queue.settings.set_policy(policy.into_text());
        Ok(Nothing {})
    }

    pub fn remove_permission(&mut self, request: RemovePermission, now: Time) -> Result<Nothing, SqsError> {
        let queue = self.queue(&request.queue_url, now)?;
        let mut policy = QueuePolicy::of(queue);
        let Some(labelled) = policy.statements.iter().position(|statement| statement["Sid"] == *request.label) else {
            return Err(SqsError::parameter("Label", request.label, "can't find label."));
        };
        policy.statements.remove(labelled);
        queue.settings.set_policy(policy.into_text());
        Ok(Nothing {})
    }
}

impl AddPermission {
    fn check(&self) -> Result<(), SqsError> {
        let given = [
            ("Label", !self.label.is_empty()),
            ("AWSAccountIds", !self.aws_account_ids.is_empty()),
            ("Actions", !self.actions.is_empty()),
        ];
        if let Some((missing, _)) = given.iter().find(|(_, is_given)| !is_given) {
            return Err(SqsError::missing(missing));
        }
        if !is_id(&self.label) {
            let reason = "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length.";
            return Err(SqsError::parameter("Label", &self.label, reason));
        }
        if self.actions.len() > MAX_ACTIONS {
            let message = format!("{} Actions were found, maximum allowed is {MAX_ACTIONS}.", self.actions.len());
            return Err(SqsError::new(Code::OverLimit, message));
        }
        if let Some(unknown) = self.actions.iter().find(|action| !ACTIONS.contains(&action.as_str())) {
            let reason = "Only the queue owner is allowed to invoke this action.";
            return Err(SqsError::parameter("ActionName", format_args!("SQS:{unknown}"), reason));
        }
        Ok(())
    }
}

/// A queue's policy. The owner, these two calls, or both may have written it.
struct QueuePolicy {
    statements: Vec<Value>,
    /// Everything except the statements.
    rest: Map<String, Value>,
}

impl QueuePolicy {
    fn of(queue: &Queue) -> Self {
        let written = queue.settings.policy().and_then(|text| serde_json::from_str(text).ok());
        let mut rest: Map<_, _> = written.unwrap_or_else(|| {
            let id = format!("{}/SQSDefaultPolicy", queue.arn);
            Map::from_iter([("Version".to_owned(), json!("2008-10-17")), ("Id".to_owned(), json!(id))])
        });
        let statements = match rest.remove("Statement") {
            Some(Value::Array(statements)) => statements,
            // A policy may contain a single statement without a list.
            Some(statement) => vec![statement],
            None => Vec::new(),
        };
        Self { statements, rest }
    }

    /// Returns nothing for a policy without statements.
    fn into_text(mut self) -> Option<String> {
        let says_something = !self.statements.is_empty();
        self.rest.insert("Statement".to_owned(), self.statements.into());
        says_something.then(|| Value::from(self.rest).to_string())
    }
}

fn statement(arn: &str, label: &str, account_ids: &[String], actions: &[String]) -> Value {
    let partition = arn.split(':').nth(1).unwrap_or("aws");
    let principals = one_or_more(account_ids.iter().map(|id| format!("arn:{partition}:iam::{id}:root")));
    let actions = one_or_more(actions.iter().map(|action| format!("SQS:{action}")));
    json!({"Sid": label, "Effect": "Allow", "Principal": {"AWS": principals}, "Action": actions, "Resource": arn})
}

/// Returns a list, or the text itself if there is only one.
fn one_or_more(texts: impl Iterator<Item = String>) -> Value {
    let mut texts: Vec<_> = texts.map(Value::from).collect();
    if texts.len() == 1 { texts.remove(0) } else { texts.into() }
}
