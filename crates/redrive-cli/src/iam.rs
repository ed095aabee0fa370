//! `redrive iam`.

mod key;

use clap::Args;
use redrive_local::template::{QueueResource, Setting};
use serde_json::{Map, Value, json};

use super::Done;
use super::input::TemplateArguments;

/// Print the minimal policies for the producers, outbox relays and consumers of each queue
#[derive(Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    template: TemplateArguments,
    /// Let producers look up the queue's URL by its name
    #[arg(long)]
    queue_url: bool,
    /// Let consumers delay messages and send dead letters: see `redrive::Effects`
    #[arg(long)]
    effects: bool,
    /// Let producers write the bodies of large messages to this bucket, and consumers read them, limited to a prefix if
    /// one is given: see `redrive::LargeMessages`
    #[arg(long, value_name = "BUCKET[/PREFIX]")]
    large_messages: Option<String>,
    /// Write ARNs of this account instead of the `Fn::GetAtt` for a template
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

/// Returns the policies of all programs that use the queue.
fn policies(queue: &QueueResource, queues: &[QueueResource], arguments: &Arguments) -> Value {
    let resource = resource(queue, arguments);
    let mut producer = vec![allow(&producer_actions(arguments.queue_url), &resource)];
    producer.extend(key::allowed(&key::SEND, queue, arguments));
    // A relay sends messages that others have written. So it needs a producer's permissions, and the others need none.
    // Their bodies are in the bucket before.
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

/// Returns the ARN of all objects of the bucket, or of those under a prefix, in the queue's partition.
fn objects(bucket: &str, queue: &QueueResource, arguments: &Arguments) -> Value {
    let objects = if bucket.contains('/') { format!("{bucket}*") } else { format!("{bucket}/*") };
    let partition = queue.arn.split(':').nth(1).filter(|_| arguments.account.is_some());
    match partition {
        Some(partition) => json!(format!("arn:{partition}:s3:::{objects}")),
        None => json!({ "Fn::Sub": format!("arn:${{AWS::Partition}}:s3:::{objects}") }),
    }
}

fn resource(queue: &QueueResource, arguments: &Arguments) -> Value {
    match arguments.account {
        Some(_) => json!(deployed_arn(queue, &arguments.template.stack_name)),
        None => json!({ "Fn::GetAtt": [queue.id, "Arn"] }),
    }
}

/// Returns the permissions for sending to the queue's dead-letter queue, if it names one.
fn to_dead_letter_queue(queue: &QueueResource, queues: &[QueueResource], arguments: &Arguments) -> Vec<Value> {
    let Some(arn) = queue.redrive.as_ref().and_then(|redrive| redrive.target.known()) else { return Vec::new() };
    let ours = queues.iter().find(|each| each.arn == *arn);
    let arn = ours.map_or_else(|| json!(arn), |queue| resource(queue, arguments));
    let key = ours.and_then(|queue| key::allowed(&key::SEND, queue, arguments));
    [allow(&DEAD_LETTER_ACTIONS, &arn)].into_iter().chain(key).collect()
}

/// IAM has no batch actions, because these allow the batch calls too. Lambda refuses a mapping without the last one.
const CONSUMER_ACTIONS: [&str; 4] =
    ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility", "sqs:GetQueueAttributes"];
/// A record names its queue by ARN, and calls need the URL.
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

/// Returns the ARN after a deployment. A queue without a name gets one that begins with the names of the stack and the
/// resource, and ends in random characters.
fn deployed_arn(queue: &QueueResource, stack_name: &str) -> String {
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
