//! `redrive iam`.

use clap::Args;
use serde_json::{Map, Value, json};

use super::Done;
use super::input::TemplateArguments;
use crate::local::template::{Queue, Setting};

/// Print the policies that the producers and consumers of each queue need, and no more
#[derive(Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    template: TemplateArguments,
    /// Let producers look up the queue's URL by its name
    #[arg(long)]
    queue_url: bool,
    /// Write ARNs of this account, in place of the `Fn::GetAtt` that a template wants
    #[arg(long, value_name = "ID", requires = "region", value_parser = account)]
    account: Option<String>,
}

pub(super) fn run(arguments: &Arguments) -> Result<Done, String> {
    let template = arguments.template.read(arguments.account.as_deref())?;
    if template.queues.is_empty() {
        return Err(format!("there is no queue in {} to write a policy for", template.file));
    }
    let mut policies = Map::new();
    for queue in &template.queues {
        let resource = match arguments.account {
            Some(_) => json!(deployed_arn(queue, &arguments.template.stack_name)),
            None => json!({ "Fn::GetAtt": [queue.id, "Arn"] }),
        };
        let producer = policy(&producer_actions(arguments.queue_url), &resource);
        let consumer = policy(&CONSUMER_ACTIONS, &resource);
        policies.insert(queue.id.clone(), json!({ "producer": producer, "consumer": consumer }));
    }
    Ok(Done { output: format!("{:#}\n", Value::Object(policies)), is_good: true })
}

/// There are no batch actions in IAM: these allow the batch calls too. Lambda makes no mapping without the last one.
const CONSUMER_ACTIONS: [&str; 4] =
    ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility", "sqs:GetQueueAttributes"];

fn producer_actions(queue_url: bool) -> Vec<&'static str> {
    let look_up = queue_url.then_some("sqs:GetQueueUrl");
    ["sqs:SendMessage"].into_iter().chain(look_up).collect()
}

fn policy(actions: &[&str], resource: &Value) -> Value {
    json!({
        "Version": "2012-10-17",
        "Statement": [{ "Effect": "Allow", "Action": actions, "Resource": resource }],
    })
}

/// The ARN that a deployment gives. To a queue without a name of its own it gives one that begins with the stack's and
/// the resource's, and ends in something random.
fn deployed_arn(queue: &Queue, stack_name: &str) -> String {
    if queue.queue_name.as_ref().and_then(Setting::known).is_some() {
        return queue.arn.clone();
    }
    let suffix = if queue.is_fifo() { ".fifo" } else { "" };
    let before = queue.arn.strip_suffix(queue.name.as_str()).unwrap_or(&queue.arn);
    format!("{before}{stack_name}-{}-*{suffix}", queue.id)
}

fn account(argument: &str) -> Result<String, String> {
    if argument.len() == 12 && argument.bytes().all(|byte| byte.is_ascii_digit()) {
        Ok(argument.to_owned())
    } else {
        Err("an account has 12 digits".to_owned())
    }
}
