//! `redrive dlq`.

use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aws_sdk_sqs::types::{Message, MessageSystemAttributeName as System};
use redrive::{Body, Effects, Outcome};
use redrive_local::{Faults, Kit};
use serde_json::{Value, json};

use crate::kit::{Ran, command, directory, ran};
use crate::proxy::{Way, proxy};
use crate::served::Served;

fn dlq(url: &str, arguments: &[&str]) -> Ran {
    ran(start(url, arguments).wait_with_output().unwrap())
}

fn start(url: &str, arguments: &[&str]) -> Child {
    let mut command = command(&directory(), &[&["dlq"], arguments, &["--endpoint-url", url]].concat());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[cfg(unix)]
fn interrupt(child: &Child) {
    let pid = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
}

/// Returns the messages in the JSON output.
fn listed(served: &Served, queue: &str) -> Vec<Value> {
    let ran = dlq(&served.url, &["list", queue, "--json", "--body"]);
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn refused(ran: &Ran, expected: &[&str]) {
    assert_eq!((ran.status, ran.stdout.as_str()), (2, ""), "{}", ran.stderr);
    assert_eq!(ran.stderr.trim_end().lines().count(), 1, "one error: {}", ran.stderr);
    for expected in expected {
        assert!(ran.stderr.contains(expected), "{expected}: {}", ran.stderr);
    }
}

/// Checks the status, stdout, and parts of stderr.
fn ended(ran: &Ran, status: i32, stdout: &str, told: &[&str]) {
    assert_eq!((ran.status, ran.stdout.trim_end()), (status, stdout), "{}", ran.stderr);
    for told in told {
        assert!(ran.stderr.contains(told), "{told}: {}", ran.stderr);
    }
}

/// Creates `orders` and its dead-letter queue with the message "by handler", which a handler has sent there.
async fn dead_by_handler(kit: &Kit) {
    let orders = kit.queue("orders").max_receive_count(1).create().await.unwrap();
    let place = |Body(_): Body| async { Outcome::DeadLetter("no such order".into()) };
    let effects = Effects::with_client(orders.client().clone());
    orders.mapping(redrive::handler(place).effects(effects)).start().unwrap();
    orders.send("by handler").await.unwrap();
    kit.until_idle().await;
}

/// Does the same, and lets SQS move a second message "by policy" there.
fn dead_letters() -> Served {
    let served = Served::after(dead_by_handler);
    served.send_to("orders", "customer-a", "by policy");
    served.fail("orders", 2);
    served
}

/// Creates `orders.fifo` with this many messages of one group in its dead-letter queue.
fn fifo(count: usize) -> Served {
    let served = Served::after(async |kit: &Kit| {
        kit.queue("orders.fifo").max_receive_count(1).create().await.unwrap();
    });
    (1..=count).for_each(|body| served.send_to("orders.fifo", "g", &body.to_string()));
    while served.attribute("orders-dlq.fifo", "ApproximateNumberOfMessages") != count.to_string() {
        served.fail("orders.fifo", 1);
    }
    served
}

fn made(served: &Served, queue: &str) {
    let mut create = command(&directory(), &["queue", "create", queue, "--endpoint-url", &served.url]);
    assert!(create.output().unwrap().status.success());
}

fn in_flight(served: &Served, queue: &str) -> String {
    served.attribute(queue, "ApproximateNumberOfMessagesNotVisible")
}

fn attribute<'a>(message: &'a Message, name: &str) -> Option<&'a str> {
    message.message_attributes()?.get(name)?.string_value()
}

#[test]
fn list_shows_reason_source_and_receive_count() {
    let served = dead_letters();
    for queue in ["orders", "orders-dlq", &served.url_of("orders")] {
        let listed = listed(&served, queue);
        let part = |index: usize, keys: &[&str]| {
            Value::Array(keys.iter().map(|key| listed[index][key].clone()).collect::<Vec<_>>())
        };
        let keys = ["body", "reason", "source", "group", "moved_by_redrive_policy"];
        let source = "arn:aws:sqs:us-east-1:000000000000:orders";
        assert_eq!(part(0, &keys), json!(["by handler", "no such order", source, null, false]), "{listed:?}");
        assert_eq!(part(1, &keys), json!(["by policy", null, source, "customer-a", true]));
        assert_eq!(listed[0]["receive_count"], 1, "the note counts, however often it is looked at");
        assert!(listed[0]["original_id"].is_string() && listed[0]["sent_timestamp"].is_u64());
    }
    assert_eq!(in_flight(&served, "orders-dlq"), "0", "all messages are released");
}

