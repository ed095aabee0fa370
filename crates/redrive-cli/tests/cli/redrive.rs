//! Rules for dead-letter queues and for alarms.

use crate::kit::{FIFO, after, changed, findings};

const POLICY: &str = "      RedrivePolicy:
        deadLetterTargetArn: !GetAtt Dead.Arn
        maxReceiveCount: 5
";

/// The finding of every template with FIFO queues.
const POISON_HEAD: &str = "warning fifo-poison-head at maxReceiveCount: 5";

#[test]
fn consumed_queue_needs_a_dead_letter_queue() {
    assert_eq!(after(&[(POLICY, "")]), ["error dead-letter-queue at Orders:"]);
}

#[test]
fn consumed_dead_letter_queue_needs_none_of_its_own() {
    let event = "Batches:
          Type: SQS
          Properties:
            Queue: !GetAtt Dead.Arn
            FunctionResponseTypes: [ReportBatchItemFailures]
            ScalingConfig: {MaximumConcurrency: 2}
        Others:";
    let roomy = ("MessageRetentionPeriod: 1209600", "MessageRetentionPeriod: 1209600\n      VisibilityTimeout: 180");
    assert_eq!(after(&[("Batches:", event), roomy]), ["warning age-alarm at Dead:"]);
}

#[test]
fn fewer_than_five_receives_are_a_warning() {
    let count = |count: &str| after(&[("maxReceiveCount: 5", &format!("maxReceiveCount: {count}"))]);
    assert_eq!(count("4"), ["warning max-receive-count at maxReceiveCount: 4"]);
    assert_eq!(count("0"), ["error max-receive-count at maxReceiveCount: 0"]);
    assert_eq!(count("1001"), ["error max-receive-count at maxReceiveCount: 1001"]);
}

#[test]
fn dead_letter_queue_has_to_exist() {
    let target = |target: &str| {
        let line = format!("deadLetterTargetArn: {target}");
        // No policy names the queue `Dead` any more, so it needs no alarm.
        after(&[("deadLetterTargetArn: !GetAtt Dead.Arn", &line)])
    };
    assert_eq!(target("!GetAtt Deaf.Arn"), ["error dead-letter-target at deadLetterTargetArn: !GetAtt Deaf.Arn"]);
    assert_eq!(target("!Ref Dead"), ["error dead-letter-target at deadLetterTargetArn: !Ref Dead"]);
    let here = "!Sub arn:aws:sqs:${AWS::Region}:${AWS::AccountId}:deaf";
    assert_eq!(target(here), [format!("warning dead-letter-target at deadLetterTargetArn: {here}")]);
    assert_eq!(target("arn:aws:sqs:eu-central-1:123456789012:theirs"), [""; 0]);
}

#[test]
fn queue_is_not_its_own_dead_letter_queue() {
    let found = after(&[("deadLetterTargetArn: !GetAtt Dead.Arn", "deadLetterTargetArn: !GetAtt Orders.Arn")]);
    assert!(found.contains(&"error own-dead-letter-queue at deadLetterTargetArn: !GetAtt Orders.Arn".to_owned()));
}

#[test]
fn dead_letter_queue_has_the_same_type() {
    let [queue, dead] = FIFO;
    let other_type = "error dead-letter-type at deadLetterTargetArn: !GetAtt Dead.Arn";
    assert_eq!(after(&[queue]), [other_type, POISON_HEAD]);
    assert_eq!(after(&[dead]), [other_type]);
}

#[test]
fn dead_letters_are_kept_longer_than_their_source_keeps_them() {
    let equal = ("MessageRetentionPeriod: 1209600", "MessageRetentionPeriod: 345600");
    let less = ("MessageRetentionPeriod: 1209600", "MessageRetentionPeriod: 3600");
    let default = ("      MessageRetentionPeriod: 1209600\n", "");
    assert_eq!(after(&[equal]), ["warning dead-letter-retention at MessageRetentionPeriod: 345600"]);
    assert_eq!(after(&[default]), ["warning dead-letter-retention at Dead:"]);

    let [queue, dead] = FIFO;
    assert_eq!(after(&[queue, dead, equal]), [POISON_HEAD], "the age of a FIFO queue's dead letters starts again");
    let retention = "warning dead-letter-retention at MessageRetentionPeriod: 3600";
    assert_eq!(after(&[queue, dead, less]), [POISON_HEAD, retention]);
}

#[test]
fn dead_letters_and_a_backlog_need_alarms() {
    let found = after(&[("ApproximateNumberOfMessagesVisible", "NumberOfMessagesSent")]);
    assert_eq!(found, ["warning dead-letter-alarm at Dead:"]);
    let found = after(&[("!GetAtt Dead.QueueName", "!GetAtt Orders.QueueName")]);
    assert_eq!(found, ["warning dead-letter-alarm at Dead:"], "the alarm is on another queue");
    let found = after(&[("ApproximateAgeOfOldestMessage", "NumberOfMessagesReceived")]);
    assert_eq!(found, ["warning age-alarm at Orders:"]);
}

#[test]
fn alarm_on_an_expression_counts() {
    let plain = "      Namespace: AWS/SQS
      MetricName: ApproximateAgeOfOldestMessage
      Dimensions: [{Name: QueueName, Value: !GetAtt Orders.QueueName}]
";
    let metrics = "      Metrics:
        - Id: age
          MetricStat:
            Stat: Maximum
            Period: 60
            Metric:
              Namespace: AWS/SQS
              MetricName: ApproximateAgeOfOldestMessage
              Dimensions: [{Name: QueueName, Value: !GetAtt Orders.QueueName}]
";
    assert_eq!(findings(&changed(&[(plain, metrics)])), [""; 0]);
}
