//! Tests consumers with the test kit, from the first delivery to the dead-letter queue.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use redrive::{Body, Fifo, Json, Message, Outcome, ReceiveCount, State};
use redrive_local::{Delivery, Kit};
use tokio::time::Instant;

use crate::calls::Calls;
use crate::kit::secs;

/// Returns the body, the receive count and the success of each delivery.
fn outcomes(deliveries: &[Delivery]) -> Vec<(&str, u32, bool)> {
    deliveries.iter().map(|each| (each.body.as_deref().unwrap_or("?"), each.receive_count, each.done)).collect()
}

#[tokio::test(start_paused = true)]
async fn only_failed_records_are_retried() {
    let kit = Kit::with_seed(1);
    let orders = kit.queue("orders").create().await.unwrap();
    let place = |Body(order): Body, ReceiveCount(count): ReceiveCount| async move {
        if order == "late" && count < 3 { Err(format!("not yet, at receive {count}")) } else { Ok(()) }
    };
    orders.mapping(redrive::handler(place)).start().unwrap();
    for order in ["early", "late"] {
        orders.send(order).await.unwrap();
    }
    let began = Instant::now();
    kit.until_idle().await;
    let mut deliveries = orders.deliveries();
    deliveries.sort_by_key(|delivery| (delivery.receive_count, delivery.body.clone()));
    let expected = [("early", 1, true), ("late", 1, false), ("late", 2, false), ("late", 3, true)];
    assert_eq!(outcomes(&deliveries), expected);
    assert_eq!(deliveries[2].why.as_deref(), Some("not yet, at receive 2"));
    assert_eq!(began.elapsed().as_secs(), 60, "expected two visibility timeouts");
    assert!(orders.problems().is_empty());
}

#[tokio::test(start_paused = true)]
async fn six_hours_of_retries_end_in_the_dead_letter_queue_with_the_reason() {
    let kit = Kit::with_seed(1);
    let orders = kit.queue("orders").visibility_timeout(secs(3_600)).max_receive_count(6).create().await.unwrap();
    let place = |Json(_): Json<u32>| async { Outcome::Done };
    orders.mapping(redrive::handler(place)).start().unwrap();
    let bad = orders.send("no number").await.unwrap();
    let good = orders.send_json(&7).await.unwrap();
    let began = Instant::now();
    kit.until_idle().await;
    assert_eq!(began.elapsed().as_secs(), 6 * 3_600);
    assert_eq!((orders.deliveries_of(&bad).len(), orders.deliveries_of(&good).len()), (6, 1));
    let [dead] = &orders.dead_letters()[..] else { panic!("expected one dead letter") };
    assert_eq!((&dead.message_id, dead.body.as_str(), dead.receive_count), (&bad, "no number", 6));
    assert!(dead.why.as_deref().unwrap().contains("malformed"), "{dead:?}");
}

#[tokio::test(start_paused = true)]
async fn dead_letters_have_the_reason_of_a_panic_and_of_a_timeout() {
    let kit = Kit::with_seed(1);
    let orders = kit.queue("orders").max_receive_count(1).create().await.unwrap();
    let place = |Body(order): Body| async move {
        match order.as_str() {
            "panics" => panic!("out of paper"),
            _ => std::future::pending::<()>().await,
        }
    };
    orders.mapping(redrive::handler(place)).function_timeout(secs(10)).start().unwrap();
    for order in ["panics", "hangs"] {
        orders.send(order).await.unwrap();
    }
    kit.until_idle().await;
    let mut dead = orders.dead_letters();
    dead.sort_by_key(|dead| dead.body.clone());
    assert_eq!((dead[0].body.as_str(), dead[1].body.as_str()), ("hangs", "panics"));
    assert!(dead[1].why.as_deref().unwrap().contains("out of paper"), "{:?}", dead[1]);
}