#[test]
fn list_for_people_is_a_line_a_message_with_the_count_on_stderr() {
    let served = dead_letters();
    let ran = dlq(&served.url, &["list", "orders"]);
    let lines: Vec<Vec<_>> = ran.stdout.lines().map(|line| line.split_whitespace().skip(2).collect()).collect();
    let expected = [vec!["1", "orders", "-", "no", "such", "order"], vec!["3", "orders", "customer-a"]];
    assert_eq!((&lines[0], &lines[1][1..3]), (&expected[0], &expected[1][1..]), "{}", ran.stdout);
    assert!(ran.stdout.contains("moved by the RedrivePolicy"), "{}", ran.stdout);
    assert!(!ran.stdout.contains("by handler") && !ran.stdout.contains('\t'), "{}", ran.stdout);
    assert_eq!(ran.stderr, "redrive: orders-dlq: 2 messages\n");
    let one = dlq(&served.url, &["list", "orders", "--limit", "1", "--body"]);
    assert!(one.stdout.ends_with("\n    by handler\n"), "{}", one.stdout);
    assert_eq!(one.stderr, "redrive: orders-dlq: 1 of about 2 messages; a larger --limit shows more\n");
}

#[test]
fn list_of_a_fifo_queue_shows_the_first_ten_of_a_group() {
    let served = fifo(12);
    let ran = dlq(&served.url, &["list", "orders.fifo"]);
    assert_eq!(ran.stdout.lines().count(), 10, "{}", ran.stdout);
    assert!(ran.stderr.contains("10 of about 12 messages; a FIFO queue shows the first ten"), "{}", ran.stderr);
    assert_eq!(in_flight(&served, "orders-dlq.fifo"), "0");
    let bodies: Vec<_> = listed(&served, "orders.fifo").iter().map(|each| each["body"].clone()).collect();
    assert_eq!(bodies, (1..=10).map(|body| body.to_string()).collect::<Vec<_>>(), "each run shows them in order");
}

#[test]
fn queue_with_a_consumer_is_refused_without_force() {
    let served = Served::with(&["orders"]);
    served.send("orders", "a");
    for arguments in [&["list", "orders"][..], &["move", "orders", "--all"], &["delete", "orders", "--all", "--yes"]] {
        refused(&dlq(&served.url, arguments), &["orders is not a dead-letter queue", "--force"]);
    }
    let ran = dlq(&served.url, &["list", "orders", "--force"]);
    assert_eq!((ran.status, ran.stderr.as_str()), (0, "redrive: orders: 1 message\n"));
    refused(&dlq(&served.url, &["list", "nope"]), &["cannot find the queue nope", "no such queue"]);
}

#[test]
fn queue_whose_policy_moves_messages_on_is_refused_without_force() {
    let served = dead_letters();
    made(&served, "last");
    served.set(
        "orders-dlq",
        "RedrivePolicy",
        r#"{"deadLetterTargetArn": "arn:aws:sqs:us-east-1:000000000000:last", "maxReceiveCount": 1}"#,
    );
    for arguments in
        [&["list", "orders"][..], &["move", "orders-dlq", "--id", "a"], &["delete", "orders", "--id=a", "-y"]]
    {
        refused(
            &dlq(&served.url, arguments),
            &["orders-dlq has a RedrivePolicy of its own", "after 1 receives", "to last", "--force"],
        );
    }
    assert_eq!(served.attribute("orders-dlq", "ApproximateNumberOfMessages"), "2");
    let ran = dlq(&served.url, &["list", "orders", "--force", "--limit", "1"]);
    assert!(ran.status == 0 && ran.stderr.contains("1 of about 2"), "{}", ran.stderr);
    // Moving all of them by a task receives none.
    let ran = dlq(&served.url, &["move", "orders-dlq", "--all", "--to", "last"]);
    assert!(ran.status == 0 && ran.stdout.starts_with("orders-dlq: "), "{}", ran.stderr);
}

