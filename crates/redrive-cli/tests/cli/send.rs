//! `redrive send` to an SQS that this test serves.

use std::io::Write;
use std::net::TcpListener;
use std::process::Stdio;

use aws_sdk_sqs::types::MessageSystemAttributeName as System;
use redrive_local::Faults;

#[cfg(unix)]
use crate::elsewhere::away;
use crate::kit::{Ran, command, directory, ran};
use crate::served::Served;

/// Sends the contents of stdin.
fn piped(served: &Served, arguments: &[&str], stdin: &[u8]) -> Ran {
    let arguments = [&["send", "--endpoint-url", &served.url], arguments].concat();
    let mut command = command(&directory(), &arguments);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // With wrong arguments the command ends before it reads.
    let _ = child.stdin.take().unwrap().write_all(stdin);
    ran(child.wait_with_output().unwrap())
}

fn event(name: &str) -> String {
    format!("{}/../../events/{name}.json", env!("CARGO_MANIFEST_DIR"))
}

fn all_sent(ran: &Ran, summary: &str) {
    assert_eq!((ran.status, ran.stdout.trim_end(), ran.stderr.as_str()), (0, summary, ""));
}

#[test]
fn line_is_a_body() {
    let served = Served::with(&["orders"]);
    let ran = piped(&served, &["orders"], b"{\"a\": 1}\nplain text\r\n\nlast");
    all_sent(&ran, "orders: 3 sent, 0 failed, 1 empty lines skipped");
    assert_eq!(served.bodies("orders"), ["{\"a\": 1}", "plain text", "last"]);
}

#[test]
fn many_lines_arrive_in_order_on_a_fifo_queue() {
    let served = Served::with(&["orders.fifo"]);
    let lines: Vec<_> = (1..=95).map(|line| line.to_string()).collect();
    let arguments = ["orders.fifo", "-", "--group", "g", "--deduplication-id", "run"];
    all_sent(&piped(&served, &arguments, lines.join("\n").as_bytes()), "orders.fifo: 95 sent, 0 failed");
    assert_eq!(served.bodies("orders.fifo"), lines);
}

#[test]
fn list_of_records_is_an_event() {
    let served = Served::with(&["orders"]);
    let ran = piped(&served, &["orders", &event("pipe")], b"");
    all_sent(&ran, "orders: 2 sent, 0 failed");
    let bodies = served.bodies("orders");
    assert!(bodies[0].starts_with("{\"order_id\"") && bodies[1] == "not json", "{bodies:?}");
}

#[test]
fn event_keeps_its_groups_ids_and_attributes() {
    let served = Served::with(&["orders.fifo", "orders"]);
    all_sent(&piped(&served, &["orders.fifo", &event("fifo")], b""), "orders.fifo: 6 sent, 0 failed");
    let messages = served.take("orders.fifo");
    let system = |index: usize, name| messages[index].attributes.as_ref().unwrap()[&name].clone();
    let first = messages.iter().position(|message| message.body().unwrap().contains("order-1013")).unwrap();
    assert_eq!(system(first, System::MessageGroupId), "customer-a");
    assert!(system(first, System::MessageDeduplicationId).starts_with("e0c50ccab0fb6cd9"));

    // A standard queue has groups too, but no deduplication.
    all_sent(&piped(&served, &["orders", &event("fifo")], b""), "orders: 6 sent, 0 failed");
}

#[test]
fn attributes_delay_and_url_come_from_the_command_line() {
    let served = Served::with(&["orders"]);
    let url = served.url_of("orders");
    let mut command = command(
        &directory(),
        &["send", &url, "--body", "a", "--attribute", "channel=web", "-a", "n:Number=1.5", "-a", "b:Binary=AAE="],
    );
    all_sent(&ran(command.output().unwrap()), "orders: 1 sent, 0 failed");
    let message = served.take("orders").remove(0);
    let attributes = message.message_attributes.unwrap();
    assert_eq!(attributes["channel"].string_value(), Some("web"));
    assert_eq!((attributes["n"].data_type(), attributes["n"].string_value()), ("Number", Some("1.5")));
    assert_eq!(attributes["b"].binary_value().unwrap().as_ref(), [0, 1]);

    all_sent(&piped(&served, &["orders", "--body", "b", "--delay", "900"], b""), "orders: 1 sent, 0 failed");
    assert_eq!(served.attribute("orders", "ApproximateNumberOfMessagesDelayed"), "1");
}

