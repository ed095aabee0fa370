//! Rules for settings that SQS refuses.

use crate::kit::{FIFO, after};

#[test]
fn only_a_fifo_queues_name_ends_in_fifo() {
    let [queue, dead] = FIFO;
    let queue = (queue.0, "FifoQueue: true\n      QueueName: orders");
    let poison_head = "warning fifo-poison-head at maxReceiveCount: 5";
    assert_eq!(after(&[queue, dead]), ["error queue-name at QueueName: orders", poison_head]);
    assert!(after(&[("QueueName: orders", "QueueName: orders.fifo")])[0].starts_with("error queue-name"));
}

#[test]
fn name_has_at_most_80_characters_and_few_special_ones() {
    for name in ["or.ders", "\"\"", &"a".repeat(81), "ord\u{e9}rs"] {
        let line = format!("QueueName: {name}");
        assert_eq!(after(&[("QueueName: orders", &line)]), [format!("error queue-name at {line}")]);
    }
}

#[test]
fn attributes_stay_within_the_limits_of_sqs() {
    for (attribute, too_little, too_much) in [
        ("DelaySeconds", -1, 901),
        ("MaximumMessageSize", 1023, 1_048_577),
        ("ReceiveMessageWaitTimeSeconds", -1, 21),
        ("KmsDataKeyReusePeriodSeconds", 59, 86_401),
    ] {
        for value in [too_little, too_much] {
            let line = format!("{attribute}: {value}");
            let found = after(&[("QueueName: orders", &format!("QueueName: orders\n      {line}"))]);
            assert_eq!(found, [format!("error attribute-range at {line}")]);
        }
    }
    let found = after(&[("VisibilityTimeout: 180", "VisibilityTimeout: 43201")]);
    assert_eq!(found, ["error attribute-range at VisibilityTimeout: 43201"]);
    let found = after(&[("MessageRetentionPeriod: 1209600", "MessageRetentionPeriod: 1209601")]);
    assert_eq!(found, ["error attribute-range at MessageRetentionPeriod: 1209601"]);
    let found = after(&[("MessageRetentionPeriod: 345600", "MessageRetentionPeriod: 59")]);
    assert_eq!(found, ["error attribute-range at MessageRetentionPeriod: 59"]);
}

#[test]
fn fifo_queue_is_true_or_left_out() {
    for value in ["false", "False", "\"false\""] {
        let line = format!("FifoQueue: {value}");
        let found = after(&[("QueueName: orders", &format!("QueueName: orders\n      {line}"))]);
        assert_eq!(found, [format!("error fifo-queue-false at {line}")]);
    }
}

#[test]
fn largest_number_is_refused() {
    let most = i64::MAX.to_string();
    let found = after(&[
        ("VisibilityTimeout: 180", &format!("VisibilityTimeout: {most}")),
        ("Timeout: 30", &format!("Timeout: {most}")),
    ]);
    assert_eq!(found, [format!("error attribute-range at VisibilityTimeout: {most}")]);
}

#[test]
fn reference_to_a_missing_resource_is_an_error() {
    let found = after(&[("Resource: !GetAtt Orders.Arn", "Resource: !GetAtt Ordres.Arn")]);
    assert_eq!(found, ["error unresolved-reference at Resource: !GetAtt Ordres.Arn"]);
    let found = after(&[("Resource: !GetAtt Orders.Arn", "Resource: !GetAtt PlaceRole.Arn")]);
    assert_eq!(found, [""; 0], "SAM creates that role");
}