#[test]
fn chosen_messages_are_moved_back_unchanged() {
    let served = dead_letters();
    let listed = listed(&served, "orders");
    let (id, original) = (listed[1]["id"].as_str().unwrap(), listed[0]["original_id"].as_str().unwrap());
    let ran = dlq(&served.url, &["move", "orders", "--id", id, original]);
    ended(&ran, 0, "orders-dlq: 2 messages moved to orders", &[]);
    let back = served.take("orders");
    assert_eq!(back.iter().map(|each| each.body().unwrap()).collect::<Vec<_>>(), ["by handler", "by policy"]);
    assert!(back[0].message_attributes().is_none(), "the note is left out: {:?}", back[0]);
    assert_eq!(attribute(&back[1], "channel"), Some("web"));
    assert_eq!(back[1].attributes().unwrap()[&System::MessageGroupId], "customer-a");
    assert!(served.take("orders-dlq").is_empty());
}

#[test]
fn other_messages_are_released_and_missing_ones_reported() {
    let served = dead_letters();
    let ran = dlq(&served.url, &["move", "orders", "--reason", "such"]);
    ended(&ran, 0, "orders-dlq: 1 message moved to orders", &[]);
    assert_eq!(
        (in_flight(&served, "orders-dlq").as_str(), served.bodies("orders").as_slice()),
        ("0", &["by handler".to_owned()][..])
    );
    let ran = dlq(&served.url, &["move", "orders", "--id", "nope"]);
    ended(&ran, 1, "orders-dlq: no message moved", &["message nope was not found"]);
    assert_eq!(served.bodies("orders-dlq"), ["by policy"]);
}

#[test]
fn fifo_message_that_is_moved_back_is_not_a_duplicate() {
    let served = fifo(3);
    let ids: Vec<_> =
        listed(&served, "orders.fifo").iter().map(|each| each["id"].as_str().unwrap().to_owned()).collect();
    let ran = dlq(&served.url, &["move", "orders.fifo", "--id", &ids[0], "--id", &ids[1]]);
    ended(&ran, 0, "orders-dlq.fifo: 2 messages moved to orders.fifo", &[]);
    let back = served.take("orders.fifo");
    assert_eq!(back.iter().map(|each| each.body().unwrap()).collect::<Vec<_>>(), ["1", "2"]);
    assert_eq!(back[0].attributes().unwrap()[&System::MessageDeduplicationId], ids[0]);
    assert_eq!(back[0].attributes().unwrap()[&System::MessageGroupId], "g");
    assert_eq!(served.bodies("orders-dlq.fifo"), ["3"]);
}

#[test]
fn message_that_its_destination_refuses_stays() {
    let served = dead_letters();
    served.set_faults(Faults::none().refused_entries(1.0));
    let ran = dlq(&served.url, &["move", "orders", "--reason", "such"]);
    served.set_faults(Faults::none());
    assert_eq!((ran.status, ran.stdout.trim_end()), (1, "orders-dlq: no message moved, 1 stay"), "{}", ran.stderr);
    assert!(ran.stderr.contains(" stays: "), "{}", ran.stderr);
    assert!(served.bodies("orders").is_empty());
    assert_eq!(in_flight(&served, "orders-dlq"), "2", "the release failed too");
    assert!(ran.stderr.contains("2 messages could not be released, and stay hidden for up to 300 s"), "{}", ran.stderr);
}

#[test]
fn message_that_was_sent_but_not_deleted_is_reported() {
    let served = dead_letters();
    let url = proxy(&served.url, |operation| match operation {
        "DeleteMessageBatch" => Way::Answered(json!({"Successful": [], "Failed": [
            {"Id": "0", "Code": "ReceiptHandleIsInvalid", "Message": "It is not.", "SenderFault": true}
        ]})),
        _ => Way::Through,
    });
    let ran = dlq(&url, &["move", "orders", "--reason", "such"]);
    let told = ["was sent to orders", "ReceiptHandleIsInvalid", "redrive dlq delete orders-dlq --id", "arrives twice"];
    ended(&ran, 1, "orders-dlq: no message moved, 1 possibly in both queues", &told);
    assert_eq!(served.bodies("orders"), ["by handler"]);
    assert_eq!(served.bodies("orders-dlq"), ["by handler", "by policy"], "given back");
}