#[test]
fn whole_input_is_one_body_on_request() {
    let served = Served::with(&["orders"]);
    all_sent(&piped(&served, &["orders", "--whole"], b"{\n  \"a\": 1\n}\n"), "orders: 1 sent, 0 failed");
    assert_eq!(served.bodies("orders"), ["{\n  \"a\": 1\n}\n"]);
    all_sent(&piped(&served, &["orders", "--lines"], b"{\n1\n"), "orders: 2 sent, 0 failed");
    assert_eq!(served.bodies("orders"), ["{", "1"]);
    let s3 = br#"{"Records": [{"s3": {}}]}"#;
    all_sent(&piped(&served, &["orders", "--lines"], s3), "orders: 1 sent, 0 failed");
    assert_eq!(served.bodies("orders")[0].as_bytes(), s3);
}

#[test]
fn each_failure_is_reported_with_place_and_cause() {
    let served = Served::with(&["orders"]);
    served.set("orders", "MaximumMessageSize", "1024");
    let long = "x".repeat(1_025);
    let stdin = [b"a\n", long.as_bytes(), b"\nb\0\n\xff\nc\n"].concat();
    let ran = piped(&served, &["orders"], &stdin);
    assert_eq!((ran.status, ran.stdout.as_str()), (1, "orders: 2 sent, 3 failed\n"), "{}", ran.stderr);
    for (line, cause) in [(2, "1024 bytes"), (3, "U+0000"), (4, "not UTF-8")] {
        let told = ran.stderr.lines().find(|told| told.contains(&format!("stdin: line {line} failed: ")));
        assert!(told.is_some_and(|told| told.contains(cause)), "{line}: {}", ran.stderr);
    }
    assert_eq!(served.bodies("orders").len(), 2);
}

#[test]
fn bad_record_of_an_event_costs_no_other() {
    let served = Served::with(&["orders"]);
    let ran = piped(&served, &["orders", &event("odd-attributes")], b"");
    assert_eq!((ran.status, ran.stdout.as_str()), (1, "orders: 2 sent, 1 failed\n"));
    assert!(ran.stderr.contains("odd-attributes.json: Records[0] failed: the attribute \"session\""), "{}", ran.stderr);
}

/// Checks status 2, and one line with all of these parts.
fn refused(ran: &Ran, expected: &[&str]) {
    assert_eq!((ran.status, ran.stdout.as_str()), (2, ""), "{}", ran.stderr);
    assert_eq!(ran.stderr.trim_end().lines().count(), 1, "one error: {}", ran.stderr);
    for expected in expected {
        assert!(ran.stderr.contains(expected), "{expected}: {}", ran.stderr);
    }
}

#[test]
fn input_that_cannot_be_sent_is_one_error_with_place_and_remedy() {
    let served = Served::with(&["orders", "orders.fifo"]);
    let refuses = |arguments: &[&str], stdin: &str, expected: &[&str]| {
        refused(&piped(&served, arguments, stdin.as_bytes()), expected);
    };
    refuses(&["orders", "no.jsonl"], "", &["cannot read no.jsonl", "check the path"]);
    refuses(&["orders", "."], "", &["cannot read ."]);
    refuses(&["nope"], "a", &["the queue nope", "no such queue", &served.url]);
    refuses(&[&served.url_of("nope")], "a\nb\nc", &["cannot send to nope", "no such queue"]);
    refuses(&["a/b"], "", &["names no queue"]);
    refuses(&["orders"], "{\"Records\": [", &["begins as an SQS event", "line 1 column 13", "--lines"]);
    refuses(&["orders"], "\n{\n  \"a\": 1\n}\n", &["stdin: line 2 begins JSON", "--whole", "--lines"]);
    refuses(&["orders.fifo"], "a\nb", &["without a group", "--group"]);
    refuses(&["orders.fifo", "--group", "g"], "a\nb", &["orders.fifo", "pass --deduplication-id"]);
    refuses(&["orders.fifo", "--delay", "5"], "a", &["FIFO", "leave --delay out"]);
    refuses(&["orders", "--deduplication-id", "a"], "a", &["standard queue", "--deduplication-id"]);
}

#[test]
fn wrong_arguments_are_refused_by_name() {
    let served = Served::with(&["orders"]);
    for (arguments, expected) in [
        (&["-a", "x"][..], "NAME=VALUE"),
        (&["--delay", "901"], "0..=900"),
        (&["--body", "a", "file"], "--body"),
        (&["--lines", "--whole"], "--whole"),
    ] {
        let ran = piped(&served, &[&["orders"], arguments].concat(), b"");
        assert!(ran.status == 2 && ran.stderr.contains(expected), "{}", ran.stderr);
    }
}

