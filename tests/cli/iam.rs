//! `redrive iam`: policies as narrow as can be.

use serde_json::{Value, json};

use crate::kit::{GOOD, run};

fn policies(template: &str, arguments: &[&str]) -> Value {
    let ran = run(template, &[&["iam"], arguments].concat());
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    serde_json::from_str(&ran.stdout).unwrap()
}

#[test]
fn a_producer_sends_and_a_consumer_does_what_lambda_does() {
    let policies = policies(GOOD, &[]);
    assert_eq!(policies.as_object().unwrap().keys().collect::<Vec<_>>(), ["Dead", "Orders"]);
    let orders = &policies["Orders"];
    let resource = json!({ "Fn::GetAtt": ["Orders", "Arn"] });
    assert_eq!(
        orders["producer"],
        json!({
            "Version": "2012-10-17",
            "Statement": [{ "Effect": "Allow", "Action": ["sqs:SendMessage"], "Resource": resource }],
        })
    );
    let actions = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility", "sqs:GetQueueAttributes"];
    assert_eq!(orders["consumer"]["Statement"][0]["Action"], json!(actions));
}

#[test]
fn a_producer_may_look_up_the_url() {
    let policies = policies(GOOD, &["--queue-url"]);
    let actions = &policies["Orders"]["producer"]["Statement"][0]["Action"];
    assert_eq!(actions, &json!(["sqs:SendMessage", "sqs:GetQueueUrl"]));
}

#[test]
fn for_an_account_there_are_arns() {
    let template = format!("{GOOD}  Unnamed: {{Type: AWS::SQS::Queue, Properties: {{FifoQueue: true}}}}\n");
    let to = ["--account", "123456789012", "--region", "eu-central-1", "--stack-name", "shop"];
    let policies = policies(&template, &to);
    let resource = |id: &str| policies[id]["producer"]["Statement"][0]["Resource"].clone();
    assert_eq!(resource("Orders"), "arn:aws:sqs:eu-central-1:123456789012:orders");
    assert_eq!(resource("Unnamed"), "arn:aws:sqs:eu-central-1:123456789012:shop-Unnamed-*.fifo");
}

#[test]
fn who_sends_large_messages_writes_to_the_bucket_and_who_receives_them_reads_it() {
    let bucket = ["--large-messages", "payloads"];
    let in_bucket = |policies: &Value, whose: &str| {
        let statements = policies["Orders"][whose]["Statement"].as_array().unwrap().clone();
        statements
            .into_iter()
            .skip(1)
            .map(|each| (each["Action"].clone(), each["Resource"].clone()))
            .collect::<Vec<_>>()
    };
    let objects = json!({ "Fn::Sub": "arn:${AWS::Partition}:s3:::payloads/*" });
    let templated = policies(GOOD, &bucket);
    assert_eq!(in_bucket(&templated, "producer"), [(json!(["s3:PutObject"]), objects.clone())]);
    assert_eq!(in_bucket(&templated, "consumer"), [(json!(["s3:GetObject"]), objects)]);
    assert_eq!(in_bucket(&templated, "relay"), []);
    let china = ["--account", "123456789012", "--region", "cn-north-1"];
    let deployed = policies(GOOD, &[&bucket[..], &china].concat());
    assert_eq!(in_bucket(&deployed, "producer")[0].1, "arn:aws-cn:s3:::payloads/*");
}

#[test]
fn without_a_queue_there_is_nothing_to_print() {
    let ran = run("Resources: {T: {Type: AWS::SNS::Topic}}", &["iam"]);
    assert_eq!((ran.status, ran.stdout.as_str()), (2, ""));
    assert!(ran.stderr.contains("there is no queue in template.yaml"), "{}", ran.stderr);
}

#[test]
fn a_consumer_with_effects_sends_to_its_dead_letter_queue() {
    let policies = policies(GOOD, &["--effects"]);
    let [own, dead] = &policies["Orders"]["consumer"]["Statement"].as_array().unwrap()[..] else {
        panic!("{policies}")
    };
    assert!(own["Action"].as_array().unwrap().contains(&json!("sqs:GetQueueUrl")), "{own}");
    assert_eq!(dead["Action"], json!(["sqs:SendMessage", "sqs:GetQueueUrl"]));
    assert_eq!(dead["Resource"], json!({ "Fn::GetAtt": ["Dead", "Arn"] }));
    assert_eq!(policies["Dead"]["consumer"]["Statement"].as_array().unwrap().len(), 1, "it has none");
}
