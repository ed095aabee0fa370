//! The bodies of large messages take a limited part of the memory.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_sqs::types::QueueAttributeName as Name;
use redrive::{Body, LargeMessages, State};
use redrive_local::{Kit, TestQueue};
use tokio::time::sleep;

use crate::fake_s3::{Delivery, FakeS3};
use crate::receiving::{POINTER, send, send_with_size};
use crate::{MIB, through};

/// The calls of a handler with their bytes, and the most bytes that handlers held at a time.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Calls>>);

#[derive(Default)]
struct Calls {
    bytes: usize,
    most_bytes: usize,
    /// The lengths of each call's bodies.
    calls: Vec<Vec<usize>>,
}

impl Seen {
    fn begin(&self, bodies: &[Body]) -> Running {
        let lengths: Vec<_> = bodies.iter().map(|Body(body)| body.len()).collect();
        let mut calls = self.0.lock().unwrap();
        calls.bytes += lengths.iter().sum::<usize>();
        calls.most_bytes = calls.most_bytes.max(calls.bytes);
        calls.calls.push(lengths.clone());
        Running { seen: self.clone(), bytes: lengths.iter().sum() }
    }

    fn most_bytes(&self) -> usize {
        self.0.lock().unwrap().most_bytes
    }

    fn calls(&self) -> Vec<Vec<usize>> {
        self.0.lock().unwrap().calls.clone()
    }
}

/// A running call of a handler, until it ends or is cancelled.
struct Running {
    seen: Seen,
    bytes: usize,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.seen.0.lock().unwrap().bytes -= self.bytes;
    }
}

async fn slow(State(seen): State<Seen>, body: Body) {
    let _running = seen.begin(&[body]);
    sleep(Duration::from_secs(1)).await;
}

async fn slow_batch(State(seen): State<Seen>, bodies: Vec<Body>) -> Vec<()> {
    let _running = seen.begin(&bodies);
    sleep(Duration::from_secs(1)).await;
    vec![(); bodies.len()]
}

const KIB: usize = 1_024;

/// Returns large messages with memory for this many objects of 1 KiB.
fn with_room_for(objects: usize, s3: &FakeS3) -> LargeMessages {
    through(s3).memory_budget(3 * KIB * objects)
}

async fn queue_of(kit: &Kit, s3: &FakeS3, messages: usize) -> TestQueue {
    s3.put_long("/payloads/k", KIB);
    let orders = kit.queue("orders").max_receive_count(2).create().await.unwrap();
    for _ in 0..messages {
        send_with_size(&orders, POINTER, "ExtendedPayloadSize", "1024").await;
    }
    orders
}

fn are_all_done(queue: &TestQueue, messages: usize) -> bool {
    let deliveries = queue.deliveries();
    deliveries.len() == messages && deliveries.iter().all(|delivery| delivery.done)
}

#[tokio::test(start_paused = true)]
async fn bodies_without_room_for_all_run_one_after_the_other() {
    let (kit, s3, seen) = (Kit::with_seed(1), FakeS3::default(), Seen::default());
    let orders = queue_of(&kit, &s3, 7).await;
    let consumer = redrive::handler(slow).with_state(seen.clone()).large_messages(with_room_for(2, &s3));
    orders.mapping(consumer).function_timeout(Duration::from_secs(30)).start().unwrap();
    kit.until_idle().await;
    assert!(are_all_done(&orders, 7), "{:?}", orders.deliveries());
    assert_eq!(seen.most_bytes(), 2 * KIB);
}

#[tokio::test(start_paused = true)]
async fn message_without_a_pointer_does_not_wait_for_memory() {
    let (kit, s3, seen) = (Kit::with_seed(2), FakeS3::default(), Seen::default());
    let orders = queue_of(&kit, &s3, 5).await;
    orders.send("small").await.unwrap();
    let consumer = redrive::handler(slow).with_state(seen.clone()).large_messages(with_room_for(1, &s3));
    orders.mapping(consumer).function_timeout(Duration::from_secs(30)).start().unwrap();
    kit.until_idle().await;
    assert!(are_all_done(&orders, 6));
    assert_eq!(seen.calls()[0], ["small".len()], "it starts before the first body arrives");
}

#[tokio::test(start_paused = true)]
async fn body_above_the_budget_runs_alone() {
    let (kit, s3, seen) = (Kit::with_seed(3), FakeS3::default(), Seen::default());
    let orders = queue_of(&kit, &s3, 3).await;
    s3.put_long("/payloads/large", MIB);
    send_with_size(&orders, &POINTER.replace("\"k\"", "\"large\""), "ExtendedPayloadSize", "1048576").await;
    let consumer = redrive::handler(slow).with_state(seen.clone()).large_messages(with_room_for(4, &s3));
    orders.mapping(consumer).function_timeout(Duration::from_secs(30)).start().unwrap();
    kit.until_idle().await;
    assert!(are_all_done(&orders, 4));
    assert_eq!(seen.most_bytes(), MIB, "nothing ran at the same time");
}

