//! Tests repeated receives, and how each message of a receive is settled.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::retry::RetryConfig;
use aws_sdk_sqs::config::timeout::TimeoutConfig;
use redrive::{Body, Effects, Outcome, ReceiveCount, State};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::kit::{Notes, Queue, Running, secs};
use crate::script::{Call, DEAD, Reply, Script, message};

/// Takes as many seconds as the end of the message's id says.
async fn takes_its_time(Body(body): Body, State(notes): State<Notes>) {
    notes.add(format!("{body} begun"));
    let seconds = body.rsplit('-').next().and_then(|seconds| seconds.parse().ok()).unwrap_or(0);
    sleep(secs(seconds)).await;
    notes.add(format!("{body} done"));
}

fn attempt(call: &Call) -> String {
    call.request["ReceiveRequestAttemptId"].as_str().unwrap().to_owned()
}

fn most(call: &Call) -> u64 {
    call.request["MaxNumberOfMessages"].as_u64().unwrap()
}

/// Returns ten messages, each in its own group, that take `seconds`.
fn ten(name: &str, seconds: u64) -> Vec<Value> {
    let message = |number| {
        let id = format!("{name}-{number}-{seconds}");
        message(&id, &id, Some(&id))
    };
    (0..10).map(message).collect()
}

/// Returns how many messages the worker asks for at each receive. The queue has four messages at first, then two and no
/// more. None of them ends.
async fn asked_by<K: redrive::HandlerKind>(consumer: redrive::Consumer<K>) -> Vec<u64> {
    let script = Script::standard(|call| match (&*call.operation, call.number) {
        ("ReceiveMessage", 0) => Reply::messages(ten("first", 0).into_iter().take(4)),
        ("ReceiveMessage", 1) => Reply::messages(ten("second", 0).into_iter().take(2)),
        _ => Reply::usual(),
    });
    let _worker = Running::begin(script.worker(consumer));
    sleep(secs(70)).await;
    script.calls("ReceiveMessage").iter().map(most).collect()
}

