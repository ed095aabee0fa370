//! AddPermission and RemovePermission. They are kept and shown as the queue's policy, and not enforced: everybody here is
//! the owner.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::json;

use super::account::Account;
use super::error::{Code, SqsError};
use super::settle::Nothing;
use super::time::Time;

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct AddPermission {
    queue_url: String,
    label: String,
    #[serde(rename = "AWSAccountIds")]
    aws_account_ids: Vec<String>,
    actions: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct RemovePermission {
    queue_url: String,
    label: String,
}

/// Statements by their label.
#[derive(Debug, Default)]
pub(crate) struct Permissions(BTreeMap<String, Permission>);

#[derive(Debug)]
struct Permission {
    account_ids: Vec<String>,
    actions: Vec<String>,
}

const MAX_ACTIONS: usize = 7;
/// What may be given to others: <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_AddPermission.html>.
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
    pub(crate) fn add_permission(&mut self, request: AddPermission, now: Time) -> Result<Nothing, SqsError> {
        let AddPermission { queue_url, label, aws_account_ids: account_ids, actions } = request;
        let queue = self.queue(&queue_url, now)?;
        for (name, missing) in
            [("Label", label.is_empty()), ("AWSAccountIds", account_ids.is_empty()), ("Actions", actions.is_empty())]
        {
            if missing {
                return Err(SqsError::missing(name));
            }
        }
        if actions.len() > MAX_ACTIONS {
            let message = format!("{} Actions were found, maximum allowed is {MAX_ACTIONS}.", actions.len());
            return Err(SqsError::new(Code::OverLimit, message));
        }
        if let Some(unknown) = actions.iter().find(|action| !ACTIONS.contains(&action.as_str())) {
            return Err(SqsError::parameter(
                "ActionName",
                unknown,
                "Only the queue owner is allowed to invoke this action.",
            ));
        }
        if queue.permissions.0.contains_key(&label) {
            return Err(SqsError::parameter("Label", &label, "Already exists."));
        }
        queue.permissions.0.insert(label, Permission { account_ids, actions });
        Ok(Nothing {})
    }

    pub(crate) fn remove_permission(&mut self, request: RemovePermission, now: Time) -> Result<Nothing, SqsError> {
        let queue = self.queue(&request.queue_url, now)?;
        match queue.permissions.0.remove(&request.label) {
            Some(_) => Ok(Nothing {}),
            None => Err(SqsError::parameter("Label", request.label, "Does not exist.")),
        }
    }
}

impl Permissions {
    /// The policy that says the same, if there are any.
    pub(crate) fn to_policy(&self, arn: &str) -> Option<String> {
        let statements = self.0.iter().map(|(label, permission)| {
            let principals = permission.account_ids.iter().map(|id| format!("arn:aws:iam::{id}:root"));
            let actions = permission.actions.iter().map(|action| format!("SQS:{action}"));
            json!({
                "Sid": label,
                "Effect": "Allow",
                "Principal": {"AWS": principals.collect::<Vec<_>>()},
                "Action": actions.collect::<Vec<_>>(),
                "Resource": arn,
            })
        });
        let statements: Vec<_> = statements.collect();
        let policy = json!({"Version": "2008-10-17", "Id": format!("{arn}/SQSDefaultPolicy"), "Statement": statements});
        (!statements.is_empty()).then(|| policy.to_string())
    }
}
