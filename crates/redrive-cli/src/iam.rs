//! `redrive iam`.

mod key;

use clap::Args;
use redrive_local::template::{Queue, Setting};
use serde_json::{Map, Value, json};

use super::Done;
use super::input::TemplateArguments;

/// Print the policies that the producers, the outbox relays and the consumers of each queue need, and no more
#[derive(Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    template: TemplateArguments,
    /// Let producers look up the queue's URL by its name
    #[arg(long)]
    queue_url: bool,
    /// Let consumers delay messages and send dead letters themselves: see `redrive::Effects`
    #[arg(long)]
    effects: bool,
    /// Let producers write the bodies of large messages to this bucket, and consumers read them, under that prefix alone if one is given:
    /// see `redrive::LargeMessages`
    #[arg(long, value_name = "BUCKET[/PREFIX]")]
    large_messages: Option<String>,
    /// Write ARNs of this account, in place of the `Fn::GetAtt` that a template wants
    #[arg(long, value_name = "ID", requires = "region", value_parser = account)]
    account: Option<String>,
}

pub(super) fn run(arguments: &Arguments) -> Result<Done, String> {
    let template = arguments.template.read(arguments.account.as_deref())?;
    if template.queues.is_empty() {
        return Err(format!("there is no queue in {} to write a policy for", template.file));
    }
    let policies: Map<_, _> =
        template.queues.iter().map(|queue| (queue.id.clone(), policies(queue, &template.queues, arguments))).collect();
    Ok(Done { output: format!("{:#}\n", Value::Object(policies)), is_good: true })
}

/// Those of all that have to do with the queue.
fn policies(queue: &Queue, queues: &[Queue], arguments: &Arguments) -> Value {
    let resource = resource(queue, arguments);
    let mut producer = vec![allow(&producer_actions(arguments.queue_url), &resource)];
    producer.extend(key::allowed(&key::SEND, queue, arguments));
    // A relay sends what others have written: it needs what a producer does, and they then need nothing. The bodies that are in a bucket
    // were put there before.
    let relay = policy(producer.clone());
    let mut consumer = vec![allow(&consumer_actions(arguments.effects), &resource)];
    consumer.extend(key::allowed(&key::RECEIVE, queue, arguments));
    if arguments.effects {
        consumer.extend(to_dead_letter_queue(queue, queues, arguments));
    }
    if let Some(bucket) = &arguments.large_messages {
        let objects = objects(bucket, queue, arguments);
        producer.push(allow(&["s3:PutObject"], &objects));
        consumer.push(allow(&["s3:GetObject"], &objects));
    }
    json!({ "producer": policy(producer), "relay": relay, "consumer": policy(consumer) })
}

/// All objects of the bucket, or those under a prefix, in the partition that the queue is in.
fn objects(bucket: &str, queue: &Queue, arguments: &Arguments) -> Value {
    let objects = if bucket.contains('/') { format!("{bucket}*") } else { format!("{bucket}/*") };
    let partition = queue.arn.split(':').nth(1).filter(|_| arguments.account.is_some());
    match partition {
        Some(partition) => json!(format!("arn:{partition}:s3:::{objects}")),
        None => json!({ "Fn::Sub": format!("arn:${{AWS::Partition}}:s3:::{objects}") }),
    }
}

fn resource(queue: &Queue, arguments: &Arguments) -> Value {
    match arguments.account {
        Some(_) => json!(deployed_arn(queue, &arguments.template.stack_name)),
        None => json!({ "Fn::GetAtt": [queue.id, "Arn"] }),
    }
}

/// What it takes to send where the queue's dead letters go, if it says so.
fn to_dead_letter_queue(queue: &Queue, queues: &[Queue], arguments: &Arguments) -> Vec<Value> {
    let Some(arn) = queue.redrive.as_ref().and_then(|redrive| redrive.target.known()) else { return Vec::new() };
    let ours = queues.iter().find(|each| each.arn == *arn);
    let arn = ours.map_or_else(|| json!(arn), |queue| resource(queue, arguments));
    let key = ours.and_then(|queue| key::allowed(&key::SEND, queue, arguments));
    [allow(&DEAD_LETTER_ACTIONS, &arn)].into_iter().chain(key).collect()
}

/// There are no batch actions in IAM: these allow the batch calls too. Lambda makes no mapping without the last one.
const CONSUMER_ACTIONS: [&str; 4] =
    ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility", "sqs:GetQueueAttributes"];
/// A record names its queue by the ARN, and calls go to its URL.
const LOOK_UP: &str = "sqs:GetQueueUrl";
const DEAD_LETTER_ACTIONS: [&str; 2] = ["sqs:SendMessage", LOOK_UP];

fn consumer_actions(effects: bool) -> Vec<&'static str> {
    CONSUMER_ACTIONS.into_iter().chain(effects.then_some(LOOK_UP)).collect()
}

fn producer_actions(queue_url: bool) -> Vec<&'static str> {
    ["sqs:SendMessage"].into_iter().chain(queue_url.then_some(LOOK_UP)).collect()
}

fn policy(statements: Vec<Value>) -> Value {
    json!({ "Version": "2012-10-17", "Statement": statements })
}

fn allow(actions: &[&str], resource: &Value) -> Value {
    json!({ "Effect": "Allow", "Action": actions, "Resource": resource })
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
