//! Functions in other languages are named and left out, and nothing else runs in their place.

use serde_json::{Value, json};

use crate::dev::serve;
use crate::kit::{Ran, directory, findings, run, run_in};

/// A Rust function and three others, each with a queue.
const MIXED: &str = "\
Transform: AWS::Serverless-2016-10-31
Parameters:
  Language: {Type: String, Default: python3.13}
Globals:
  Function: {Timeout: 5}
Resources:
  Orders: {Type: AWS::SQS::Queue, Properties: {QueueName: orders, VisibilityTimeout: 30}}
  Mails: {Type: AWS::SQS::Queue, Properties: {QueueName: mails, VisibilityTimeout: 30}}
  Archives: {Type: AWS::SQS::Queue, Properties: {QueueName: archives, VisibilityTimeout: 30}}
  Scans: {Type: AWS::SQS::Queue, Properties: {QueueName: scans, VisibilityTimeout: 30}}
  Place:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: .
      Handler: bootstrap
      Runtime: provided.al2023
      Events: {Batches: {Type: SQS, Properties: {Queue: !GetAtt Orders.Arn}}}
  Notify:
    Type: AWS::Lambda::Function
    Properties: {Runtime: python3.13, Handler: index.handler, Code: {ZipFile: 'def handler(e, c): pass'}}
  Notifying:
    Type: AWS::Lambda::EventSourceMapping
    Properties: {EventSourceArn: !GetAtt Mails.Arn, FunctionName: !Ref Notify}
  Archive:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: .
      Handler: archive.handler
      Runtime: !Ref Language
      Events: {Batches: {Type: SQS, Properties: {Queue: !GetAtt Archives.Arn}}}
  Scan:
    Type: AWS::Serverless::Function
    Metadata: {Dockerfile: Dockerfile}
    Properties:
      PackageType: Image
      Events: {Batches: {Type: SQS, Properties: {Queue: !GetAtt Scans.Arn}}}
";

fn never(event: Value) -> Value {
    panic!("nothing was sent: {event}")
}

fn dev(template: &str, arguments: &[&str]) -> Ran {
    run(template, &[&["dev", "--port", "0", "--json", "--until-idle"], arguments].concat())
}

/// Returns the functions that are left out, each with its queues.
fn left_out(ran: &Ran) -> Vec<(String, Value)> {
    assert_eq!(ran.status, 0, "{}{}", ran.stdout, ran.stderr);
    let events = ran.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let left_out = events.filter(|event| event["event"] == "left_out");
    left_out.map(|event| (event["function"].as_str().unwrap().to_owned(), event["queues"].clone())).collect()
}

#[test]
fn functions_in_other_languages_and_images_are_left_out_by_name() {
    let expected = [("Notify", "mails"), ("Archive", "archives"), ("Scan", "scans")];
    let expected = expected.map(|(function, queue)| (function.to_owned(), json!([queue])));
    assert_eq!(left_out(&dev(MIXED, &["--invoke-url", &serve(never)])), expected);
    // Only the parameter's value tells the language.
    let rust = dev(MIXED, &["--invoke-url", &serve(never), "-p", "Language=provided.al2023"]);
    assert_eq!(left_out(&rust).len(), 2);
}

#[test]
fn queues_of_a_template_without_a_rust_function_are_served() {
    let python = MIXED.replace("Runtime: provided.al2023", "Runtime: nodejs22.x");
    let ran = dev(&python, &[]);
    assert_eq!(left_out(&ran).len(), 4, "nothing is built: {}", ran.stderr);
    assert!(ran.stdout.contains("/orders"), "{}", ran.stdout);
}

#[test]
fn custom_runtime_without_a_package_is_left_out() {
    let directory = directory();
    let template = MIXED.replace("Runtime: !Ref Language", "Runtime: provided.al2023");
    let template = template.replace("CodeUri: .\n      Handler: archive", "CodeUri: ./archive\n      Handler: archive");
    std::fs::create_dir_all(directory.join("src")).unwrap();
    std::fs::write(directory.join("template.yaml"), template).unwrap();
    let manifest = "[package]\nname = \"place\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[workspace]\n";
    std::fs::write(directory.join("Cargo.toml"), manifest).unwrap();
    std::fs::write(directory.join("src/main.rs"), "fn main() {}").unwrap();
    let ran = run_in(&directory, &["dev", "--port", "0", "--json", "--until-idle"]);
    // The package is built, but its program does not ask for invocations.
    assert_eq!(ran.status, 2, "{}", ran.stdout);
    assert!(ran.stderr.contains("the function Place"), "{}", ran.stderr);
    let archive = ran.stdout.lines().find(|line| line.contains(r#""function":"Archive""#)).unwrap();
    assert!(archive.contains("left_out") && archive.contains("no Cargo.toml"), "{archive}");
}

#[test]
fn unknown_runtime_is_one_error_with_the_remedy() {
    let ran = dev(&MIXED.replace(", Default: python3.13}", "}"), &["--invoke-url", &serve(never)]);
    assert_eq!(ran.status, 2, "{}", ran.stdout);
    for part in ["template.yaml:", "`Runtime` of the function `Archive`", "--parameter Language="] {
        assert!(ran.stderr.contains(part), "{part}: {}", ran.stderr);
    }
}

/// AWS treats a mapping the same in every language.
#[test]
fn mappings_of_other_languages_are_checked() {
    let found = findings(MIXED);
    let reports = found.iter().filter(|found| found.contains("report-batch-item-failures")).count();
    assert_eq!(reports, 4, "{found:?}");
}