#[test]
fn message_that_may_have_been_sent_is_not_deleted() {
    let served = dead_letters();
    let url = proxy(&served.url, |operation| match operation {
        "SendMessageBatch" => Way::Answered(json!({"Successful": [], "Failed": []})),
        _ => Way::Through,
    });
    let ran = dlq(&url, &["move", "orders", "--reason", "such"]);
    ended(
        &ran,
        1,
        "orders-dlq: no message moved, 1 possibly in both queues",
        &["may be in orders too, and stays here"],
    );
    assert_eq!(served.attribute("orders-dlq", "ApproximateNumberOfMessages"), "2");
}

#[test]
fn all_messages_move_by_a_task_and_those_without_a_source_afterwards() {
    let served = dead_letters();
    let ran = dlq(&served.url, &["move", "orders", "--all"]);
    ended(&ran, 0, "orders-dlq: 2 messages moved to orders", &[]);
    assert_eq!(served.bodies("orders"), ["by handler", "by policy"]);

    served.send("orders", "by policy");
    served.fail("orders", 2);
    served.send("orders-dlq", "by hand");
    let ran = dlq(&served.url, &["move", "orders", "--all"]);
    let expected =
        "orders-dlq: 1 of about 2 moved to their source queues, by SQS\norders-dlq: no message moved, 1 stay";
    ended(&ran, 1, expected, &["its source queue is unknown; pass --to"]);
    assert_eq!(
        (served.bodies("orders"), served.bodies("orders-dlq")),
        (vec!["by policy".to_owned()], vec!["by hand".to_owned()])
    );

    let served = fifo(12);
    let ran = dlq(&served.url, &["move", "orders.fifo", "--all", "--one-by-one"]);
    ended(&ran, 0, "orders-dlq.fifo: 12 messages moved to orders.fifo", &[]);
    assert_eq!(served.bodies("orders.fifo"), (1..=12).map(|body| body.to_string()).collect::<Vec<_>>());

    let served = fifo(12);
    let ran = dlq(&served.url, &["move", "orders.fifo", "--all", "--max-per-second", "100"]);
    ended(&ran, 0, "orders-dlq.fifo: 12 moved to their source queues", &[]);
    assert_eq!(served.bodies("orders.fifo"), (1..=12).map(|body| body.to_string()).collect::<Vec<_>>());
}

#[test]
fn destination_may_be_another_queue() {
    let served = dead_letters();
    let ran = dlq(&served.url, &["move", "orders", "--all", "--to", "nope"]);
    refused(&ran, &["cannot find the queue nope"]);
    refused(
        &dlq(&served.url, &["move", "orders", "--all", "--to", "orders-dlq"]),
        &["is the dead-letter queue itself"],
    );
    made(&served, "replay");
    ended(
        &dlq(&served.url, &["move", "orders", "--reason=no", "--to", "replay"]),
        0,
        "orders-dlq: 1 message moved to replay",
        &[],
    );
    ended(&dlq(&served.url, &["move", "orders", "--all", "--to", "replay"]), 0, "orders-dlq: 1 moved to replay", &[]);
    assert_eq!(served.bodies("replay"), ["by handler", "by policy"]);
    let served = fifo(1);
    made(&served, "replay");
    refused(
        &dlq(&served.url, &["move", "orders.fifo", "--all", "--to", "replay"]),
        &["is a FIFO queue", "replay is not"],
    );
}

