//! Rules for FIFO queues, and for functions that send to their own queue.

use crate::kit::{FIFO, after, changed, run};

#[test]
fn group_behind_a_poison_head_becomes_dead_letters() {
    let [queue, dead] = FIFO;
    assert_eq!(after(&[queue, dead]), ["warning fifo-poison-head at maxReceiveCount: 5"]);
    assert_eq!(
        after(&[queue, dead, ("            BatchSize: 10\n", "")]),
        ["warning fifo-poison-head at maxReceiveCount: 5"]
    );
    assert_eq!(after(&[queue, dead, ("BatchSize: 10", "BatchSize: 1")]), [""; 0], "the head is received alone");
    // With this permission a function can dead-letter the head itself.
    let sends = ("Resource: !GetAtt Orders.Arn", "Resource: [!GetAtt Orders.Arn, !GetAtt Dead.Arn]");
    assert_eq!(after(&[queue, dead, sends]), [""; 0]);
    let policies = "Timeout: 30\n      Policies: [{SQSSendMessagePolicy: {QueueName: !GetAtt Dead.QueueName}}]";
    assert_eq!(after(&[queue, dead, ("Timeout: 30", policies)]), [""; 0]);
}

#[test]
fn fix_for_a_poison_head_fits_the_functions_language() {
    let [queue, dead] = FIFO;
    let fix = |template: &str| run(template, &["check", "--format", "json"]).stdout;
    let rust = fix(&changed(&[queue, dead]));
    assert!(rust.contains("dead_letter_at(4)") && rust.contains("BatchSize: 1"), "{rust}");
    let python = fix(&changed(&[queue, dead, ("Timeout: 30", "Timeout: 30\n      Runtime: python3.13")]));
    assert!(!python.contains("dead_letter_at") && python.contains("BatchSize: 1"), "{python}");
}

#[test]
fn function_that_may_send_to_its_own_queue_is_a_loop() {
    let with = |line: &str| after(&[("Timeout: 30", &format!("Timeout: 30\n      {line}"))]);
    for line in [
        "Policies: [{SQSSendMessagePolicy: {QueueName: !GetAtt Orders.QueueName}}]",
        "Policies: [{Statement: [{Effect: Allow, Action: sqs:Send*, Resource: !GetAtt Orders.Arn}]}]",
        "Policies: [!Ref Sends]",
        "Environment: {Variables: {AGAIN: !Ref Orders}}",
        "Environment: {Variables: {AGAIN: !GetAtt Orders.QueueUrl}}",
    ] {
        let found = with(line);
        let at = if line.contains("!Ref Sends") { "Action: [sqs:SendMessage]" } else { line };
        assert_eq!(found, [format!("warning recursive-loop at {at}")]);
    }
    for line in [
        "Policies: [{SQSSendMessagePolicy: {QueueName: !GetAtt Dead.QueueName}}]",
        "Policies: [{Statement: [{Effect: Allow, Action: sqs:ReceiveMessage, Resource: !GetAtt Orders.Arn}]}]",
        "Environment: {Variables: {NEXT: !Ref Dead}}",
        "RecursiveLoop: Allow\n      Environment: {Variables: {AGAIN: !Ref Orders}}",
    ] {
        assert_eq!(with(line), [""; 0], "{line}");
    }
    let terminates = "RecursiveLoop: Terminate\n      Environment: {Variables: {AGAIN: !Ref Orders}}";
    assert_eq!(with(terminates), ["warning recursive-loop at Environment: {Variables: {AGAIN: !Ref Orders}}"]);
}

#[test]
fn permission_of_its_role_belongs_to_a_function() {
    let role = "  Role:
    Type: AWS::IAM::Role
    Properties: {AssumeRolePolicyDocument: {}, ManagedPolicyArns: [!Ref Sends]}
  DeadAlarm:";
    let of_role = ("Timeout: 30", "Timeout: 30\n      Role: !GetAtt Role.Arn");
    let found = after(&[of_role, ("  DeadAlarm:", role)]);
    assert_eq!(found, ["warning recursive-loop at Action: [sqs:SendMessage]"]);
    // CDK writes it like this, with the policy on the role.
    let role = role.replace(", ManagedPolicyArns: [!Ref Sends]", "");
    let hung = ("PolicyDocument:\n        Statement:", "Roles: [!Ref Role]\n      PolicyDocument:\n        Statement:");
    let found = after(&[of_role, hung, ("  DeadAlarm:", &role)]);
    assert_eq!(found, ["warning recursive-loop at Action: [sqs:SendMessage]"]);
    assert_eq!(after(&[of_role, ("  DeadAlarm:", &role)]), [""; 0], "no role has the policy");
}

#[test]
fn our_own_template_is_clean() {
    let ran = run(include_str!("../../../../template.yaml"), &["check", "--strict"]);
    assert_eq!(ran.status, 0, "{}", ran.stdout);
}
