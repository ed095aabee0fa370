//! Runs the command on templates, and provides a template without faults.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use axum::Router;

/// The result of a run.
pub(crate) struct Ran {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs the command in its own directory with a `template.yaml`.
pub(crate) fn run(template: &str, arguments: &[&str]) -> Ran {
    let directory = directory();
    std::fs::write(directory.join("template.yaml"), template).unwrap();
    run_in(&directory, arguments)
}

pub(crate) fn run_in(directory: &PathBuf, arguments: &[&str]) -> Ran {
    ran(command(directory, arguments).output().unwrap())
}

/// Returns the command without the variables for SQS's address and credentials.
pub(crate) fn command(directory: &PathBuf, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_redrive"));
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("AWS_")) {
            command.env_remove(name);
        }
    }
    // The developer's profiles and the machine's role are not used either.
    for name in ["AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"] {
        command.env(name, directory.join("none"));
    }
    command.env("AWS_EC2_METADATA_DISABLED", "true");
    command.args(arguments).current_dir(directory);
    command
}

pub(crate) fn ran(Output { status, stdout, stderr }: Output) -> Ran {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { status: status.code().unwrap(), stdout: text(stdout), stderr: text(stderr) }
}

/// Creates an empty directory.
pub(crate) fn directory() -> PathBuf {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let name = format!("cli-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&directory).unwrap();
    directory
}

/// Serves this on its own thread until the test ends. Returns its URL.
pub(crate) fn served(router: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    listener.set_nonblocking(true).unwrap();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            axum::serve(tokio::net::TcpListener::from_std(listener).unwrap(), router).await.unwrap();
        });
    });
    url
}

/// A template without findings.
pub(crate) const GOOD: &str = "\
Transform: AWS::Serverless-2016-10-31
Resources:
  Orders:
    Type: AWS::SQS::Queue
    Properties:
      QueueName: orders
      VisibilityTimeout: 180
      MessageRetentionPeriod: 345600
      RedrivePolicy:
        deadLetterTargetArn: !GetAtt Dead.Arn
        maxReceiveCount: 5
  Dead:
    Type: AWS::SQS::Queue
    Properties:
      QueueName: dead
      MessageRetentionPeriod: 1209600
  Place:
    Type: AWS::Serverless::Function
    Properties:
      Timeout: 30
      Events:
        Batches:
          Type: SQS
          Properties:
            Queue: !GetAtt Orders.Arn
            BatchSize: 10
            FunctionResponseTypes: [ReportBatchItemFailures]
            ScalingConfig: {MaximumConcurrency: 10}
  Sends:
    Type: AWS::IAM::ManagedPolicy
    Properties:
      PolicyDocument:
        Statement:
          - Effect: Allow
            Action: [sqs:SendMessage]
            Resource: !GetAtt Orders.Arn
  DeadAlarm:
    Type: AWS::CloudWatch::Alarm
    Properties:
      Namespace: AWS/SQS
      MetricName: ApproximateNumberOfMessagesVisible
      Dimensions: [{Name: QueueName, Value: !GetAtt Dead.QueueName}]
  AgeAlarm:
    Type: AWS::CloudWatch::Alarm
    Properties:
      Namespace: AWS/SQS
      MetricName: ApproximateAgeOfOldestMessage
      Dimensions: [{Name: QueueName, Value: !GetAtt Orders.QueueName}]
";

/// Turns both queues into FIFO queues.
pub(crate) const FIFO: [(&str, &str); 2] = [
    ("QueueName: orders", "QueueName: orders.fifo\n      FifoQueue: true"),
    ("QueueName: dead", "QueueName: dead.fifo\n      FifoQueue: true"),
];

/// Returns the good template with some of its text changed.
pub(crate) fn changed(changes: &[(&str, &str)]) -> String {
    let mut template = GOOD.to_owned();
    for (old, new) in changes {
        assert!(template.contains(old), "there is no {old:?} to change");
        template = template.replacen(old, new, 1);
    }
    template
}

/// Returns the findings: severity, rule, and the line.
pub(crate) fn findings(template: &str) -> Vec<String> {
    let ran = run(template, &["check", "--format", "json"]);
    assert!(ran.stderr.is_empty(), "{}", ran.stderr);
    let report: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    let findings = report["findings"].as_array().unwrap();
    for finding in findings {
        let said = |key: &str| !finding[key].as_str().unwrap().is_empty();
        assert!(said("problem") && said("fix") && said("resource"), "{finding}");
    }
    let lines: Vec<&str> = template.lines().collect();
    let of = |finding: &serde_json::Value| {
        let line = lines[usize::try_from(finding["line"].as_u64().unwrap()).unwrap() - 1].trim();
        format!("{} {} at {line}", finding["severity"].as_str().unwrap(), finding["rule"].as_str().unwrap())
    };
    findings.iter().map(of).collect()
}

/// Returns the findings of the good template after some changes.
pub(crate) fn after(changes: &[(&str, &str)]) -> Vec<String> {
    findings(&changed(changes))
}
