use super::problem::Severity;
use super::*;

/// Builds a batch. Each message has a letter as its id, and its group after a colon: `"a:g b:g c:g"`.
fn batch(messages: &str) -> Vec<Record> {
    let record = |message: &str| match message.split_once(':') {
        Some((id, group)) => Record::for_test(id, Some(group), "{}"),
        None => Record::for_test(message, None, "{}"),
    };
    messages.split(' ').map(record).collect()
}

fn answered(messages: &str, answer: &str) -> Verdict {
    judge(&batch(messages), true, Ok(answer.as_bytes()))
}

fn prose(verdict: &Verdict) -> String {
    verdict.problems.iter().map(|problem| format!("{problem}\n")).collect()
}

#[test]
fn empty_answers_delete_the_whole_batch() {
    for answer in ["", " \n", "null", "{}", r#"{"batchItemFailures":[]}"#, r#"{"batchItemFailures":null}"#] {
        let verdict = answered("a b", answer);
        assert_eq!((&verdict.deleted[..], &verdict.come_back[..]), (&[0, 1][..], &[][..]), "{answer}");
        assert!(verdict.problems.is_empty(), "{answer}");
    }
}

#[test]
fn malformed_answers_retry_the_whole_batch_with_a_reason() {
    let rows = [
        ("ok", "is not JSON"),
        (r#"{"batchItemFailures":["#, "is not JSON"),
        (r#"{"batchItemFailures":[{"itemIdentifier":""}]}"#, "[0] is empty"),
        (r#"{"batchItemFailures":[{"itemIdentifier":"a"},{"itemIdentifier":null}]}"#, "[1] is null"),
        (
            r#"{"batchItemFailures":[{"ItemIdentifier":"a"}]}"#,
            r#"[0] contains no itemIdentifier, but "ItemIdentifier""#,
        ),
        (r#"{"batchItemFailures":[{}]}"#, "[0] contains no itemIdentifier, but none"),
        (r#"{"batchItemFailures":[{"itemIdentifier":"z"}]}"#, r#"matches no message of the batch: "z""#),
        (r#"{"batchItemFailures":[{"itemIdentifier":123}]}"#, "[0] is a number, so it matches no message"),
        (r#"{"batchItemFailures":["a"]}"#, "batchItemFailures[0] is a string"),
        (r#"{"batchItemFailures":"a"}"#, "batchItemFailures is a string"),
        (r#"{"batchItemFailures":{"itemIdentifier":"a"}}"#, "batchItemFailures is an object"),
        (r#""done""#, "the answer is a string"),
        ("7", "the answer is a number"),
        ("true", "the answer is a boolean"),
        (r#"[{"itemIdentifier":"a"}]"#, "the answer is a list"),
    ];
    for (answer, why) in rows {
        let verdict = answered("a b", answer);
        assert_eq!((&verdict.deleted[..], &verdict.come_back[..]), (&[][..], &[0, 1][..]), "{answer}");
        assert_eq!(verdict.problems.len(), 1, "{answer}");
        assert_eq!(verdict.problems[0].severity(), Severity::BatchFailed, "{answer}");
        let text = prose(&verdict);
        assert!(text.starts_with("the whole batch of 2 is retried: ") && text.contains(why), "{answer}: {text}");
    }
}

#[test]
fn problems_name_answers_that_aws_does_not_document() {
    let undocumented = |answer| prose(&answered("a", answer)).contains("AWS does not document");
    for answer in [r#""done""#, "[1]", "7", r#"{"batchItemFailures":7}"#, r#"{"batchItemFailures":[7]}"#] {
        assert!(undocumented(answer), "{answer}");
    }
    let rows = [
        "ok",
        r#"{"batchItemFailures":[{"itemIdentifier":"z"}]}"#,
        r#"{"batchItemFailures":[{"itemIdentifier":null}]}"#,
        r#"{"batchItemFailures":[{"itemIdentifier":""}]}"#,
        r#"{"batchItemFailures":[{}]}"#,
    ];
    for answer in rows {
        assert!(!undocumented(answer), "{answer}");
    }
}

#[test]
fn error_and_timeout_retry_the_whole_batch_with_or_without_the_setting() {
    for setting in [true, false] {
        let raised = judge(&batch("a b"), setting, Err(FailedInvocation::Raised("Boom: no database".into())));
        let timed_out = judge(&batch("a b"), setting, Err(FailedInvocation::TimedOut(Duration::from_secs(30))));
        assert_eq!((raised.come_back.len(), timed_out.come_back.len()), (2, 2));
        assert!(prose(&raised).contains("raised an error: Boom: no database"));
        assert!(prose(&timed_out).contains("timed out after 30s"));
    }
}

#[test]
fn reported_messages_are_retried_and_all_others_are_deleted() {
    let verdict = answered("a b c d", r#"{"batchItemFailures":[{"itemIdentifier":"d"},{"itemIdentifier":"b"}]}"#);
    assert_eq!((verdict.deleted, verdict.come_back), (vec![0, 2], vec![1, 3]));
    assert!(verdict.problems.is_empty());
}

#[test]
fn reporting_every_message_is_not_a_problem() {
    let verdict = answered("a b", r#"{"batchItemFailures":[{"itemIdentifier":"a"},{"itemIdentifier":"b"}]}"#);
    assert_eq!(verdict.come_back, [0, 1]);
    assert!(verdict.problems.is_empty());
}

#[test]
fn identifier_applies_to_every_copy_of_its_message() {
    let verdict = answered("a b a", r#"{"batchItemFailures":[{"itemIdentifier":"a"}]}"#);
    assert_eq!((verdict.deleted, verdict.come_back), (vec![1], vec![0, 2]));
}

#[test]
fn all_messages_are_deleted_and_lost_ones_are_listed_when_the_setting_is_off() {
    let answer = r#"{"batchItemFailures":[{"itemIdentifier":"b"},{"itemIdentifier":"z"}]}"#;
    let verdict = judge(&batch("a b"), false, Ok(answer.as_bytes()));
    assert_eq!((&verdict.deleted[..], verdict.come_back.len()), (&[0, 1][..], 0));
    assert_eq!(verdict.problems[0].severity(), Severity::MessagesLost);
    let text = prose(&verdict);
    assert!(
        text.starts_with("MESSAGES LOST: the answer reports 2 failures") && text.contains(r#"including: "b";"#),
        "{text}"
    );
    for harmless in ["", "null", "ok", "{}", r#"{"batchItemFailures":[]}"#, r#"{"batchItemFailures":7}"#] {
        let verdict = judge(&batch("a b"), false, Ok(harmless.as_bytes()));
        assert!(verdict.problems.is_empty() && verdict.deleted == [0, 1], "{harmless}");
    }
}

#[test]
fn failures_under_an_ignored_key_are_lost_messages() {
    let answers = [
        r#"{"BatchItemFailures":[{"itemIdentifier":"a"}]}"#,
        r#"{"batch_item_failures":["a"]}"#,
        r#"{"statusCode":200,"body":"{\"batchItemFailures\":[{\"itemIdentifier\":\"a\"}]}"}"#,
    ];
    for answer in answers {
        let verdict = answered("a b", answer);
        assert_eq!(verdict.deleted, [0, 1], "{answer}");
        assert_eq!(verdict.problems[0].severity(), Severity::MessagesLost, "{answer}");
    }
    assert!(prose(&answered("a", answers[0])).contains(r#"under "BatchItemFailures""#));
}

#[test]
fn odd_answers_are_reported_and_change_nothing() {
    let rows = [
        ("[]", "an empty list", 0),
        (r#"{"BatchItemFailures":[]}"#, r#"contains "BatchItemFailures""#, 0),
        (r#"{"statusCode":200}"#, r#"contains "statusCode""#, 0),
        (r#"{"batchItemFailures":[{"itemIdentifier":"a"}],"note":"x"}"#, r#"contains "note""#, 1),
        (r#"{"batchItemFailures":[{"itemIdentifier":"a","reason":"x"}]}"#, r#"[0] contains "reason""#, 1),
        (
            r#"{"batchItemFailures":[{"itemIdentifier":"a"},{"itemIdentifier":"a"}]}"#,
            r#"batchItemFailures[1] repeats "a""#,
            1,
        ),
    ];
    for (answer, text, back) in rows {
        let verdict = answered("a b", answer);
        assert_eq!(verdict.come_back.len(), back, "{answer}");
        assert_eq!(verdict.problems.len(), 1, "{answer}");
        assert_eq!(verdict.problems[0].severity(), Severity::Odd, "{answer}");
        assert!(prose(&verdict).contains(text), "{answer}: {}", prose(&verdict));
    }
}

#[test]
fn message_deleted_after_a_failure_of_its_group_breaks_the_order() {
    let b = r#"{"batchItemFailures":[{"itemIdentifier":"b"}]}"#;
    let verdict = answered("a:g b:g x:h c:g d:g", b);
    assert_eq!(verdict.come_back, [1]);
    assert_eq!(verdict.problems[0].severity(), Severity::OrderBroken);
    let text = prose(&verdict);
    assert!(text.contains(r#"group "g" the message b is retried"#) && text.contains(r#"done: "c", "d";"#), "{text}");

    let rest = r#"{"batchItemFailures":[{"itemIdentifier":"b"},{"itemIdentifier":"c"}]}"#;
    assert!(answered("a:g b:g x:h c:g", rest).problems.is_empty());
    assert!(answered("a b c", b).problems.is_empty(), "a standard queue has no order to break");
}

#[test]
fn problem_of_ten_thousand_messages_is_one_short_line() {
    let ids: Vec<String> = (0..10_000).map(|id| id.to_string()).collect();
    let problem = AnswerProblem::AnswerIgnored { items: ids.len(), lost: ids };
    assert!(problem.to_string().contains(r#""9" and 9990 more"#));
    let long = AnswerProblem::Repeated { position: 0, identifier: "x".repeat(5_000) };
    assert!(long.to_string().len() < 300);
}
