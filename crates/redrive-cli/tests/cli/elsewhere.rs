//! `redrive dev --endpoint-url` with an SQS that this test serves.

use std::io::{BufRead, BufReader, Lines};
use std::net::TcpListener;
use std::process::{Child, ChildStdout, Command, Stdio};

use crate::dev::{orders, serve};
use crate::kit::{GOOD, Ran, command, directory, ran};
use crate::served::Served;

/// Returns an address that leads to this machine but is not a loopback address, so that it counts as another machine.
pub(crate) fn away(served: &Served) -> String {
    served.url.replace("127.0.0.1", "0.0.0.0")
}

/// Returns the command in a directory with this template, and with credentials.
fn dev(template: &str, endpoint: &str) -> Command {
    let directory = directory();
    std::fs::write(directory.join("template.yaml"), template).unwrap();
    let mut command = command(&directory, &["dev", "--endpoint-url", endpoint, "--invoke-url", &serve(orders)]);
    command.env("AWS_REGION", "us-east-1").env("AWS_ACCESS_KEY_ID", "id").env("AWS_SECRET_ACCESS_KEY", "secret");
    command
}

/// The running command.
struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    seen: String,
}

impl Running {
    fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines, seen: String::new() }
    }

    fn wait_for(&mut self, text: &str) {
        let line = self.lines.by_ref().map(Result::unwrap).inspect(|line| self.seen += &format!("{line}\n"));
        let found = line.into_iter().any(|line| line.contains(text));
        if !found {
            let mut error = String::new();
            std::io::Read::read_to_string(self.child.stderr.as_mut().unwrap(), &mut error).unwrap();
            panic!("no {text:?} in {}{error}", self.seen);
        }
    }

    /// Interrupts it. A message ends the running poll, which would otherwise wait for one.
    #[cfg(unix)]
    fn end(mut self, served: &Served) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
        self.wait_for("polls, which take up to 20 s");
        served.send("orders", "{}");
        assert!(self.child.wait().unwrap().success());
    }
}

#[cfg(unix)]
#[test]
fn missing_queues_are_created_on_this_machine() {
    let served = Served::with(&[]);
    let mut running = Running::start(dev(GOOD, &served.url));
    running.wait_for("polls SQS at");
    assert!(running.seen.contains("/000000000000/orders, a new queue"), "{}", running.seen);
    assert_eq!(served.attribute("orders", "VisibilityTimeout"), "180");
    assert!(served.attribute("orders", "RedrivePolicy").contains("arn:aws:sqs:us-east-1:000000000000:dead"));
    served.send("orders", "{}");
    running.wait_for("orders -> Place: 1 message, 1 done");
    running.end(&served);
}

#[cfg(unix)]
#[test]
fn existing_queues_are_left_as_they_are() {
    let served = Served::with(&["orders", "dead"]);
    served.set("orders", "VisibilityTimeout", "77");
    let mut running = Running::start(dev(GOOD, &served.url));
    running.wait_for("polls SQS at");
    assert!(running.seen.contains("/orders, an existing queue"), "{}", running.seen);
    served.send("orders", "OUT-OF-STOCK");
    running.wait_for("visible again after 77s");
    assert_eq!(served.attribute("orders", "VisibilityTimeout"), "77");
    assert_eq!(served.attribute("dead", "MessageRetentionPeriod"), "345600");
    running.end(&served);
}

#[cfg(unix)]
#[test]
fn only_consumed_queues_must_exist_on_another_machine() {
    let served = Served::with(&["orders"]);
    let mut running = Running::start(dev(GOOD, &away(&served)));
    running.wait_for("processed messages are deleted there");
    served.send("orders", "{}");
    running.wait_for("1 done");
    running.end(&served);
    assert_eq!(served.queues(), ["orders"], "no queue is created");
}

fn refused(ran: &Ran, expected: &[&str]) {
    assert_eq!(ran.status, 2, "{}", ran.stdout);
    assert_eq!(ran.stderr.trim_end().lines().count(), 1, "one error: {}", ran.stderr);
    for expected in expected {
        assert!(ran.stderr.contains(expected), "{expected}: {}", ran.stderr);
    }
}

#[cfg(unix)]
#[test]
fn nothing_is_created_on_another_machine() {
    let served = Served::with(&[]);
    let ran = ran(dev(GOOD, &away(&served)).output().unwrap());
    refused(&ran, &["has no queue orders,", "0.0.0.0", "nothing is created", "deploy the template", "--stack-name"]);
    assert!(served.queues().is_empty());
}

#[test]
fn queue_with_a_short_visibility_timeout_is_refused() {
    let served = Served::with(&["orders", "dead"]);
    served.set("orders", "VisibilityTimeout", "20");
    refused(&ran(dev(GOOD, &served.url).output().unwrap()), &["/orders", "VisibilityTimeout 20s"]);
}

#[test]
fn unreachable_sqs_is_one_error_with_the_remedy() {
    let nobody = format!("http://{}", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    refused(&ran(dev(GOOD, &nobody).output().unwrap()), &["no server listens", &nobody, "--endpoint-url"]);
    refused(&ran(dev(GOOD, "localhost:4566").output().unwrap()), &["localhost:4566", "http://"]);
    let mut anonymous = dev(GOOD, "https://sqs.eu-west-1.amazonaws.com");
    refused(
        &ran(anonymous.env_remove("AWS_ACCESS_KEY_ID").output().unwrap()),
        &["no credentials", "export-credentials"],
    );
}

#[test]
fn options_of_the_served_sqs_are_refused_by_name() {
    for option in ["--demo", "--skip-waits", "--until-idle", "--port=1"] {
        let ran = ran(dev(GOOD, "http://localhost:1").arg(option).output().unwrap());
        assert!(ran.status == 2 && ran.stderr.contains(option.split('=').next().unwrap()), "{}", ran.stderr);
        assert!(ran.stderr.contains("--endpoint-url"), "{}", ran.stderr);
    }
}
