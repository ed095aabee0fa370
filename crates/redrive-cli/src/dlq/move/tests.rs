use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::MessageAttributeValue;
use redrive::internals::note;
use redrive_local::{Faults, Sqs};
use tokio::time::Instant;

use super::*;
use crate::dlq::browse::tests::queue as dead_letter_queue;

const PREFIX: &str = "arn:aws:sqs:us-east-1:000000000000";

/// `orders` and its dead-letter queue, as standard or FIFO queues.
struct Queues {
    sqs: Sqs,
    client: Client,
    dead: DeadLetterQueue,
    end: &'static str,
}

impl Queues {
    async fn new(seed: u64, end: &'static str) -> Self {
        fastrand::seed(seed);
        let sqs = Sqs::with_seed(seed);
        let client = sqs.client();
        dead_letter_queue(&sqs, &format!("dead{end}")).await;
        let policy = format!(r#"{{"deadLetterTargetArn": "{PREFIX}:dead{end}", "maxReceiveCount": 1}}"#);
        let create = client.create_queue().queue_name(format!("orders{end}"));
        let create = if end.is_empty() { create } else { create.attributes("FifoQueue".into(), "true") };
        create.attributes("RedrivePolicy".into(), policy).send().await.unwrap();
        // From now on the dead-letter queue knows its sources.
        let dead = dead_letter_queue(&sqs, &format!("dead{end}")).await;
        Self { sqs, client, dead, end }
    }

    fn url(&self, name: &str) -> String {
        format!("http://sqs.localhost/000000000000/{name}{}", self.end)
    }

    /// Sends a dead letter whose note has the name or the ARN of this source queue.
    async fn dead_letter(&self, body: &str, group: &str, source: Option<&str>) {
        let mut send = self.client.send_message().queue_url(self.url("dead")).message_body(body);
        if !self.end.is_empty() {
            send = send.message_group_id(group).message_deduplication_id(body);
        }
        if let Some(source) = source {
            let arn = if source.contains(':') { source.to_owned() } else { format!("{PREFIX}:{source}{}", self.end) };
            let value = MessageAttributeValue::builder().data_type("String").string_value(arn).build().unwrap();
            send = send.message_attributes(note::SOURCE, value);
        }
        send.send().await.unwrap();
    }

    async fn dead_letters(&self, count: usize) {
        for body in 0..count {
            self.dead_letter(&body.to_string(), "g", Some("orders")).await;
        }
    }

    /// Removes all messages and returns how often each body was there.
    async fn take(&self, name: &str) -> BTreeMap<String, usize> {
        let (url, mut bodies) = (self.url(name), BTreeMap::new());
        loop {
            let received =
                self.client.receive_message().queue_url(&url).max_number_of_messages(10).send().await.unwrap();
            if received.messages().is_empty() {
                return bodies;
            }
            for message in received.messages() {
                *bodies.entry(message.body().unwrap().to_owned()).or_default() += 1;
                let delete =
                    self.client.delete_message().queue_url(&url).receipt_handle(message.receipt_handle().unwrap());
                delete.send().await.unwrap();
            }
        }
    }

    async fn move_all(&self) -> Done {
        one_by_one(&self.dead, None, Filter::All, &Stop::told().1).await.unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn thousand_messages_are_moved_with_slow_calls() {
    let queues = Queues::new(1, "").await;
    queues.dead_letters(1_000).await;
    queues.sqs.set_faults(Faults::none().slow_calls(1.0, Duration::from_secs(4)));
    let began = Instant::now();
    let Done { output, is_good } = queues.move_all().await;
    assert_eq!((output.as_str(), is_good), ("dead: 1000 messages moved to orders\n", true));
    assert!(began.elapsed() > Duration::from_secs(300), "{:?}", began.elapsed());
    queues.sqs.set_faults(Faults::none());
    let moved = queues.take("orders").await;
    assert!(moved.len() == 1_000 && moved.values().all(|count| *count == 1));
    assert!(queues.take("dead").await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn throttles_and_failing_entries_only_delay_a_move() {
    let queues = Queues::new(2, "").await;
    queues.dead_letters(200).await;
    queues.sqs.set_faults(Faults::none().throttles(0.2).failed_entries(0.2).lost_requests(0.05));
    let Done { output, is_good } = queues.move_all().await;
    assert_eq!((output.as_str(), is_good), ("dead: 200 messages moved to orders\n", true));
}

#[tokio::test(start_paused = true)]
async fn lost_answers_lose_no_message() {
    for seed in 0..5 {
        let queues = Queues::new(seed, "").await;
        queues.dead_letters(100).await;
        queues.sqs.set_faults(Faults::none().lost_answers(0.2));
        let Done { output, is_good } = queues.move_all().await;
        queues.sqs.set_faults(Faults::none());
        let (mut there, here) = (queues.take("orders").await, queues.take("dead").await);
        assert_eq!(is_good, here.is_empty(), "seed {seed}: {output}");
        there.extend(here);
        assert_eq!(there.len(), 100, "seed {seed}: {output}");
    }
}

#[tokio::test(start_paused = true)]
async fn messages_that_fail_again_at_once_stay_and_are_counted() {
    let queues = Queues::new(3, "").await;
    queues.dead_letters(40).await;
    // A message's second receive makes it a dead letter.
    let fail = async {
        loop {
            let receive = queues.client.receive_message().queue_url(queues.url("orders")).max_number_of_messages(10);
            receive.visibility_timeout(0).send().await.unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let Done { output, is_good } = tokio::select! {
        done = queues.move_all() => done,
        () = fail => unreachable!("it never ends"),
    };
    assert!(output.starts_with("dead: 40 messages moved to orders; ") && !is_good, "{output}");
    assert!(output.ends_with(" returned or arrived meanwhile, and stay\n"), "{output}");
}

#[tokio::test(start_paused = true)]
async fn run_ends_while_dead_letters_keep_arriving() {
    let queues = Queues::new(10, "").await;
    queues.dead_letters(40).await;
    let arrive = async {
        for body in 40.. {
            queues.dead_letter(&body.to_string(), "", Some("orders")).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let Done { output, is_good } = tokio::select! {
        done = queues.move_all() => done,
        () = arrive => unreachable!("it never ends"),
    };
    assert!(output.contains(" returned or arrived meanwhile, and stay") && !is_good, "{output}");
    let moved = queues.take("orders").await;
    assert!((0..40).all(|body| moved[&body.to_string()] == 1), "{moved:?}");
}

#[tokio::test(start_paused = true)]
async fn messages_of_another_consumer_are_reported() {
    let queues = Queues::new(4, "").await;
    queues.dead_letters(3).await;
    queues.client.receive_message().queue_url(queues.url("dead")).visibility_timeout(43_200).send().await.unwrap();
    let Done { output, is_good } = queues.move_all().await;
    let expected =
        "dead: 2 messages moved to orders; about 1 message not looked at, because another consumer has received them\n";
    assert_eq!((output.as_str(), is_good), (expected, false));
}

#[tokio::test(start_paused = true)]
async fn fifo_message_that_stays_holds_back_its_group() {
    let queues = Queues::new(5, ".fifo").await;
    for (body, group, source) in [
        ("1", "a", Some("orders")),
        ("2", "a", None),
        ("3", "a", Some("orders")),
        ("4", "b", Some("orders")),
        ("5", "a", Some("orders")),
    ] {
        queues.dead_letter(body, group, source).await;
    }
    let Done { output, is_good } = queues.move_all().await;
    assert_eq!((output.as_str(), is_good), ("dead.fifo: 2 messages moved to orders.fifo, 3 stay\n", false));
    assert_eq!(queues.take("orders").await.into_keys().collect::<Vec<_>>(), ["1", "4"]);
}

#[tokio::test(start_paused = true)]
async fn fifo_group_longer_than_a_receive_is_held_back() {
    let queues = Queues::new(6, ".fifo").await;
    queues.dead_letter("stays", "a", None).await;
    for body in 0..15 {
        queues.dead_letter(&body.to_string(), "a", Some("orders")).await;
    }
    let Done { output, is_good } = queues.move_all().await;
    let expected = "dead.fifo: no message moved, 10 stay; about 6 messages not looked at, behind others of their group \
                    that stay\n";
    assert_eq!((output.as_str(), is_good), (expected, false));
    assert!(queues.take("orders").await.is_empty());
    assert_eq!(queues.take("dead").await.len(), 16, "all are released");
}

#[tokio::test(start_paused = true)]
async fn order_of_a_fifo_group_is_kept_under_faults() {
    for seed in 0..10 {
        let queues = Queues::new(seed, ".fifo").await;
        for body in 10..40 {
            queues.dead_letter(&body.to_string(), ["a", "b", "c"][body % 3], Some("orders")).await;
        }
        queues.sqs.set_faults(Faults::none().refused_entries(0.03).failed_entries(0.1).throttles(0.1));
        let Done { output, is_good } = queues.move_all().await;
        queues.sqs.set_faults(Faults::none());
        // Released messages may still be hidden.
        tokio::time::sleep(LEASE * 2).await;
        let (there, here) = (queues.take("orders").await, queues.take("dead").await);
        assert_eq!((there.len() + here.len() >= 30, is_good), (true, here.is_empty()), "seed {seed}: {output}");
        for group in 0..3 {
            let of_group = |body: &&String| body.parse::<usize>().unwrap() % 3 == group;
            let last_moved = there.keys().filter(of_group).max();
            // A message that was sent but could not be deleted is in both queues.
            let first_left = here.keys().filter(of_group).find(|body| !there.contains_key(*body));
            assert!(first_left.is_none() || last_moved < first_left, "seed {seed}: {there:?} {here:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn note_is_followed_only_to_a_queue_whose_policy_names_this_one() {
    let queues = Queues::new(7, "").await;
    let create = queues.client.create_queue().queue_name("strange");
    create.send().await.unwrap();
    queues.dead_letter("ours", "", Some("orders")).await;
    queues.dead_letter("strange", "", Some("strange")).await;
    queues.dead_letter("gone", "", Some("gone")).await;
    queues.dead_letter("elsewhere", "", Some("arn:aws:sqs:eu-west-1:000000000000:orders")).await;
    let Done { output, is_good } = queues.move_all().await;
    assert_eq!((output.as_str(), is_good), ("dead: 1 message moved to orders, 3 stay\n", false));
    assert!(queues.take("strange").await.is_empty());
    assert_eq!(queues.take("dead").await.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn missing_source_keeps_back_only_its_own_messages() {
    let mut queues = Queues::new(11, "").await;
    let policy = format!(r#"{{"deadLetterTargetArn": "{PREFIX}:dead", "maxReceiveCount": 1}}"#);
    let create = queues.client.create_queue().queue_name("other").attributes("RedrivePolicy".into(), policy);
    create.send().await.unwrap();
    queues.dead = dead_letter_queue(&queues.sqs, "dead").await;
    queues.client.delete_queue().queue_url(queues.url("other")).send().await.unwrap();
    for body in 0..40 {
        queues.dead_letter(&body.to_string(), "", Some(["orders", "other"][body % 2])).await;
    }
    let Done { output, is_good } = queues.move_all().await;
    assert_eq!((output.as_str(), is_good), ("dead: 20 messages moved to orders, 20 stay\n", false));
    assert_eq!(queues.take("dead").await.len(), 20);
}

#[tokio::test(start_paused = true)]
async fn interrupted_move_leaves_each_message_visible_in_one_queue() {
    for after in (0..4_000).step_by(131).map(Duration::from_millis) {
        let queues = Queues::new(8, "").await;
        queues.dead_letters(40).await;
        queues.sqs.set_faults(Faults::none().slow_calls(1.0, Duration::from_millis(700)));
        let (interrupt, stop) = Stop::told();
        let interrupted = async {
            tokio::time::sleep(after).await;
            interrupt.send_replace(true);
        };
        let (done, ()) = tokio::join!(one_by_one(&queues.dead, None, Filter::All, &stop), interrupted);
        let Done { output, is_good } = done.unwrap();
        queues.sqs.set_faults(Faults::none());
        let (mut there, here) = (queues.take("orders").await, queues.take("dead").await);
        assert!(!is_good && output.contains("; interrupted, and the other messages stay"), "{after:?}: {output}");
        assert_eq!(there.len() + here.len(), 40, "{after:?}: {output}");
        there.extend(here);
        assert_eq!(there.len(), 40, "{after:?}: {output}");
    }
}

#[tokio::test(start_paused = true)]
async fn search_ends_at_the_limit_of_held_messages() {
    let queues = Queues::new(9, "").await;
    queues.dead_letters(50).await;
    let mut session = BrowseSession::start(&queues.dead, LEASE).await.unwrap();
    session.max_browsed = 20;
    let mut filter = Filter::Reason("none has it".to_owned());
    let end = filter.search(&mut session, usize::MAX, &Stop::told().1, async |_, _| Ok(())).await;
    let left = Left::by(&session, &end, true).await;
    assert!(!left.is_nothing() && left.said(&queues.dead).contains("; about 30 messages not looked at"));
    assert!(left.said(&queues.dead).contains("; stopped, because SQS hides at most about 120,000 messages"));
    session.give_back().await.unwrap();
    assert_eq!(queues.take("dead").await.len(), 50);
}