#[tokio::test(start_paused = true)]
async fn fifo_group_keeps_its_order_when_records_fail() {
    for (mode, seed) in [(Fifo::StopGroup, 1), (Fifo::StopBatch, 2)] {
        let kit = Kit::with_seed(seed);
        let orders = kit.queue("orders.fifo").max_receive_count(100).create().await.unwrap();
        let seen = Arc::new(AtomicU32::new(0));
        let place = |Body(_): Body, State(seen): State<Arc<AtomicU32>>| async move {
            // Every third run fails.
            if seen.fetch_add(1, Ordering::Relaxed) % 3 == 2 { Err("again") } else { Ok(()) }
        };
        orders.mapping(redrive::handler(place).fifo(mode).with_state(seen)).start().unwrap();
        for number in 0..10 {
            for group in ["a", "b"] {
                orders.send_to(group, format!("{group}{number}")).await.unwrap();
            }
        }
        kit.until_idle().await;
        assert!(orders.dead_letters().is_empty(), "{mode:?}");
        for group in ["a", "b"] {
            let done = orders.deliveries().into_iter().filter(|each| each.done && each.group.as_deref() == Some(group));
            let expected: Vec<_> = (0..10).map(|number| format!("{group}{number}")).collect();
            assert_eq!(done.map(|each| each.body.unwrap()).collect::<Vec<_>>(), expected, "{mode:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn mapping_waits_for_its_window_and_respects_the_batch_size() {
    let kit = Kit::with_seed(1);
    let orders = kit.queue("orders").visibility_timeout(secs(600)).create().await.unwrap();
    let sizes = Arc::new(std::sync::Mutex::new(Vec::new()));
    let heard = sizes.clone();
    let function = move |event: String| {
        heard.lock().unwrap().push(event.matches("receiptHandle").count());
        async { Ok(String::new()) }
    };
    orders.mapping_to(function).batch_size(25).window(secs(30)).start().unwrap();
    for _ in 0..60 {
        orders.send("x").await.unwrap();
    }
    let began = Instant::now();
    kit.until_idle().await;
    assert_eq!(*sizes.lock().unwrap(), [25, 25, 10]);
    assert_eq!(began.elapsed().as_secs(), 30);
}

#[tokio::test(start_paused = true)]
async fn concurrent_batches_are_limited_to_the_maximum() {
    let kit = Kit::with_seed(1);
    let orders = kit.queue("orders").visibility_timeout(secs(600)).create().await.unwrap();
    let (running, most) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let (now, top) = (running.clone(), most.clone());
    let function = move |_| {
        let (now, top) = (now.clone(), top.clone());
        async move {
            top.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::time::sleep(secs(2)).await;
            now.fetch_sub(1, Ordering::SeqCst);
            Ok(String::new())
        }
    };
    orders.mapping_to(function).batch_size(1).maximum_concurrency(3).start().unwrap();
    for _ in 0..12 {
        orders.send("x").await.unwrap();
    }
    kit.until_idle().await;
    assert_eq!(most.load(Ordering::SeqCst), 3);
}

#[tokio::test(start_paused = true)]
async fn failed_record_is_deleted_and_reported_when_the_setting_is_off() {
    let kit = Kit::with_seed(1);
    let orders = kit.queue("orders").max_receive_count(3).create().await.unwrap();
    let place = |Body(_): Body| async { Err::<(), _>("no") };
    orders.mapping(redrive::handler(place)).without_report_batch_item_failures().start().unwrap();
    let id = orders.send("x").await.unwrap();
    kit.until_idle().await;
    assert_eq!((orders.deliveries_of(&id).len(), orders.dead_letters().len()), (1, 0));
    let [problem] = &orders.problems()[..] else { panic!("expected one problem") };
    assert!(problem.contains(&id) && problem.contains("ReportBatchItemFailures"), "{problem}");

    // With this option the whole batch is retried, so no message is lost.
    let kit = Kit::with_seed(1);
    let orders = kit.queue("orders").max_receive_count(3).create().await.unwrap();
    let consumer = redrive::handler(place).fail_batch_on_any_failure();
    orders.mapping(consumer).without_report_batch_item_failures().start().unwrap();
    let id = orders.send("x").await.unwrap();
    kit.until_idle().await;
    assert_eq!((orders.deliveries_of(&id).len(), orders.dead_letters().len()), (3, 1));
}

#[tokio::test(start_paused = true)]
async fn malformed_answer_retries_the_whole_batch() {
    let answers: [(&str, &str); 5] = [
        ("not JSON", "JSON"),
        (r#"{"batchItemFailures": [{"itemIdentifier": ""}]}"#, "empty"),
        (r#"{"batchItemFailures": [{"itemIdentifier": null}]}"#, "null"),
        (r#"{"batchItemFailures": [{"item": "x"}]}"#, "itemIdentifier"),
        (r#"{"batchItemFailures": [{"itemIdentifier": "stranger"}]}"#, "stranger"),
    ];
    for (answer, problem) in answers {
        let kit = Kit::with_seed(1);
        let orders = kit.queue("orders").max_receive_count(2).create().await.unwrap();
        orders.mapping_to(move |_| async move { Ok(answer.to_owned()) }).start().unwrap();
        for _ in 0..3 {
            orders.send("x").await.unwrap();
        }
        kit.until_idle().await;
        assert_eq!((orders.deliveries().len(), orders.dead_letters().len()), (6, 3), "{answer}");
        assert!(orders.problems()[0].contains(problem), "{answer}: {:?}", orders.problems());
        assert!(orders.dead_letters()[0].why.is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn batch_is_retried_after_an_error_or_a_timeout_of_its_function() {
    let kit = Kit::with_seed(1);
    let orders = kit.queue("orders").max_receive_count(3).create().await.unwrap();
    let calls = Arc::new(AtomicU32::new(0));
    let function = move |_| {
        let call = calls.fetch_add(1, Ordering::Relaxed);
        async move {
            match call {
                0 => Err("the disk is full".into()),
                1 => std::future::pending().await,
                _ => Ok(r#"{"batchItemFailures": []}"#.to_owned()),
            }
        }
    };
    orders.mapping_to(function).function_timeout(secs(5)).start().unwrap();
    let id = orders.send("x").await.unwrap();
    let began = Instant::now();
    kit.until_idle().await;
    let deliveries = orders.deliveries_of(&id);
    assert_eq!(deliveries.iter().map(|delivery| delivery.done).collect::<Vec<_>>(), [false, false, true]);
    assert!(deliveries[0].why.as_deref().unwrap().contains("the disk is full"), "{deliveries:?}");
    assert!(deliveries[1].why.as_deref().unwrap().contains("timeout"), "{deliveries:?}");
    assert_eq!(began.elapsed(), Duration::from_secs(60));
}

#[tokio::test(start_paused = true)]
async fn message_that_matches_no_filter_is_deleted_without_a_delivery() {
    let kit = Kit::with_seed(1);
    let orders = kit.queue("orders").create().await.unwrap();
    let place = |Body(_): Body| async {};
    orders.mapping(redrive::handler(place)).filter(r#"{"body": {"kind": ["order"]}}"#).start().unwrap();
    orders.send(r#"{"kind": "order"}"#).await.unwrap();
    orders.send(r#"{"kind": "refund"}"#).await.unwrap();
    orders.send("order").await.unwrap();
    kit.until_idle().await;
    assert_eq!(outcomes(&orders.deliveries()), [(r#"{"kind": "order"}"#, 1, true)]);
}

#[tokio::test(start_paused = true)]
async fn handler_receives_a_message_in_the_form_of_lambda() {
    let kit = Kit::with_seed(1);
    let orders = kit.queue("orders.fifo").create().await.unwrap();
    let place = |Message(message): Message| async move {
        assert_eq!(message.body.as_deref(), Some("x"));
        assert_eq!(message.event_source.as_deref(), Some("aws:sqs"));
        assert_eq!(message.event_source_arn.as_deref(), Some("arn:aws:sqs:us-east-1:000000000000:orders.fifo"));
        assert_eq!(message.aws_region.as_deref(), Some("us-east-1"));
        assert_eq!(message.attributes["MessageGroupId"], "default");
        assert_eq!(message.attributes["SequenceNumber"].len(), 20);
    };
    orders.mapping(redrive::handler(place)).start().unwrap();
    let id = orders.send("x").await.unwrap();
    kit.until_idle().await;
    let deliveries = orders.deliveries_of(&id);
    assert!(deliveries[0].done, "{deliveries:?}");
}

#[tokio::test(start_paused = true)]
async fn message_moved_back_from_the_dead_letter_queue_runs_again() {
    let kit = Kit::with_seed(1);
    let orders = kit.queue("orders").max_receive_count(1).create().await.unwrap();
    let is_repaired = Arc::new(AtomicU32::new(0));
    let place = |Body(_): Body, State(is_repaired): State<Arc<AtomicU32>>| async move {
        if is_repaired.load(Ordering::Relaxed) == 0 { Err("broken") } else { Ok(()) }
    };
    orders.mapping(redrive::handler(place).with_state(is_repaired.clone())).start().unwrap();
    for _ in 0..3 {
        orders.send("x").await.unwrap();
    }
    kit.until_idle().await;
    assert_eq!(orders.dead_letters().len(), 3);
    is_repaired.store(1, Ordering::Relaxed);
    let source = "arn:aws:sqs:us-east-1:000000000000:orders-dlq";
    let start = orders.client().start_message_move_task().source_arn(source).max_number_of_messages_per_second(1);
    start.send().await.unwrap();
    kit.until_idle().await;
    assert_eq!((orders.dead_letters().len(), orders.deliveries().iter().filter(|each| each.done).count()), (0, 3));
}

#[tokio::test(start_paused = true)]
async fn settings_that_aws_refuses_are_refused() {
    let kit = Kit::with_seed(1);
    let error = kit.queue("a b").create().await.unwrap_err();
    assert!(error.to_string().contains("a b"), "{error}");
    let orders = kit.queue("orders").create().await.unwrap();
    let mapping = || orders.mapping(redrive::handler(|Body(_): Body| async {}));
    let refused = [
        (mapping().batch_size(11), "BatchSize is 11"),
        (mapping().window(secs(301)), "301"),
        (mapping().maximum_concurrency(1), "MaximumConcurrency"),
        (mapping().function_timeout(secs(31)), "VisibilityTimeout"),
        (mapping().filter("{"), "pattern"),
    ];
    for (mapping, expected) in refused {
        let error = mapping.start().unwrap_err();
        assert!(error.to_string().contains(expected), "{expected}: {error}");
    }
}

#[tokio::test(start_paused = true)]
async fn slow_consumer_of_a_fifo_group_receives_each_message_once() {
    let kit = Kit::with_seed(1);
    let queue = kit.queue("orders.fifo").max_receive_count(2).create().await.unwrap();
    let slow = |Body(_): Body| async {
        tokio::time::sleep(secs(10)).await;
        Ok::<_, String>(())
    };
    queue.mapping(redrive::handler(slow)).batch_size(1).function_timeout(secs(30)).start().unwrap();
    for n in 0..10 {
        queue.send(n.to_string()).await.unwrap();
    }
    kit.until_idle().await;
    // Ten runs take longer than the visibility timeout of 30 s, so a waiting message would expire.
    assert_eq!(queue.deliveries().len(), 10);
    assert!(queue.dead_letters().is_empty() && queue.problems().is_empty(), "{:?}", queue.problems());
}

#[tokio::test(start_paused = true)]
async fn dropped_mapping_ends_like_a_crash() {
    let kit = Kit::with_seed(1);
    let orders = kit.queue("orders").visibility_timeout(secs(60)).create().await.unwrap();
    let slow = |Body(_): Body| async { tokio::time::sleep(secs(10)).await };
    let calls = Calls::default();
    let mapping =
        || orders.mapping(redrive::handler(slow)).function_timeout(secs(30)).client(calls.client_of(kit.sqs()));
    orders.send("an order").await.unwrap();
    let began = Instant::now();
    let crashed = tokio::time::timeout(secs(5), mapping().run().unwrap()).await;
    assert!(crashed.is_err() && orders.deliveries().iter().all(|delivery| !delivery.done));
    assert_eq!(calls.count("DeleteMessageBatch"), 0);
    let _running = tokio::spawn(mapping().run().unwrap());
    kit.until_idle().await;
    assert_eq!(began.elapsed().as_secs(), 70, "expected a visibility timeout and one run");
    assert_eq!(calls.count("DeleteMessageBatch"), 1);
}