#[test]
fn empty_body_is_a_failure() {
    let served = Served::with(&["orders"]);
    let ran = piped(&served, &["orders", "--body", ""], b"");
    assert_eq!((ran.status, ran.stdout.as_str()), (1, "orders: 0 sent, 1 failed\n"));
    assert!(ran.stderr.contains("it is empty"), "{}", ran.stderr);
}

#[test]
fn failure_without_fault_is_retried_until_success() {
    let served = Served::with(&["orders"]);
    served.set_faults(Faults::none().throttles(0.1).failed_entries(0.1));
    let lines: Vec<_> = (1..=20).map(|line| line.to_string()).collect();
    all_sent(&piped(&served, &["orders"], lines.join("\n").as_bytes()), "orders: 20 sent, 0 failed");
    served.set_faults(Faults::none());
    let mut bodies: Vec<u32> = served.bodies("orders").iter().map(|body| body.parse().unwrap()).collect();
    bodies.sort_unstable();
    assert_eq!(bodies, (1..=20).collect::<Vec<_>>());
}

#[test]
fn message_that_the_queue_refuses_is_reported_with_status_1() {
    let served = Served::with(&["orders"]);
    served.set_faults(Faults::none().refused_entries(1.0));
    let ran = piped(&served, &["orders"], b"a\nb");
    assert_eq!((ran.status, ran.stdout.as_str()), (1, "orders: 0 sent, 2 failed\n"), "{}", ran.stderr);
    assert!(ran.stderr.contains("stdin: line 2 failed: "), "{}", ran.stderr);
}

#[cfg(unix)]
#[test]
fn interrupted_send_reports_what_was_sent() {
    let served = Served::with(&["orders"]);
    let mut command = command(&directory(), &["send", "orders", "--endpoint-url", &served.url]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // The input stays open, so only the signal ends the command.
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"a\nb\nc\n").unwrap();
    assert_eq!(served.wait_for("orders", 3).len(), 3);
    let pid = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let ran = ran(child.wait_with_output().unwrap());
    assert_eq!(ran.stdout, "orders: 3 sent, 0 failed; the input after line 3 was not sent\n", "{}", ran.stderr);
    assert!(ran.status == 1 && ran.stderr.contains("Ctrl-C"), "{}", ran.stderr);
    drop(input);
}

#[test]
fn missing_server_is_an_error_that_says_what_to_start() {
    let nobody = format!("http://{}", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    let url = format!("{nobody}/000000000000/orders");
    for arguments in [&["send", "orders", "--body", "a", "--endpoint-url", &nobody][..], &["send", &url, "--body", "a"]]
    {
        let ran = ran(command(&directory(), arguments).output().unwrap());
        refused(&ran, &["no server listens", &nobody, "redrive dev", "--endpoint-url"]);
    }
}

#[test]
fn another_machine_needs_credentials() {
    let url = "https://sqs.eu-west-1.amazonaws.com/123456789012/orders";
    let ran = ran(command(&directory(), &["send", url, "--body", "a"]).output().unwrap());
    refused(&ran, &["no credentials", "AWS_ACCESS_KEY_ID", "export-credentials"]);
}

/// Sends to a queue on another machine, with a profile of this configuration.
#[cfg(unix)]
fn with_profile(served: &Served, profile: &str) -> Ran {
    let directory = directory();
    let file = directory.join("config");
    std::fs::write(&file, format!("[profile shop]\nregion = us-east-1\n{profile}")).unwrap();
    let mut command = command(&directory, &["send", "orders", "--body", "a", "--endpoint-url", &away(served)]);
    ran(command.env("AWS_CONFIG_FILE", file).env("AWS_PROFILE", "shop").output().unwrap())
}

#[cfg(unix)]
#[test]
fn region_and_credentials_may_come_from_a_profile() {
    let served = Served::with(&["orders"]);
    let asked = directory().join("asked");
    let answer = r#"{"Version": 1, "AccessKeyId": "id", "SecretAccessKey": "secret"}"#;
    let process = format!("echo once >> {}; echo '{answer}'", asked.display());
    all_sent(&with_profile(&served, &format!("credential_process = {process}")), "orders: 1 sent, 0 failed");
    assert_eq!(served.bodies("orders"), ["a"]);
    assert_eq!(std::fs::read_to_string(asked).unwrap(), "once\n", "a second factor is asked for once");
    let session =
        "sso_start_url = https://example.com/start\nsso_region = us-east-1\nsso_account_id = 1\nsso_role_name = a";
    refused(&with_profile(&served, session), &["no credentials for http://0.0.0.0", "aws sso login"]);
}
