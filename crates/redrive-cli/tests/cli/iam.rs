//! `redrive iam` prints minimal policies.

use serde_json::{Value, json};

use crate::kit::{GOOD, changed, run};

fn policies(template: &str, arguments: &[&str]) -> Value {
    let ran = run(template, &[&["iam"], arguments].concat());
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    serde_json::from_str(&ran.stdout).unwrap()
}

#[test]
fn producer_sends_and_consumer_does_what_lambda_does() {
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
fn producer_may_look_up_the_url() {
    let policies = policies(GOOD, &["--queue-url"]);
    let actions = &policies["Orders"]["producer"]["Statement"][0]["Action"];
    assert_eq!(actions, &json!(["sqs:SendMessage", "sqs:GetQueueUrl"]));
}

#[test]
fn policies_for_an_account_have_arns() {
    let template = format!("{GOOD}  Unnamed: {{Type: AWS::SQS::Queue, Properties: {{FifoQueue: true}}}}\n");
    let to = ["--account", "123456789012", "--region", "eu-central-1", "--stack-name", "shop"];
    let policies = policies(&template, &to);
    let resource = |id: &str| policies[id]["producer"]["Statement"][0]["Resource"].clone();
    assert_eq!(resource("Orders"), "arn:aws:sqs:eu-central-1:123456789012:orders");
    assert_eq!(resource("Unnamed"), "arn:aws:sqs:eu-central-1:123456789012:shop-Unnamed-*.fifo");
}

#[test]
fn sender_of_large_messages_writes_to_the_bucket_and_receiver_reads() {
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
fn prefix_of_large_messages_limits_the_allowed_objects() {
    let objects_of = |bucket: &str| {
        let policies = policies(GOOD, &["--large-messages", bucket]);
        policies["Orders"]["consumer"]["Statement"].as_array().unwrap().last().unwrap()["Resource"].clone()
    };
    let under = |objects: &str| json!({ "Fn::Sub": format!("arn:${{AWS::Partition}}:s3:::{objects}") });
    assert_eq!(objects_of("payloads/orders/"), under("payloads/orders/*"));
    assert_eq!(objects_of("payloads/orders"), under("payloads/orders*"));
}

#[test]
fn template_without_a_queue_is_one_error() {
    let ran = run("Resources: {T: {Type: AWS::SNS::Topic}}", &["iam"]);
    assert_eq!((ran.status, ran.stdout.as_str()), (2, ""));
    assert!(ran.stderr.contains("there is no queue in template.yaml"), "{}", ran.stderr);
}

#[test]
fn consumer_with_effects_sends_to_its_dead_letter_queue() {
    let policies = policies(GOOD, &["--effects"]);
    let [own, dead] = &policies["Orders"]["consumer"]["Statement"].as_array().unwrap()[..] else {
        panic!("{policies}")
    };
    assert!(own["Action"].as_array().unwrap().contains(&json!("sqs:GetQueueUrl")), "{own}");
    assert_eq!(dead["Action"], json!(["sqs:SendMessage", "sqs:GetQueueUrl"]));
    assert_eq!(dead["Resource"], json!({ "Fn::GetAtt": ["Dead", "Arn"] }));
    assert_eq!(policies["Dead"]["consumer"]["Statement"].as_array().unwrap().len(), 1, "it has no dead-letter queue");
}

/// Returns the statements after the first one, which is about the queue itself.
fn on_key(policies: &Value, whose: &str) -> Vec<Value> {
    policies["Orders"][whose]["Statement"].as_array().unwrap()[1..].to_vec()
}

fn with_key(key: &str) -> String {
    changed(&[("QueueName: orders", &format!("QueueName: orders\n      KmsMasterKeyId: {key}"))])
}

#[test]
fn relay_has_the_permissions_of_a_producer() {
    for template in [GOOD, &with_key("alias/shop")] {
        let policies = policies(template, &[]);
        assert_eq!(policies["Orders"]["relay"], policies["Orders"]["producer"]);
        let first = &policies["Orders"]["relay"]["Statement"][0];
        assert_eq!((&first["Action"], &first["Effect"]), (&json!(["sqs:SendMessage"]), &json!("Allow")));
        assert_eq!(first["Resource"], json!({ "Fn::GetAtt": ["Orders", "Arn"] }));
    }
}

#[test]
fn queue_with_a_key_needs_permission_for_the_key() {
    let statement =
        |actions: &[&str], resource: Value| json!({ "Effect": "Allow", "Action": actions, "Resource": resource });
    let (send, receive) = (["kms:GenerateDataKey", "kms:Decrypt"], ["kms:Decrypt"]);
    let arn = "arn:aws:kms:eu-west-1:210987654321:key/0a1b";
    let other_account = policies(&with_key(arn), &[]);
    for sender in ["producer", "relay"] {
        assert_eq!(on_key(&other_account, sender), [statement(&send, json!(arn))]);
    }
    assert_eq!(on_key(&other_account, "consumer"), [statement(&receive, json!(arn))]);

    let account = ["--account", "123456789012", "--region", "cn-north-1"];
    let ours = json!("arn:aws-cn:kms:cn-north-1:123456789012:key/0a1b");
    assert_eq!(on_key(&policies(&with_key("0a1b"), &account), "consumer"), [statement(&receive, ours)]);
    let ours = json!({ "Fn::Sub": "arn:${AWS::Partition}:kms:${AWS::Region}:${AWS::AccountId}:key/0a1b" });
    assert_eq!(on_key(&policies(&with_key("0a1b"), &[]), "producer"), [statement(&send, ours)]);
}

#[test]
fn key_by_alias_is_a_condition() {
    let any = json!({ "Fn::Sub": "arn:${AWS::Partition}:kms:${AWS::Region}:${AWS::AccountId}:key/*" });
    for alias in ["alias/shop", "arn:aws:kms:eu-west-1:123456789012:alias/shop"] {
        let consumer = on_key(&policies(&with_key(alias), &[]), "consumer");
        assert_eq!(consumer[0]["Resource"], any);
        assert_eq!(
            consumer[0]["Condition"],
            json!({ "ForAnyValue:StringEquals": { "kms:ResourceAliases": "alias/shop" } })
        );
    }
    let template = format!("{}  Key: {{Type: AWS::KMS::Key}}\n", with_key("!GetAtt Key.Arn"));
    let deployed = on_key(&policies(&template, &[]), "producer");
    assert_eq!(deployed[0]["Resource"], any);
    let through_sqs =
        json!({ "StringEquals": { "kms:ViaService": { "Fn::Sub": "sqs.${AWS::Region}.amazonaws.com" } } });
    assert_eq!(deployed[0]["Condition"], through_sqs);
}

#[test]
fn key_that_aws_manages_needs_no_permission() {
    for key in ["alias/aws/sqs", "arn:aws:kms:eu-west-1:123456789012:alias/aws/sqs", "''"] {
        let policies = policies(&with_key(key), &[]);
        assert!(on_key(&policies, "producer").is_empty() && on_key(&policies, "consumer").is_empty(), "{key}");
    }
}

#[test]
fn dead_letters_are_encrypted_with_the_key_of_their_queue() {
    let template = changed(&[("QueueName: dead", "QueueName: dead\n      KmsMasterKeyId: 0a1b")]);
    let consumer = on_key(&policies(&template, &["--effects"]), "consumer");
    assert_eq!(consumer[1]["Action"], json!(["kms:GenerateDataKey", "kms:Decrypt"]));
}