#[tokio::test(start_paused = true)]
async fn a_poll_asks_for_as_many_messages_as_there_are_permits_for() {
    async fn never_ends(_: Body) {
        pending().await
    }
    assert_eq!(asked_by(redrive::handler(never_ends).concurrency(9)).await[..4], [9, 5, 3, 3]);
    assert_eq!(asked_by(redrive::handler(never_ends).concurrency(6)).await, [6, 2]);

    async fn none_ends(_: Vec<Body>) -> Vec<Outcome> {
        pending().await
    }
    for (chunk_size, messages) in [(1_000, 10), (10, 10), (7, 7), (5, 5)] {
        let asked = asked_by(redrive::batch(none_ends).chunk_size(chunk_size).concurrency(2)).await;
        assert_eq!(asked, [messages, messages], "one poll for each call, with chunks of {chunk_size}");
    }
    assert_eq!(asked_by(redrive::batch(none_ends).chunk_size(1).concurrency(6)).await, [6, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_repeated_receive_keeps_its_permits() {
    let notes = Notes::default();
    // The first receive adds a second poller. Of the two receives that follow, the answer of one is lost. The other
    // poller uses its permits, and would take those of the lost receive too.
    let script = Script::fifo(|call| match (&*call.operation, call.number) {
        ("ReceiveMessage", 0) => Reply::messages(ten("quick", 0)),
        ("ReceiveMessage", 1) => Reply::failure(),
        ("ReceiveMessage", 2) => Reply::messages(ten("slow", 1_000)).after(Duration::from_millis(1)),
        ("ReceiveMessage", 3) => Reply::messages(ten("again", 1_000).into_iter().take(7)),
        _ => Reply::usual(),
    });
    let worker = script.worker(redrive::handler(takes_its_time).concurrency(20).with_state(notes.clone()));
    let _worker = Running::begin(worker);
    sleep(secs(100)).await;
    let mut asked = BTreeMap::<String, Vec<u64>>::new();
    for call in script.calls("ReceiveMessage") {
        asked.entry(attempt(&call)).or_default().push(most(&call));
    }
    let made_again: Vec<_> = asked.values().filter(|asked| asked.len() > 1).collect();
    assert_eq!(
        made_again,
        [&vec![10, 10]],
        "with fewer permits than messages, some messages would run without one: {asked:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn messages_without_a_permit_are_released_in_the_order_of_their_group() {
    let notes = Notes::default();
    let of = |id: &'static str, group: &'static str| message(id, id, Some(group));
    let script = Script::fifo(move |call| match (&*call.operation, call.number) {
        ("ReceiveMessage", 0) => Reply::messages([of("a1-5", "a"), of("a2-5", "a"), of("b1-5", "b"), of("c1-5", "c")]),
        ("ReceiveMessage", 1) => Reply::messages([of("b1-5", "b")]),
        ("ReceiveMessage", 2) => Reply::messages([of("c1-5", "c")]),
        _ => Reply::usual(),
    });
    let worker = script.worker(redrive::handler(takes_its_time).concurrency(2).with_state(notes.clone()));
    let _worker = Running::begin(worker);
    notes.until(1).await;
    sleep(secs(1)).await;
    assert_eq!(notes.all(), ["a1-5 begun"], "there are two permits, and the second message waits for the first");
    let given_back = ["a1-5", "a2-5", "b1-5", "c1-5"].map(|id| script.hidden(id, 0).len());
    assert_eq!(given_back, [0, 0, 1, 1]);
    notes.until(8).await;
    assert_eq!(
        notes.all().iter().filter(|note| note.ends_with("done")).count(),
        4,
        "a released message does not count as running"
    );
}

#[tokio::test(start_paused = true)]
async fn the_age_of_an_attempt_starts_at_its_first_receive() {
    let script = Script::fifo(|call| match (&*call.operation, call.number) {
        ("ReceiveMessage", 1) => Reply::failure(),
        _ => Reply::usual(),
    });
    let worker = script.worker(redrive::handler(takes_its_time).with_state(Notes::default()));
    let handle = worker.handle();
    let _worker = Running::begin(worker);
    sleep(secs(1)).await;
    handle.pause();
    sleep(secs(3_600)).await;
    handle.resume();
    sleep(secs(10)).await;
    let attempts: Vec<_> = script.calls("ReceiveMessage").iter().map(attempt).collect();
    assert_eq!(attempts.len(), 3);
    assert_ne!(attempts[0], attempts[1]);
    assert_eq!(attempts[1], attempts[2], "the attempt is repeated after the pause");
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_is_too_old_is_not_repeated() {
    let script = Script::fifo(|call| match (&*call.operation, call.number) {
        ("ReceiveMessage", 0) => Reply::failure(),
        _ => Reply::usual(),
    });
    let worker = script.worker(redrive::handler(takes_its_time).with_state(Notes::default()));
    let handle = worker.handle();
    let _worker = Running::begin(worker);
    while script.calls("ReceiveMessage").is_empty() {
        sleep(Duration::from_millis(1)).await;
    }
    handle.pause();
    sleep(secs(600)).await;
    handle.resume();
    sleep(secs(1)).await;
    let calls = script.calls("ReceiveMessage");
    assert_ne!(attempt(&calls[0]), attempt(&calls[1]));
    assert_eq!(most(&calls[1]), 10, "the permits of the old attempt are free");
}

#[tokio::test(start_paused = true)]
async fn a_message_lost_before_its_start_blocks_no_other_message() {
    let notes = Notes::default();
    let of = |id: &'static str, handle: &'static str, group: &'static str| message(id, handle, Some(group));
    let script = Script::fifo(move |call| match (&*call.operation, call.number) {
        ("ReceiveMessage", 0) => Reply::messages([
            of("a1-15", "a1", "a"),
            of("a2-0", DEAD, "a"),
            of("a3-0", "a3", "a"),
            of("b1-3600", "b1", "b"),
        ]),
        // Another worker received the message meanwhile and failed it.
        ("ReceiveMessage", 1) => Reply::messages([of("a2-0", "a2", "a")]).after(secs(10)),
        _ => Reply::usual(),
    });
    let worker = script.worker(redrive::handler(takes_its_time).concurrency(4).with_state(notes.clone()));
    let _worker = Running::begin(worker);
    sleep(secs(60)).await;
    let given_back = script.hidden("a3", 0);
    assert_eq!(given_back.len(), 1);
    assert!((secs(15)..secs(16)).contains(&given_back[0]), "{given_back:?}");
    assert!(notes.all().contains(&"a2-0 done".to_owned()), "the message runs when it comes back: {:?}", notes.all());
    assert_eq!(most(&script.calls("ReceiveMessage")[1]), 3, "only the running message holds a permit");
}

#[tokio::test(start_paused = true)]
async fn a_copy_is_not_released_while_its_message_runs() {
    let notes = Notes::default();
    let script = Script::standard(|call| match (&*call.operation, call.number) {
        ("ReceiveMessage", 0) => Reply::messages([message("m-15", "a", None), message("m-15", "b", None)]),
        _ => Reply::usual(),
    });
    let mut worker = Running::begin(script.worker(redrive::handler(takes_its_time).with_state(notes.clone())));
    notes.until(1).await;
    worker.ask();
    sleep(secs(1)).await;
    assert!(script.hidden("b", 0).is_empty(), "another worker would run it at the same time");
    worker.end().await.unwrap();
    assert_eq!(["a", "b"].map(|handle| script.deleted(handle).len()), [1, 1]);
}

/// The state of a message takes precedence over the messages before it in its group. If a running message were
/// released, it would run twice at a time. If a done message were released, it would only come back.
#[tokio::test(start_paused = true)]
async fn a_copy_behind_a_skipped_message_is_not_released_with_it() {
    let notes = Notes::default();
    let of = |id: &'static str, handle: &'static str| message(id, handle, Some(&id[..1]));
    let script = Script::fifo(move |call| match (&*call.operation, call.number) {
        ("ReceiveMessage", 0) => Reply::messages([of("a-0", "done"), of("b-15", "runs")]),
        ("ReceiveMessage", 1) => Reply::messages([
            of("a-0", "done again"),
            of("a-0", "done a third time"),
            of("a-1", "behind what is done"),
            of("b-15", "runs again"),
            of("b-15", "runs a third time"),
            of("c-15", "begins"),
            message("", "incomplete", Some("c")),
            of("c-15", "begins again"),
        ])
        .after(secs(1)),
        // One more message than there are permits.
        ("ReceiveMessage", 2) => Reply::messages(["1", "2", "3", "4", "5", "6", "7", "8", "8"].map(|id| {
            let handle = if id == "8" { "twice" } else { id };
            message(&format!("{id}-15"), handle, Some(id))
        }))
        .after(secs(1)),
        _ => Reply::usual(),
    });
    let worker = script.worker(redrive::handler(takes_its_time).concurrency(10).with_state(notes.clone()));
    let _worker = Running::begin(worker);
    sleep(secs(10)).await;
    assert_eq!(most(&script.calls("ReceiveMessage")[2]), 8);
    let deleted = ["done", "done again", "done a third time"].map(|handle| script.deleted(handle).len());
    assert_eq!(deleted, [1, 1, 1]);
    assert_eq!(script.hidden("behind what is done", 0).len(), 1);
    for handle in ["runs", "runs again", "runs a third time", "begins", "begins again", "twice"] {
        assert!(script.hidden(handle, 0).is_empty(), "{handle}");
    }
}

/// The head of a group fails, and behind it stands a message twice. Both receipts have to be released. A receipt that
/// is kept would make the queue hold the message back, and the message would later count as running here.
#[tokio::test(start_paused = true)]
async fn a_copy_in_the_tail_of_a_failed_group_is_released_with_it() {
    async fn fails_or_takes_its_time(body: Body, notes: State<Notes>) -> Result<(), &'static str> {
        if body.0.starts_with("fails") {
            return Err("down");
        }
        takes_its_time(body, notes).await;
        Ok(())
    }
    let notes = Notes::default();
    let tail = |handle: &'static str| message("tail-40", handle, Some("a"));
    let script = Script::fifo(move |call| match (&*call.operation, call.number) {
        ("ReceiveMessage", 0) => Reply::messages([
            message("fails", "head", Some("a")),
            tail("first"),
            tail("copy"),
            message("other-20", "other", Some("b")),
        ]),
        ("ReceiveMessage", 1) => Reply::messages([tail("anew")]).after(secs(5)),
        // The batch of the first poll has ended by then.
        ("ReceiveMessage", 2) => Reply::messages([tail("once more")]).after(secs(20)),
        _ => Reply::usual(),
    });
    let _worker = Running::begin(script.worker(redrive::handler(fails_or_takes_its_time).with_state(notes.clone())));
    sleep(secs(100)).await;
    assert_eq!(["first", "copy"].map(|handle| script.hidden(handle, 0).len()), [1, 1]);
    assert!(script.hidden("copy", 30).is_empty(), "the copy gets no more heartbeats");
    assert_eq!(notes.all().iter().filter(|note| *note == "tail-40 begun").count(), 1, "{:?}", notes.all());
}

#[tokio::test(start_paused = true)]
async fn a_new_message_does_not_wait_for_deletes_of_old_ones() {
    let (notes, has_deleted) = (Notes::default(), Arc::new(AtomicUsize::new(0)));
    let deletes = has_deleted.clone();
    // The most deletes that are allowed are under way, and none is answered.
    let script = Script::standard(move |call| match (&*call.operation, call.number) {
        ("ReceiveMessage", number @ 0..100) => {
            let id = |of_ten| format!("{number}-{of_ten}-0");
            Reply::messages((0..10).map(|of_ten| message(&id(of_ten), &id(of_ten), None)))
        }
        ("ReceiveMessage", 100) => {
            Reply::messages([message("0-0-0", "again", None), message("fresh-0", "fresh", None)]).after(secs(1))
        }
        ("DeleteMessageBatch", _) => {
            deletes.fetch_add(call.entries().len(), Ordering::SeqCst);
            if call.entries().iter().any(|(handle, _)| handle == "none") { Reply::usual() } else { Reply::never() }
        }
        _ => Reply::usual(),
    });
    let worker = script.worker(redrive::handler(takes_its_time).concurrency(10).with_state(notes.clone()));
    let _worker = Running::begin(worker);
    notes.until(2_000).await;
    sleep(Duration::from_millis(100)).await;
    assert_eq!(has_deleted.load(Ordering::SeqCst), 1_000 + 1);
    let began = Instant::now();
    notes.until(2_002).await;
    assert!(began.elapsed() < secs(2), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_lease_starts_before_the_answer_arrives() {
    let script = Script::standard(|call| match (&*call.operation, call.number) {
        ("ReceiveMessage", 0) => Reply::messages([message("m-100", "a", None)]).after(Duration::from_millis(4_900)),
        ("ReceiveMessage", 1) => Reply::messages([message("n-100", "b", None)]).after(secs(20)),
        _ => Reply::usual(),
    });
    let worker = script.worker(redrive::handler(takes_its_time).with_state(Notes::default()));
    let _worker = Running::begin(worker);
    sleep(secs(40)).await;
    let receives = script.calls("ReceiveMessage");
    let first = script.hidden("a", 30)[0] - receives[0].at;
    assert!(
        (secs(10)..=Duration::from_millis(10_050)).contains(&first),
        "SQS may have counted since the request: {first:?}"
    );
    let first = script.hidden("b", 30)[0] - receives[1].at;
    assert!(
        (secs(25)..=Duration::from_millis(25_050)).contains(&first),
        "a long poll is answered as soon as there is a message, and its answer travels for 5 s at most: {first:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_client_with_a_short_timeout_waits_for_a_long_poll() {
    let (queue, notes) = (Queue::standard().await, Notes::default());
    let timeouts = TimeoutConfig::builder().operation_timeout(secs(3)).operation_attempt_timeout(secs(2));
    let config = queue.client.config().to_builder().timeout_config(timeouts.read_timeout(secs(1)).build());
    let client = Client::from_conf(config.retry_config(RetryConfig::standard()).build());
    let consumer = redrive::handler(takes_its_time).with_state(notes.clone());
    let _worker = Running::begin(consumer.worker(client, &queue.url));
    sleep(secs(15)).await;
    queue.send("an order").await;
    queue.drained().await;
    assert_eq!(queue.calls.count("ReceiveMessage"), 2, "the first receive waits for its messages");
}

#[tokio::test(start_paused = true)]
async fn settled_messages_get_no_heartbeat_with_the_rest_of_their_poll() {
    let (queue, notes) = (Queue::with_messages(2).await, Notes::default());
    let place = |Body(body): Body, ReceiveCount(count): ReceiveCount, State(notes): State<Notes>| async move {
        notes.add(format!("{body} at receive {count}"));
        match (&*body, count) {
            ("0", 1) => return Outcome::RetryAfter(secs(100)),
            ("1", _) => sleep(secs(60)).await,
            _ => {}
        }
        Outcome::Done
    };
    let effects = Effects::with_client(queue.client.clone());
    let _worker = queue.run(redrive::handler(place).effects(effects).with_state(notes.clone()));
    notes.until(2).await;
    let began = Instant::now();
    notes.until(3).await;
    assert_eq!(notes.all()[2], "0 at receive 2");
    assert!((secs(99)..secs(102)).contains(&began.elapsed()), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn the_tail_of_a_group_gets_no_heartbeat_while_its_head_is_settled() {
    let script = Script::fifo(|call| {
        let of = |id, handle| message(id, handle, Some("g"));
        match (&*call.operation, call.number) {
            ("ReceiveMessage", 0) => Reply::messages([of("1", "1"), of("2", "2"), of("2", "2 again")]),
            // The delay of all three is under way when a heartbeat is due.
            ("ChangeMessageVisibilityBatch", _) if call.entries().iter().any(|entry| entry.1 == Some(100)) => {
                Reply::usual().after(secs(2))
            }
            _ => Reply::usual(),
        }
    });
    let place = |Body(_): Body| async {
        sleep(secs(9)).await;
        Outcome::RetryAfter(secs(100))
    };
    let effects = Effects::with_client(script.client.clone());
    let _worker = Running::begin(script.worker(redrive::handler(place).effects(effects)));
    sleep(secs(60)).await;
    for handle in ["2", "2 again"] {
        assert_eq!(script.hidden(handle, 100).len(), 1);
        assert!(
            script.hidden(handle, 30).is_empty(),
            "a heartbeat would overwrite the delay: {:?}",
            script.hidden(handle, 30)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_lease_gets_no_more_heartbeats() {
    let script = Script::standard(|call| match (&*call.operation, call.number) {
        ("ReceiveMessage", 0) => Reply::messages([message("m-100", DEAD, None), message("n-100", "b", None)]),
        _ => Reply::usual(),
    });
    let worker = script.worker(redrive::handler(takes_its_time).with_state(Notes::default()));
    let _worker = Running::begin(worker);
    sleep(secs(95)).await;
    assert_eq!((script.hidden(DEAD, 30).len(), script.hidden("b", 30).len()), (1, 9));
}
