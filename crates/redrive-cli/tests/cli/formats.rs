//! The formats of findings, and the exit status.

use crate::kit::{GOOD, changed, run, run_in};

const ERROR: (&str, &str) = ("[ReportBatchItemFailures]", "[]");
const WARNING: (&str, &str) = ("maxReceiveCount: 5", "maxReceiveCount: 4");

#[test]
fn finding_has_a_place_a_consequence_and_a_fix() {
    let ran = run(&changed(&[ERROR, WARNING]), &["check"]);
    assert_eq!(ran.status, 1);
    let expected = "\
template.yaml:11:26: warning: [max-receive-count] Orders: healthy records become dead letters: throttles and faulty \
deployments use up receives too, and there are only 4
    fix: set `maxReceiveCount: 5` or more
template.yaml:27:36: error: [report-batch-item-failures] PlaceBatches: Lambda ignores the function's report of failed \
records, and deletes them with the rest
    fix: set `FunctionResponseTypes: [ReportBatchItemFailures]`
template.yaml: 1 error, 1 warning
";
    assert_eq!(ran.stdout, expected);
}

#[test]
fn warnings_fail_only_on_request() {
    assert_eq!(run(GOOD, &["check", "--strict"]).status, 0);
    assert_eq!(run(&changed(&[WARNING]), &["check"]).status, 0);
    assert_eq!(run(&changed(&[WARNING]), &["check", "--strict"]).status, 1);
    assert_eq!(run(&changed(&[ERROR]), &["check"]).status, 1);
}

#[test]
fn json_output_has_counts_and_places() {
    let ran = run(&changed(&[ERROR]), &["check", "--format", "json"]);
    let report: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((&report["errors"], &report["warnings"]), (&1.into(), &0.into()));
    let finding = &report["findings"][0];
    assert_eq!(
        (&finding["file"], &finding["line"], &finding["column"]),
        (&"template.yaml".into(), &27.into(), &36.into())
    );
    assert_eq!(
        (&finding["rule"], &finding["resource"]),
        (&"report-batch-item-failures".into(), &"PlaceBatches".into())
    );
}

#[test]
fn github_output_names_the_lines() {
    let ran = run(&changed(&[ERROR]), &["check", "--format", "github"]);
    let start =
        "::error file=template.yaml,line=27,col=36,title=report-batch-item-failures::PlaceBatches: Lambda ignores";
    assert!(ran.stdout.starts_with(start), "{}", ran.stdout);
    assert_eq!(ran.stdout.lines().count(), 1);
    assert!(ran.stdout.contains("%0Afix: set"), "{}", ran.stdout);
}

#[test]
fn own_template_is_clean_with_its_queue_and_with_another() {
    let here = concat!(env!("CARGO_MANIFEST_DIR"), "/../..").into();
    let own = run_in(&here, &["check", "--strict"]);
    assert_eq!((own.status, own.stdout.as_str()), (0, "template.yaml: no findings in 2 queues and 1 mapping\n"));
    for name in ["theirs", "theirs.fifo"] {
        let arn = format!("ExistingQueueArn=arn:aws:sqs:eu-central-1:123456789012:{name}");
        let other = run_in(&here, &["check", "--strict", "--parameter", &arn]);
        assert_eq!(
            (other.status, other.stdout.as_str()),
            (0, "template.yaml: no findings in 0 queues and 1 mapping\n")
        );
    }
}