#[test]
fn note_that_names_an_unrelated_queue_is_not_followed() {
    let served = dead_letters();
    served.set("orders", "RedrivePolicy", "");
    let other = r#"{"deadLetterTargetArn": "arn:aws:sqs:us-east-1:000000000000:orders-dlq", "maxReceiveCount": 1}"#;
    made(&served, "other");
    served.set("other", "RedrivePolicy", other);
    let ran = dlq(&served.url, &["move", "orders-dlq", "--reason", "such"]);
    ended(&ran, 1, "orders-dlq: no message moved, 1 stay", &["its note names orders", "pass --to"]);
    // SQS itself states the source of a message that it has moved.
    let id = listed(&served, "orders-dlq")[1]["id"].as_str().unwrap().to_owned();
    ended(&dlq(&served.url, &["move", "orders-dlq", "--id", &id]), 0, "orders-dlq: 1 message moved to orders", &[]);
}

#[cfg(unix)]
#[test]
fn interrupted_task_reports_its_progress() {
    let served = fifo(12);
    let child = start(&served.url, &["move", "orders.fifo", "--all", "--max-per-second", "1"]);
    served.wait_for("orders.fifo", 1);
    interrupt(&child);
    let ran = ran(child.wait_with_output().unwrap());
    assert_eq!(ran.status, 1, "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains(" of about 12 moved to their source queues; cancelled"), "{}", ran.stdout);
    let moved: usize = ran.stdout.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!((1..12).contains(&moved), "{}", ran.stdout);
    std::thread::sleep(Duration::from_millis(1_500));
    let stay = served.attribute("orders-dlq.fifo", "ApproximateNumberOfMessages");
    assert_eq!(stay, (12 - moved).to_string(), "SQS has cancelled it");
}

/// Interrupts the command during its second receive. Returns what it left.
#[cfg(unix)]
fn interrupted_at_the_second_receive(served: &Served, arguments: &[&str]) -> Ran {
    let receives = Arc::new(AtomicUsize::new(0));
    let counted = receives.clone();
    let url = proxy(&served.url, move |operation| match operation {
        "ReceiveMessage" if counted.fetch_add(1, Ordering::SeqCst) == 1 => Way::After(Duration::from_millis(500)),
        _ => Way::Through,
    });
    let child = start(&url, arguments);
    while receives.load(Ordering::SeqCst) < 2 {
        std::thread::sleep(Duration::from_millis(5));
    }
    interrupt(&child);
    ran(child.wait_with_output().unwrap())
}

#[cfg(unix)]
#[test]
fn interrupted_look_releases_all_messages() {
    let served = dead_letters();
    (0..30).for_each(|_| served.send("orders-dlq", "by hand"));
    let ran = interrupted_at_the_second_receive(&served, &["list", "orders"]);
    assert_eq!((ran.status, ran.stdout.lines().count()), (1, 20), "{}", ran.stderr);
    assert!(ran.stderr.contains("Ctrl-C: received messages are released"), "{}", ran.stderr);
    assert_eq!(in_flight(&served, "orders-dlq"), "0");

    let ran = interrupted_at_the_second_receive(&served, &["move", "orders", "--id", "nope"]);
    assert_eq!((ran.status, in_flight(&served, "orders-dlq").as_str()), (1, "0"), "{}", ran.stderr);
    assert!(ran.stdout.contains("interrupted, and the other messages stay"), "{}", ran.stdout);
}

#[test]
fn task_reports_the_messages_that_it_has_not_moved() {
    let served = dead_letters();
    served.hide_one("orders-dlq");
    let ran = dlq(&served.url, &["move", "orders", "--all"]);
    let expected = "orders-dlq: 1 moved to their source queues; about 1 message stay, 1 of them because another consumer \
                    has received them";
    ended(&ran, 1, expected, &[]);
}

#[test]
fn messages_of_another_consumer_are_not_looked_at() {
    let served = dead_letters();
    served.hide_one("orders-dlq");
    for command in [&["move", "orders"][..], &["delete", "orders", "--yes"]] {
        let ran = dlq(&served.url, &[command, &["--reason", "none has it"]].concat());
        assert_eq!(ran.status, 1, "{}", ran.stdout);
        assert!(
            ran.stdout.contains("about 1 message not looked at, because another consumer has received them"),
            "{}",
            ran.stdout
        );
    }
}

#[test]
fn messages_of_a_group_do_not_pass_a_refused_one() {
    let served = fifo(3);
    let ids: Vec<_> =
        listed(&served, "orders.fifo").iter().map(|each| each["id"].as_str().unwrap().to_owned()).collect();
    let ids: Vec<_> = ids.iter().map(String::as_str).collect();
    let calls = Arc::new(AtomicUsize::new(0));
    let url = proxy(&served.url, move |operation| match operation {
        "SendMessageBatch" if calls.fetch_add(1, Ordering::SeqCst) == 0 => Way::Answered(json!({"Failed": [
            {"Id": "0", "Code": "InvalidMessageContents", "Message": "No.", "SenderFault": true}
        ]})),
        _ => Way::Through,
    });
    let ran = dlq(&url, &[&["move", "orders.fifo", "--id"][..], &ids].concat());
    ended(&ran, 1, "orders-dlq.fifo: no message moved, 3 stay", &["an earlier message of its group stays"]);
    assert_eq!(served.bodies("orders-dlq.fifo"), ["1", "2", "3"]);
}

#[test]
fn run_that_breaks_off_reports_what_it_has_done() {
    let served = dead_letters();
    (0..20).for_each(|_| served.send("orders-dlq", "by hand"));
    let receives = Arc::new(AtomicUsize::new(0));
    let url = proxy(&served.url, move |operation| match operation {
        "ReceiveMessage" if receives.fetch_add(1, Ordering::SeqCst) > 0 => Way::Refused,
        _ => Way::Through,
    });
    let ran = dlq(&url, &["move", "orders", "--reason", "such"]);
    ended(
        &ran,
        1,
        "orders-dlq: 1 message moved to orders; stopped, and the other messages stay",
        &["cannot receive from orders-dlq"],
    );
    assert_eq!(in_flight(&served, "orders-dlq"), "0");
    let ran = dlq(&url, &["delete", "orders", "--yes", "--reason", "such"]);
    refused(&ran, &["cannot receive from orders-dlq"]);
}

#[test]
fn nothing_is_deleted_without_a_confirmation() {
    let served = dead_letters();
    for choice in [&["--all"][..], &["--reason", "such"], &["--id", "a"]] {
        let ran = dlq(&served.url, &[&["delete", "orders"], choice].concat());
        refused(&ran, &["there is no terminal to ask at; pass --yes"]);
    }
    for wrong in [&["delete", "orders", "--yes"][..], &["move", "orders"], &["move", "orders", "--all", "--id", "a"]] {
        assert_eq!(dlq(&served.url, wrong).status, 2);
    }
    assert_eq!(served.attribute("orders-dlq", "ApproximateNumberOfMessages"), "2");
}

#[test]
fn chosen_messages_are_deleted_and_others_released() {
    let served = dead_letters();
    let ran = dlq(&served.url, &["delete", "orders", "--yes", "--reason", "no such"]);
    ended(&ran, 0, "orders-dlq: 1 message deleted", &[]);
    let left = listed(&served, "orders");
    assert_eq!((left.len(), &left[0]["body"]), (1, &json!("by policy")));
    let id = left[0]["id"].as_str().unwrap();
    let ran = dlq(&served.url, &["delete", "orders", "--yes", "--id", id, "nope"]);
    ended(&ran, 1, "orders-dlq: 1 message deleted", &["message nope was not found"]);
    assert!(served.take("orders-dlq").is_empty());
}

#[test]
fn message_that_could_not_be_deleted_is_reported() {
    let served = dead_letters();
    served.set_faults(Faults::none().refused_entries(1.0));
    let ran = dlq(&served.url, &["delete", "orders", "--yes", "--reason", "such"]);
    ended(&ran, 1, "orders-dlq: 0 messages deleted", &["may still be there: "]);
}

#[test]
fn all_messages_are_deleted_with_all() {
    let served = dead_letters();
    ended(
        &dlq(&served.url, &["delete", "orders", "--yes", "--all"]),
        0,
        "orders-dlq: all deleted, about 2 messages",
        &[],
    );
    assert!(served.take("orders-dlq").is_empty());
    refused(
        &dlq(&served.url, &["delete", "orders", "--yes", "--all"]),
        &["cannot purge", "PurgeQueueInProgress", "60 seconds"],
    );
}
