//! Input that cannot be read is one clear error, and status 2.

use crate::kit::{GOOD, Ran, directory, run, run_in};

fn assert_refused(ran: &Ran, expected: &str) {
    assert_eq!((ran.status, ran.stdout.as_str()), (2, ""), "{}", ran.stderr);
    assert!(ran.stderr.contains(expected), "{}", ran.stderr);
    assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
}

#[test]
fn missing_file_is_one_error() {
    assert_refused(&run_in(&directory(), &["check"]), "there is no template.yaml, template.yml or template.json here");
    assert_refused(&run_in(&directory(), &["check", "no.yaml"]), "cannot read no.yaml: ");
}

#[test]
fn file_that_is_not_text_is_one_error() {
    let directory = directory();
    std::fs::write(directory.join("template.yaml"), [b'a', 0xff]).unwrap();
    assert_refused(&run_in(&directory, &["check"]), "template.yaml is not UTF-8 text: byte 1 is invalid");
}

#[test]
fn invalid_yaml_is_one_error_with_its_place() {
    assert_refused(&run("Resources: [", &["check"]), "redrive: template.yaml:2:1: this is neither YAML nor JSON");
}

#[test]
fn file_that_is_not_a_template_is_one_error() {
    let problem = "template.yaml:1:1: there are no `Resources` here, so this is not a SAM or CloudFormation template";
    assert_refused(&run("name: ci", &["check"]), problem);
    assert_refused(&run("", &["check"]), "template.yaml:1:1: there is nothing in it");
}

#[test]
fn unknown_parameter_is_one_error() {
    assert_refused(&run(GOOD, &["check", "--parameter", "A=b"]), "has no parameter `A`, nor any other");
    let ran = run(GOOD, &["check", "--parameter", "A"]);
    assert_eq!(ran.status, 2);
    assert!(ran.stderr.contains("write it as NAME=VALUE"), "{}", ran.stderr);
}

#[test]
fn json_template_is_found_and_read() {
    let directory = directory();
    let template = r#"{"Resources": {"Q": {"Type": "AWS::SQS::Queue", "Properties": {"DelaySeconds": 901}}}}"#;
    std::fs::write(directory.join("template.json"), template).unwrap();
    let ran = run_in(&directory, &["check"]);
    assert_eq!(ran.status, 1);
    assert!(ran.stdout.starts_with("template.json:1:80: error: [attribute-range] Q: "), "{}", ran.stdout);
}
