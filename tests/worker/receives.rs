//! What one receive brings, when it is made again, and what becomes of its messages one by one.

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

/// Takes as many seconds as the message's id says at its end.
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

/// Ten messages, each of a group of its own, that take so many seconds.
fn ten(name: &str, seconds: u64) -> Vec<Value> {
    let message = |number| {
        let id = format!("{name}-{number}-{seconds}");
        message(&id, &id, Some(&id))
    };
    (0..10).map(message).collect()
}

/// Asks of a queue that brings four messages at first, two then, and nothing more; none of them ends.
async fn asked_by<K: redrive::Kind>(consumer: redrive::Consumer<K>) -> Vec<u64> {
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
        assert_eq!(asked, [messages, messages], "a poll a call, of chunks of {chunk_size}");
    }
    assert_eq!(asked_by(redrive::batch(none_ends).chunk_size(1).concurrency(6)).await, [6, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_receive_that_is_made_again_has_the_permits_that_it_had() {
    let notes = Notes::default();
    // The first brings a second poller. Of the two receives that follow the answer of one is lost; the other poller fills its permits,
    // and would take those of the lost one too.
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
    assert_eq!(made_again, [&vec![10, 10]], "with fewer permits than messages some would run without one: {asked:?}");
}

#[tokio::test(start_paused = true)]
async fn what_comes_without_a_permit_is_given_back_in_the_order_of_its_group() {
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
    assert_eq!(notes.all(), ["a1-5 begun"], "there are permits for two, and the second is behind the first");
    let given_back = ["a1-5", "a2-5", "b1-5", "c1-5"].map(|id| script.hidden(id, 0).len());
    assert_eq!(given_back, [0, 0, 1, 1]);
    notes.until(8).await;
    assert_eq!(
        notes.all().iter().filter(|note| note.ends_with("done")).count(),
        4,
        "what was given back is not forgotten"
    );
}

#[tokio::test(start_paused = true)]
async fn the_age_of_an_attempt_counts_from_its_first_receive() {
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
    assert_eq!(attempts[1], attempts[2], "the first of the two was made after the pause");
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_is_too_old_is_not_made_again() {
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
    assert_eq!(most(&calls[1]), 10, "its permits are there again");
}

#[tokio::test(start_paused = true)]
async fn what_is_lost_before_it_begins_holds_nothing_up() {
    let notes = Notes::default();
    let of = |id: &'static str, handle: &'static str, group: &'static str| message(id, handle, Some(group));
    let script = Script::fifo(move |call| match (&*call.operation, call.number) {
        ("ReceiveMessage", 0) => Reply::messages([
            of("a1-15", "a1", "a"),
            of("a2-0", DEAD, "a"),
            of("a3-0", "a3", "a"),
            of("b1-3600", "b1", "b"),
        ]),
        // It was lost to another worker, which has failed it.
        ("ReceiveMessage", 1) => Reply::messages([of("a2-0", "a2", "a")]).after(secs(10)),
        _ => Reply::usual(),
    });
    let worker = script.worker(redrive::handler(takes_its_time).concurrency(4).with_state(notes.clone()));
    let _worker = Running::begin(worker);
    sleep(secs(60)).await;
    let given_back = script.hidden("a3", 0);
    assert_eq!(given_back.len(), 1);
    assert!((secs(15)..secs(16)).contains(&given_back[0]), "{given_back:?}");
    assert!(notes.all().contains(&"a2-0 done".to_owned()), "it runs here when it comes again: {:?}", notes.all());
    assert_eq!(most(&script.calls("ReceiveMessage")[1]), 3, "only the one that runs has a permit");
}

#[tokio::test(start_paused = true)]
async fn a_copy_is_not_given_back_while_its_message_runs() {
    let notes = Notes::default();
    let script = Script::standard(|call| match (&*call.operation, call.number) {
        ("ReceiveMessage", 0) => Reply::messages([message("m-15", "a", None), message("m-15", "b", None)]),
        _ => Reply::usual(),
    });
    let mut worker = Running::begin(script.worker(redrive::handler(takes_its_time).with_state(notes.clone())));
    notes.until(1).await;
    worker.ask();
    sleep(secs(1)).await;
    assert!(script.hidden("b", 0).is_empty(), "another worker would run it beside this one");
    worker.end().await.unwrap();
    assert_eq!(["a", "b"].map(|handle| script.deleted(handle).len()), [1, 1]);
}

/// What is known of a message comes before what stands before it in its group: given back, one that runs would run beside itself, and one
/// that is done would only come once more.
#[tokio::test(start_paused = true)]
async fn a_copy_behind_what_is_left_out_is_not_given_back_with_it() {
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
        // As many as there are permits, and one more.
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

/// The head of a group fails, behind which a message stands twice. Both receipts are given back with it: one that was kept would have the
/// queue hold the message back, and once it ends, have it taken for one that does not run here.
#[tokio::test(start_paused = true)]
async fn a_copy_in_the_tail_of_a_group_is_given_back_with_it() {
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
        // The batch of the first poll is over by then.
        ("ReceiveMessage", 2) => Reply::messages([tail("once more")]).after(secs(20)),
        _ => Reply::usual(),
    });
    let _worker = Running::begin(script.worker(redrive::handler(fails_or_takes_its_time).with_state(notes.clone())));
    sleep(secs(100)).await;
    assert_eq!(["first", "copy"].map(|handle| script.hidden(handle, 0).len()), [1, 1]);
    assert!(script.hidden("copy", 30).is_empty(), "it has no heartbeats any more");
    assert_eq!(notes.all().iter().filter(|note| *note == "tail-40 begun").count(), 1, "{:?}", notes.all());
}

#[tokio::test(start_paused = true)]
async fn what_is_fresh_does_not_wait_for_deletes_of_what_is_not() {
    let (notes, has_deleted) = (Notes::default(), Arc::new(AtomicUsize::new(0)));
    let deletes = has_deleted.clone();
    // As many deletes as may be under way are, and none is answered.
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
async fn a_lease_counts_from_before_the_answer() {
    let script = Script::standard(|call| match (&*call.operation, call.number) {
        ("ReceiveMessage", 0) => Reply::messages([message("m-100", "a", None)]).after(Duration::from_millis(900)),
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
        "SQS may have counted all the while: {first:?}"
    );
    let first = script.hidden("b", 30)[0] - receives[1].at;
    assert!((secs(28)..=secs(30)).contains(&first), "a long poll waits for a message, and then is answered: {first:?}");
}

#[tokio::test(start_paused = true)]
async fn a_client_of_little_patience_has_enough_for_a_long_poll() {
    let (queue, notes) = (Queue::standard().await, Notes::default());
    let timeouts = TimeoutConfig::builder().operation_timeout(secs(3)).operation_attempt_timeout(secs(2));
    let config = queue.client.config().to_builder().timeout_config(timeouts.read_timeout(secs(1)).build());
    let client = Client::from_conf(config.retry_config(RetryConfig::standard()).build());
    let consumer = redrive::handler(takes_its_time).with_state(notes.clone());
    let _worker = Running::begin(consumer.worker(client, &queue.url));
    sleep(secs(15)).await;
    queue.send("an order").await;
    queue.drained().await;
    assert_eq!(queue.calls.count("ReceiveMessage"), 2, "the first one waits for what it brings");
}

#[tokio::test(start_paused = true)]
async fn no_heartbeat_touches_what_was_settled_in_the_same_poll() {
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
async fn no_heartbeat_touches_the_tail_of_a_group_while_its_head_is_settled() {
    let script = Script::fifo(|call| {
        let of = |id, handle| message(id, handle, Some("g"));
        match (&*call.operation, call.number) {
            ("ReceiveMessage", 0) => Reply::messages([of("1", "1"), of("2", "2"), of("2", "2 again")]),
            // The delay of all is under way when a heartbeat is due.
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
        assert!(script.hidden(handle, 30).is_empty(), "it would end the delay: {:?}", script.hidden(handle, 30));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_lost_is_extended_no_more() {
    let script = Script::standard(|call| match (&*call.operation, call.number) {
        ("ReceiveMessage", 0) => Reply::messages([message("m-100", DEAD, None), message("n-100", "b", None)]),
        _ => Reply::usual(),
    });
    let worker = script.worker(redrive::handler(takes_its_time).with_state(Notes::default()));
    let _worker = Running::begin(worker);
    sleep(secs(95)).await;
    assert_eq!((script.hidden(DEAD, 30).len(), script.hidden("b", 30).len()), (1, 9));
}