#[tokio::test(start_paused = true)]
async fn size_from_s3_counts_when_the_message_announces_less_or_nothing() {
    for (seed, said) in [(4, "11"), (5, "many"), (6, "-1"), (7, "99999999999999999999")] {
        for delivery in [Delivery::AtOnce, Delivery::WithoutLength] {
            let (kit, s3, seen) = (Kit::with_seed(seed), FakeS3::default(), Seen::default());
            s3.deliver(delivery);
            s3.put_long("/payloads/k", 3 * MIB);
            let orders = kit.queue("orders").create().await.unwrap();
            for _ in 0..4 {
                send_with_size(&orders, POINTER, "ExtendedPayloadSize", said).await;
            }
            let large_messages = through(&s3).max_size(4 * MIB).memory_budget(2 * 9 * MIB + 6 * MIB);
            orders
                .mapping(redrive::handler(slow).with_state(seen.clone()).large_messages(large_messages))
                .function_timeout(Duration::from_secs(30))
                .start()
                .unwrap();
            kit.until_idle().await;
            assert!(are_all_done(&orders, 4), "{said}: {:?}", orders.deliveries());
            assert_eq!(seen.most_bytes(), 6 * MIB, "{said}: there is room for two");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn body_shorter_than_announced_returns_memory_to_others() {
    let (kit, s3, seen) = (Kit::with_seed(8), FakeS3::default(), Seen::default());
    s3.put_long("/payloads/k", KIB);
    let orders = kit.queue("orders").create().await.unwrap();
    for said in ["1000000000", "1024", "1024", "1024"] {
        send_with_size(&orders, POINTER, "ExtendedPayloadSize", said).await;
    }
    let consumer = redrive::handler(slow).with_state(seen.clone()).large_messages(with_room_for(4, &s3));
    orders.mapping(consumer).function_timeout(Duration::from_secs(30)).start().unwrap();
    kit.until_idle().await;
    assert!(are_all_done(&orders, 4));
    assert_eq!(seen.most_bytes(), 4 * KIB, "all of them ran together");
}

#[tokio::test(start_paused = true)]
async fn batch_handler_gets_as_many_bodies_a_call_as_fit_into_memory() {
    let (kit, s3, seen) = (Kit::with_seed(9), FakeS3::default(), Seen::default());
    let orders = queue_of(&kit, &s3, 5).await;
    let consumer = redrive::batch(slow_batch).with_state(seen.clone()).large_messages(with_room_for(2, &s3));
    orders.mapping(consumer).batch_size(5).function_timeout(Duration::from_secs(30)).start().unwrap();
    kit.until_idle().await;
    assert!(are_all_done(&orders, 5));
    assert_eq!(seen.calls(), [vec![KIB; 2], vec![KIB; 2], vec![KIB; 1]]);
}

#[tokio::test(start_paused = true)]
async fn chunks_that_need_all_of_the_memory_do_not_deadlock() {
    for said in ["1024", "1", "1000000000"] {
        let (kit, s3, seen) = (Kit::with_seed(10), FakeS3::default(), Seen::default());
        s3.put_long("/payloads/k", KIB);
        let orders = kit.queue("orders").create().await.unwrap();
        for _ in 0..20 {
            send_with_size(&orders, POINTER, "ExtendedPayloadSize", said).await;
        }
        let consumer = redrive::batch(slow_batch).with_state(seen.clone()).large_messages(with_room_for(3, &s3));
        orders.mapping(consumer).batch_size(10).function_timeout(Duration::from_secs(30)).start().unwrap();
        kit.until_idle().await;
        assert!(are_all_done(&orders, 20), "{said}");
        // A body that is announced as longer than the budget runs alone.
        let together = if said == "1000000000" { 1 } else { 3 };
        assert_eq!(seen.most_bytes(), together * KIB, "{said}");
    }
}

#[tokio::test(start_paused = true)]
async fn panic_of_a_call_does_not_fail_records_that_wait_for_the_next() {
    let (kit, s3, seen) = (Kit::with_seed(11), FakeS3::default(), Seen::default());
    let orders = queue_of(&kit, &s3, 3).await;
    let panics_once = |State(seen): State<Seen>, bodies: Vec<Body>| async move {
        let _running = seen.begin(&bodies);
        assert!(seen.calls().len() > 1, "once");
        vec![(); bodies.len()]
    };
    let consumer = redrive::batch(panics_once).with_state(seen.clone()).large_messages(with_room_for(1, &s3));
    orders.mapping(consumer).batch_size(3).function_timeout(Duration::from_secs(30)).start().unwrap();
    kit.until_idle().await;
    let done = orders.deliveries().iter().filter(|delivery| delivery.done).count();
    assert_eq!((orders.deliveries().len(), done), (4, 3), "{:?}", orders.deliveries());
}

#[tokio::test(start_paused = true)]
async fn deadline_of_an_invocation_ends_a_wait_for_memory() {
    let (kit, s3, seen) = (Kit::with_seed(12), FakeS3::default(), Seen::default());
    let orders = queue_of(&kit, &s3, 2).await;
    let hangs_once = |State(seen): State<Seen>, body: Body| async move {
        let _running = seen.begin(&[body]);
        if seen.calls().len() == 1 {
            std::future::pending::<()>().await;
        }
    };
    let consumer = redrive::handler(hangs_once).with_state(seen.clone()).large_messages(with_room_for(1, &s3));
    orders.mapping(consumer).batch_size(2).function_timeout(Duration::from_secs(5)).start().unwrap();
    kit.until_idle().await;
    let deliveries = orders.deliveries();
    assert_eq!(deliveries.iter().filter(|delivery| !delivery.done).count(), 2, "both are retried: {deliveries:?}");
    assert_eq!(deliveries.iter().filter(|delivery| delivery.done).count(), 2, "and find the memory free");
}

#[tokio::test(start_paused = true)]
async fn concurrent_fetches_are_limited() {
    let (kit, s3, seen) = (Kit::with_seed(13), FakeS3::default(), Seen::default());
    let orders = queue_of(&kit, &s3, 60).await;
    orders
        .mapping(redrive::handler(slow).with_state(seen.clone()).large_messages(through(&s3)))
        .batch_size(60)
        .window(Duration::from_secs(1))
        .function_timeout(Duration::from_secs(30))
        .start()
        .unwrap();
    kit.until_idle().await;
    assert!(are_all_done(&orders, 60));
    assert_eq!(s3.most_calls_at_a_time(), 16);
}

#[cfg(feature = "worker")]
#[tokio::test(start_paused = true)]
async fn worker_keeps_the_lease_of_a_message_that_waits_for_memory() {
    let (kit, s3, seen) = (Kit::with_seed(14), FakeS3::default(), Seen::default());
    let orders = queue_of(&kit, &s3, 3).await;
    let very_slow = |State(seen): State<Seen>, body: Body| async move {
        let _running = seen.begin(&[body]);
        sleep(Duration::from_secs(100)).await;
    };
    let consumer = redrive::handler(very_slow).with_state(seen.clone()).large_messages(with_room_for(1, &s3));
    let worker = consumer.worker(orders.client().clone(), orders.url()).visibility_timeout(Duration::from_secs(20));
    worker.run_until(sleep(Duration::from_secs(320))).await.unwrap();
    assert_eq!(seen.calls().len(), 3, "each has run once");
    assert_eq!(seen.most_bytes(), KIB);
    let left = orders.client().receive_message().queue_url(orders.url()).send().await.unwrap();
    assert_eq!(left.messages().len(), 0, "all of them are deleted");
}

#[cfg(feature = "worker")]
#[tokio::test(start_paused = true)]
async fn message_that_waits_for_memory_is_released_at_shutdown() {
    let (kit, s3, seen) = (Kit::with_seed(15), FakeS3::default(), Seen::default());
    let orders = queue_of(&kit, &s3, 2).await;
    let consumer = redrive::handler(slow).with_state(seen.clone()).large_messages(with_room_for(1, &s3));
    let worker = consumer.worker(orders.client().clone(), orders.url()).drain_timeout(Duration::ZERO);
    worker.run_until(sleep(Duration::from_millis(500))).await.unwrap();
    assert_eq!(seen.calls().len(), 1, "the other one waited");
    let counted =
        orders.client().get_queue_attributes().queue_url(orders.url()).attribute_names(Name::All).send().await;
    let counted = counted.unwrap().attributes.unwrap();
    assert_eq!(counted[&Name::ApproximateNumberOfMessages], "2", "both are visible: {counted:?}");
}

/// The memory limit of a Lambda function of that size. Environment and peak memory belong to a process, so each test
/// runs itself once more.
#[cfg(target_os = "linux")]
mod peak {
    use std::process::Command;

    use super::*;

    const LIMIT_MIB: usize = 512;
    const IN_CHILD: &str = "REDRIVE_TEST_CHILD";
    /// 60 MB for each body.
    const BODY_BYTES: usize = 60_000_000;

    fn in_a_process_of_its_own(test: &str, two_bodies: fn()) {
        if std::env::var_os(IN_CHILD).is_some() {
            two_bodies();
            assert!(peak_mib() < LIMIT_MIB, "the process took {} MiB", peak_mib());
            println!("the peak is {} MiB", peak_mib());
            return;
        }
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", test, "--nocapture"]).env(IN_CHILD, "1");
        child.env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", LIMIT_MIB.to_string());
        let output = child.output().unwrap();
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
        println!("{}", said.lines().find(|line| line.contains("the peak is")).unwrap_or_default());
    }

    fn peak_mib() -> usize {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        peak.trim().trim_end_matches(" kB").parse::<usize>().unwrap() / 1_024
    }

    fn run(queue_and_handler: impl AsyncFnOnce(Kit, FakeS3)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(queue_and_handler(Kit::with_seed(1), FakeS3::default()));
    }

    async fn orders_with_two_bodies(kit: &Kit, s3: &FakeS3) -> TestQueue {
        s3.put_long("/payloads/k", BODY_BYTES);
        let orders = kit.queue("orders").create().await.unwrap();
        for _ in 0..2 {
            send_with_size(&orders, POINTER, "ExtendedPayloadSize", &BODY_BYTES.to_string()).await;
        }
        orders.send("healthy").await.unwrap();
        orders
    }

    #[test]
    fn two_bodies_of_60_mb_in_one_batch_stay_below_512_mb() {
        in_a_process_of_its_own("memory::peak::two_bodies_of_60_mb_in_one_batch_stay_below_512_mb", || {
            run(async |kit, s3| {
                let (orders, seen) = (orders_with_two_bodies(&kit, &s3).await, Seen::default());
                let consumer = redrive::handler(slow).with_state(seen.clone()).large_messages(through(&s3));
                orders.mapping(consumer).function_timeout(Duration::from_secs(30)).start().unwrap();
                kit.until_idle().await;
                assert!(are_all_done(&orders, 3), "{:?}", orders.deliveries());
                assert_eq!(seen.most_bytes() / BODY_BYTES, 1);
            });
        });
    }

    #[test]
    fn two_bodies_of_60_mb_of_a_batch_handler_stay_below_512_mb() {
        in_a_process_of_its_own("memory::peak::two_bodies_of_60_mb_of_a_batch_handler_stay_below_512_mb", || {
            run(async |kit, s3| {
                let (orders, seen) = (orders_with_two_bodies(&kit, &s3).await, Seen::default());
                let consumer = redrive::batch(slow_batch).with_state(seen.clone()).large_messages(through(&s3));
                orders.mapping(consumer).function_timeout(Duration::from_secs(30)).start().unwrap();
                kit.until_idle().await;
                assert!(are_all_done(&orders, 3), "{:?}", orders.deliveries());
                assert_eq!(seen.most_bytes() / BODY_BYTES, 1);
            });
        });
    }

    #[test]
    fn same_bodies_without_a_budget_take_more() {
        in_a_process_of_its_own("memory::peak::same_bodies_without_a_budget_take_more", || {
            run(async |kit, s3| {
                let (orders, seen) = (orders_with_two_bodies(&kit, &s3).await, Seen::default());
                let unbounded = through(&s3).memory_budget(usize::MAX);
                orders
                    .mapping(redrive::handler(slow).with_state(seen.clone()).large_messages(unbounded))
                    .function_timeout(Duration::from_secs(30))
                    .start()
                    .unwrap();
                kit.until_idle().await;
                assert_eq!(seen.most_bytes() / BODY_BYTES, 2, "only the budget keeps them apart");
            });
        });
    }

    /// A function of 128 MB could not hold such a body and one copy.
    #[test]
    fn body_above_the_memory_is_refused_without_ending_the_process() {
        if std::env::var_os(IN_CHILD).is_some() {
            return run(async |kit, s3| {
                s3.put_long("/payloads/k", BODY_BYTES);
                let orders = kit.queue("orders").max_receive_count(1).create().await.unwrap();
                let id = send(&orders, POINTER, "ExtendedPayloadSize").await;
                orders
                    .mapping(redrive::handler(async |Body(_): Body| {}).large_messages(through(&s3)))
                    .function_timeout(Duration::from_secs(30))
                    .start()
                    .unwrap();
                kit.until_idle().await;
                assert!(crate::receiving::why(&orders, &id).contains("LargeMessages::max_size"));
            });
        }
        let mut child = Command::new(std::env::current_exe().unwrap());
        let test = "memory::peak::body_above_the_memory_is_refused_without_ending_the_process";
        child.args(["--exact", test]).env(IN_CHILD, "1").env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128");
        let output = child.output().unwrap();
        assert!(output.status.success() && String::from_utf8_lossy(&output.stdout).contains("1 passed"), "{output:?}");
    }
}
