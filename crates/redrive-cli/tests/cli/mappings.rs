//! Rules for event source mappings, and for the visibility timeout.

use crate::kit::{FIFO, after, findings};

const REPORT: &str = "            FunctionResponseTypes: [ReportBatchItemFailures]\n";

#[test]
fn failed_records_are_deleted_without_report_batch_item_failures() {
    assert_eq!(after(&[(REPORT, "")]), ["error report-batch-item-failures at Batches:"]);
    let empty = after(&[("[ReportBatchItemFailures]", "[]")]);
    assert_eq!(empty, ["error report-batch-item-failures at FunctionResponseTypes: []"]);
}

#[test]
fn mapping_as_its_own_resource_is_checked() {
    let mapping = "  Mapping:
    Type: AWS::Lambda::EventSourceMapping
    Properties:
      EventSourceArn: !GetAtt Orders.Arn
      FunctionName: !GetAtt Place.Arn
      ScalingConfig: {MaximumConcurrency: 1}
  DeadAlarm:";
    let found = after(&[("  DeadAlarm:", mapping)]);
    let expected = [
        "error report-batch-item-failures at Mapping:",
        "error maximum-concurrency at ScalingConfig: {MaximumConcurrency: 1}",
    ];
    assert_eq!(found, expected);
    let stream = mapping.replace("FunctionName", "StartingPosition: LATEST\n      FunctionName");
    assert!(after(&[("  DeadAlarm:", &stream)]).is_empty(), "a stream's mapping is not checked");
}

#[test]
fn url_is_not_an_arn() {
    let found = after(&[("Queue: !GetAtt Orders.Arn", "Queue: !Ref Orders")]);
    assert_eq!(found, ["error event-source-arn at Queue: !Ref Orders"]);
}

#[test]
fn large_batches_need_a_window_and_fifo_queues_allow_neither() {
    let found = after(&[("BatchSize: 10", "BatchSize: 100")]);
    assert_eq!(found, ["error batch-size at BatchSize: 100"]);
    let window = "BatchSize: 100\n            MaximumBatchingWindowInSeconds: 1";
    assert_eq!(after(&[("BatchSize: 10", window), ("VisibilityTimeout: 180", "VisibilityTimeout: 181")]), [""; 0]);
    assert_eq!(after(&[("BatchSize: 10", "BatchSize: 0")]), ["error batch-size at BatchSize: 0"]);

    // This function may dead-letter a poison head itself.
    let sends = ("Resource: !GetAtt Orders.Arn", "Resource: [!GetAtt Orders.Arn, !GetAtt Dead.Arn]");
    let [queue, dead] = FIFO;
    assert_eq!(after(&[queue, dead, sends]), [""; 0]);
    assert_eq!(after(&[queue, dead, sends, ("BatchSize: 10", "BatchSize: 11")]), ["error batch-size at BatchSize: 11"]);
    let window = ("BatchSize: 10", "MaximumBatchingWindowInSeconds: 1");
    let roomy = ("VisibilityTimeout: 180", "VisibilityTimeout: 240");
    let found = after(&[queue, dead, sends, roomy, window]);
    assert_eq!(found, ["error batching-window at MaximumBatchingWindowInSeconds: 1"]);
}

#[test]
fn window_has_at_most_300_seconds() {
    let window = ("BatchSize: 10", "MaximumBatchingWindowInSeconds: 301");
    let found = after(&[window, ("VisibilityTimeout: 180", "VisibilityTimeout: 481")]);
    assert_eq!(found, ["error batching-window at MaximumBatchingWindowInSeconds: 301"]);
}

#[test]
fn maximum_concurrency_has_a_range_and_fits_the_reserved_concurrency() {
    for most in ["1", "1001"] {
        let line = format!("ScalingConfig: {{MaximumConcurrency: {most}}}");
        let found = after(&[("ScalingConfig: {MaximumConcurrency: 10}", &line)]);
        assert_eq!(found, [format!("error maximum-concurrency at {line}")]);
    }
    let found = after(&[("Timeout: 30", "Timeout: 30\n      ReservedConcurrentExecutions: 5")]);
    assert_eq!(found, ["warning maximum-concurrency at ScalingConfig: {MaximumConcurrency: 10}"]);
}

#[test]
fn concurrency_needs_a_limit() {
    let unbound = ("            ScalingConfig: {MaximumConcurrency: 10}\n", "");
    assert_eq!(after(&[unbound]), ["warning concurrency-bound at Batches:"]);
    let reserved = ("Timeout: 30", "Timeout: 30\n      ReservedConcurrentExecutions: 5");
    assert_eq!(after(&[unbound, reserved]), [""; 0]);
}

#[test]
fn visibility_timeout_covers_six_timeouts_and_the_window() {
    let visibility = |seconds: &str| after(&[("VisibilityTimeout: 180", &format!("VisibilityTimeout: {seconds}"))]);
    assert_eq!(visibility("29"), ["error visibility-below-timeout at VisibilityTimeout: 29"]);
    assert_eq!(visibility("30"), ["warning visibility-six-timeouts at VisibilityTimeout: 30"]);
    assert_eq!(visibility("179"), ["warning visibility-six-timeouts at VisibilityTimeout: 179"]);
    assert_eq!(visibility("180"), [""; 0]);

    let window = ("BatchSize: 10", "MaximumBatchingWindowInSeconds: 20");
    assert_eq!(after(&[window]), ["warning visibility-six-timeouts at VisibilityTimeout: 180"]);
    let default = after(&[("      VisibilityTimeout: 180\n", "")]);
    assert_eq!(default, ["warning visibility-six-timeouts at Orders:"], "SQS's default is 30 s");
}

#[test]
fn unknown_values_have_no_findings() {
    let unknown = "
Parameters: {Seconds: {Type: Number}, Arn: {Type: String}}
Resources:
  Q: {Type: AWS::SQS::Queue, Properties: {VisibilityTimeout: !Ref Seconds}}
  M:
    Type: AWS::Lambda::EventSourceMapping
    Properties:
      EventSourceArn: !Ref Arn
      FunctionName: !ImportValue Function
      BatchSize: !Ref Seconds
      MaximumBatchingWindowInSeconds: !Ref Seconds
      FunctionResponseTypes: !Ref Arn
      ScalingConfig: !If [C, {MaximumConcurrency: 1}, !Ref AWS::NoValue]
Conditions: {C: !Equals [!Ref Arn, x]}";
    assert_eq!(findings(unknown), [""; 0]);
}
