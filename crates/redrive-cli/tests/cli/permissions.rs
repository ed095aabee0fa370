//! Rules for policies.

use crate::kit::after;

const ACTION: &str = "Action: [sqs:SendMessage]";
const RESOURCE: &str = "Resource: !GetAtt Orders.Arn";

#[test]
fn policy_that_is_too_wide_is_a_warning() {
    assert_eq!(after(&[(ACTION, "Action: sqs:*")]), ["warning wide-policy at Action: sqs:*"]);
    assert_eq!(after(&[(ACTION, "Action: '*'")]), ["warning wide-policy at Action: '*'"]);
    assert_eq!(after(&[(RESOURCE, "Resource: '*'")]), ["warning wide-policy at Resource: '*'"]);
    let every = "Resource: !Sub arn:aws:sqs:${AWS::Region}:${AWS::AccountId}:*";
    assert_eq!(after(&[(RESOURCE, every)]), [format!("warning wide-policy at {every}")]);
    // Listing queues, and actions of other services, often have no narrower resource.
    let other = [(ACTION, "Action: [sqs:ListQueues, logs:PutLogEvents]"), (RESOURCE, "Resource: '*'")];
    assert_eq!(after(&other), [""; 0]);
    let bucket = [(ACTION, "Action: '*'"), (RESOURCE, "Resource: arn:aws:s3:::bucket")];
    assert_eq!(after(&bucket), [""; 0]);
    assert_eq!(after(&[("Effect: Allow", "Effect: Deny"), (ACTION, "Action: sqs:*")]), [""; 0]);
}

#[test]
fn managed_policies_of_aws_are_for_every_queue() {
    let policies = "Timeout: 30\n      Policies: [AWSLambdaSQSQueueExecutionRole]";
    let found = after(&[("Timeout: 30", policies)]);
    assert_eq!(found, ["warning wide-policy at Policies: [AWSLambdaSQSQueueExecutionRole]"]);
}

#[test]
fn unknown_action_allows_nothing() {
    let batch = "Action: [sqs:SendMessage, sqs:SendMessageBatch]";
    assert_eq!(after(&[(ACTION, batch)]), [format!("warning unknown-action at {batch}")]);
    assert_eq!(after(&[(ACTION, "Action: sqs:sendmessage")]), [""; 0]);
    assert_eq!(after(&[(ACTION, "Action: sqs:Send*")]), [""; 0]);
}

#[test]
fn queue_for_everyone_is_an_error() {
    let policy = |rest: &str| {
        format!(
            "  Open:
    Type: AWS::SQS::QueuePolicy
    Properties:
      Queues: [!Ref Orders]
      PolicyDocument:
        Statement:
          - {{Effect: Allow, Principal: '*', Action: sqs:SendMessage, Resource: '*'{rest}}}
  DeadAlarm:"
        )
    };
    let found = after(&[("  DeadAlarm:", &policy(""))]);
    assert!(matches!(&found[..], [one] if one.starts_with("warning public-queue at - {Effect")), "{found:?}");
    let bound = policy(", Condition: {ArnEquals: {aws:SourceArn: x}}");
    assert_eq!(after(&[("  DeadAlarm:", &bound)]), [""; 0]);
}
