//! Tests the effects of a handler on its queue: a delay, a backoff, and a dead letter with its reason.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_sqs::types::MessageAttributeValue;
use redrive::{Backoff, Body, Effects, Fifo, Json, LastReceive, Outcome, ReceiveCount, State};
use redrive_local::{Delivery, Faults, Kit, TestQueue};
use tokio::time::Instant;

use crate::calls::Calls;
use crate::kit::{Queue, attribute, secs};
use crate::log;
use crate::wire::{self, broken};

fn effects(queue: &TestQueue) -> Effects {
    Effects::with_client(queue.client().clone())
}

fn bodies(deliveries: &[Delivery]) -> Vec<&str> {
    deliveries.iter().map(|each| each.body.as_deref().unwrap_or("?")).collect()
}

/// Returns the messages of the dead-letter queue with all attributes.
async fn dead(queue: &TestQueue) -> Vec<aws_sdk_sqs::types::Message> {
    let url = queue.url().replace("orders", "orders-dlq");
    Queue { client: queue.client().clone(), url }.receive().await
}

fn text<'a>(message: &'a aws_sdk_sqs::types::Message, name: &str) -> &'a str {
    let attributes = message.message_attributes().expect("the message has attributes");
    attributes.get(name).unwrap_or_else(|| panic!("no {name} in {attributes:?}")).string_value().expect("a text")
}

#[tokio::test(start_paused = true)]
async fn record_is_retried_after_the_delay_of_its_handler() {
    let kit = Kit::with_seed(1);
    let orders = kit.queue("orders").visibility_timeout(secs(600)).create().await.unwrap();
    let place = |ReceiveCount(count): ReceiveCount| async move {
        if count < 3 { Outcome::RetryAfter(Duration::from_millis(6_500)) } else { Outcome::Done }
    };
    orders.mapping(redrive::handler(place).effects(effects(&orders))).start().unwrap();
    orders.send("an order").await.unwrap();
    let began = Instant::now();
    kit.until_idle().await;
    assert_eq!(orders.deliveries().len(), 3);
    assert_eq!(began.elapsed().as_secs(), 14, "expected two delays, each rounded up to whole seconds");
}

#[tokio::test(start_paused = true)]
async fn record_is_retried_at_its_visibility_timeout_without_effects() {
    let kit = Kit::with_seed(1);
    let orders = kit.queue("orders").visibility_timeout(secs(600)).max_receive_count(2).create().await.unwrap();
    let place = |ReceiveCount(count): ReceiveCount| async move {
        if count < 2 { Outcome::RetryAfter(secs(6)) } else { Outcome::DeadLetter("no use".into()) }
    };
    orders.mapping(redrive::handler(place)).start().unwrap();
    orders.send("an order").await.unwrap();
    let began = Instant::now();
    kit.until_idle().await;
    assert_eq!(began.elapsed().as_secs(), 1_200);
    assert_eq!(orders.dead_letters()[0].receive_count, 2);
}

#[tokio::test(start_paused = true)]
async fn backoff_grows_with_the_receive_count_and_has_jitter() {
    const RECEIVES: u32 = 12;
    let kit = Kit::with_seed(3);
    let orders =
        kit.queue("orders").visibility_timeout(secs(43_200)).max_receive_count(RECEIVES).create().await.unwrap();
    let fail = |Body(_): Body| async { Err::<(), _>("down") };
    let backoff = Backoff::exponential(secs(1)..secs(15 * 60));
    orders.mapping(redrive::handler(fail).effects(effects(&orders).backoff(backoff))).start().unwrap();
    for number in 0..50 {
        orders.send(number.to_string()).await.unwrap();
    }
    let began = Instant::now();
    kit.until_idle().await;
    let bounds: u64 = (0..RECEIVES).map(|doublings| 2_u64.pow(doublings).min(900) + 1).sum();
    assert!(began.elapsed() < secs(bounds), "{:?} of {bounds} s", began.elapsed());
    assert!(began.elapsed() > secs(bounds / 2), "one of fifty messages has a long delay: {:?}", began.elapsed());
    assert_eq!(orders.deliveries().len(), 50 * RECEIVES as usize);
    assert_eq!(orders.dead_letters().len(), 50);
}

#[tokio::test(start_paused = true)]
async fn delay_of_a_handler_replaces_the_backoff() {
    let kit = Kit::with_seed(1);
    let orders = kit.queue("orders").create().await.unwrap();
    let place = |ReceiveCount(count): ReceiveCount| async move {
        if count < 2 { Outcome::RetryAfter(secs(5)) } else { Outcome::Done }
    };
    let backoff = Backoff::exponential(secs(3_600)..secs(7_200));
    orders.mapping(redrive::handler(place).effects(effects(&orders).backoff(backoff))).start().unwrap();
    orders.send("an order").await.unwrap();
    let began = Instant::now();
    kit.until_idle().await;
    assert_eq!(began.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn delay_of_the_head_of_a_group_applies_to_its_tail() {
    let kit = Kit::with_seed(1);
    let orders = kit.queue("orders.fifo").visibility_timeout(secs(600)).create().await.unwrap();
    let place = |Body(order): Body, ReceiveCount(count): ReceiveCount| async move {
        if order == "a1" && count == 1 { Outcome::RetryAfter(secs(20)) } else { Outcome::Done }
    };
    orders.mapping(redrive::handler(place).effects(effects(&orders))).start().unwrap();
    for order in ["a0", "a1", "b0", "a2", "b1", "a3"] {
        orders.send_to(&order[..1], order).await.unwrap();
    }
    let began = Instant::now();
    kit.until_idle().await;
    assert_eq!(began.elapsed().as_secs(), 20, "the tail was not retried with the head");
    let done: Vec<_> = orders.deliveries().into_iter().filter(|each| each.done).collect();
    let of = |group: &str| bodies(&done).into_iter().filter(|body| body.starts_with(group)).collect::<Vec<_>>();
    assert_eq!(of("a"), ["a0", "a1", "a2", "a3"]);
    assert_eq!(of("b"), ["b0", "b1"]);
}

#[tokio::test(start_paused = true)]
async fn delay_that_stops_the_batch_applies_only_to_its_own_group() {
    let kit = Kit::with_seed(1);
    let orders = kit.queue("orders.fifo").visibility_timeout(secs(600)).create().await.unwrap();
    let place = |Body(order): Body, ReceiveCount(count): ReceiveCount| async move {
        if order == "a0" && count == 1 { Outcome::RetryAfter(secs(9 * 3_600)) } else { Outcome::Done }
    };
    let consumer = redrive::handler(place).fifo(Fifo::StopBatch).effects(effects(&orders));
    orders.mapping(consumer).start().unwrap();
    for order in ["a0", "b0", "a1", "c0"] {
        orders.send_to(&order[..1], order).await.unwrap();
    }
    let began = Instant::now();
    tokio::time::sleep(secs(700)).await;
    let done = |deliveries: Vec<Delivery>| deliveries.into_iter().filter(|each| each.done).collect::<Vec<_>>();
    assert_eq!(bodies(&done(orders.deliveries())), ["b0", "c0"], "other groups missed their visibility timeout");
    kit.until_idle().await;
    assert_eq!(bodies(&done(orders.deliveries()))[2..], ["a0", "a1"]);
    assert_eq!(began.elapsed().as_secs(), 9 * 3_600);
}

#[tokio::test(start_paused = true)]
async fn dead_letter_has_the_message_and_the_reason() {
    let kit = Kit::with_seed(1);
    let orders = kit.queue("orders").max_receive_count(5).create().await.unwrap();
    let place = |Body(_): Body| async { Outcome::DeadLetter("no such customer".into()) };
    orders.mapping(redrive::handler(place).effects(effects(&orders))).start().unwrap();
    let tenant = MessageAttributeValue::builder().data_type("String").string_value("t-7").build().unwrap();
    let send = orders.client().send_message().queue_url(orders.url()).message_body("an order");
    let id = send.message_attributes("tenant", tenant).message_group_id("g").send().await.unwrap().message_id.unwrap();
    kit.until_idle().await;

    let deliveries = orders.deliveries();
    assert_eq!(
        (deliveries.len(), deliveries[0].done),
        (1, true),
        "the message is deleted after its dead letter is sent"
    );
    let [letter] = &orders.dead_letters()[..] else { panic!("expected one dead letter") };
    assert_eq!((&letter.message_id, letter.receive_count), (&id, 1));
    assert_eq!(letter.why.as_deref(), Some("no such customer"));
    let [message] = &dead(&orders).await[..] else { panic!("expected one dead letter") };
    assert_eq!(message.body(), Some("an order"));
    assert_eq!(attribute(message, "MessageGroupId"), Some("g"));
    assert_eq!((text(message, "tenant"), text(message, "redrive.reason")), ("t-7", "no such customer"));
    assert_eq!(text(message, "redrive.receive_count"), "1");
    assert!(text(message, "redrive.source").ends_with(":orders"));
    assert!(!text(message, "redrive.function").is_empty());
}

#[tokio::test(start_paused = true)]
async fn attributes_without_room_in_the_dead_letter_are_logged() {
    let logged = Arc::<Mutex<Vec<String>>>::default();
    let lines = logged.clone();
    let _log = log::to(move |line| lines.lock().unwrap().push(line.text));
    let kit = Kit::with_seed(1);
    let orders = kit.queue("orders").max_receive_count(5).create().await.unwrap();
    let fail = |Body(_): Body| async { Err::<(), _>("disk full") };
    orders.mapping(redrive::handler(fail).effects(effects(&orders).dead_letter_at(1))).start().unwrap();
    let mut send = orders.client().send_message().queue_url(orders.url()).message_body("an order");
    for number in 0..10 {
        let own = MessageAttributeValue::builder().data_type("Number").string_value("7").build().unwrap();
        send = send.message_attributes(format!("own{number}"), own);
    }
    let id = send.send().await.unwrap().message_id.unwrap();
    kit.until_idle().await;
    assert_eq!(dead(&orders).await[0].message_attributes().unwrap().len(), 10);
    let logged = logged.lock().unwrap().join("\n");
    let line = logged.lines().find(|line| line.contains("no room")).unwrap_or_else(|| panic!("{logged}"));
    let parts = ["WARN", &id, "left_out=redrive.reason, redrive.error,", "reason=disk full", "error=disk full"];
    assert!(parts.iter().all(|part| line.contains(part)), "{line}");
    assert!(!line.contains("an order"));
}

#[tokio::test(start_paused = true)]
async fn dead_letter_that_is_moved_back_and_fails_again_arrives_again() {
    let kit = Kit::with_seed(1);
    let orders = kit.queue("orders.fifo").max_receive_count(5).create().await.unwrap();
    let place = |Body(_): Body| async { Outcome::DeadLetter("no such customer".into()) };
    orders.mapping(redrive::handler(place).effects(effects(&orders))).start().unwrap();
    orders.send_to("g", "an order").await.unwrap();
    kit.until_idle().await;
    let dead_letter_queue = orders.url().replace("orders", "orders-dlq");
    let dead_letter_queue = Queue { client: orders.client().clone(), url: dead_letter_queue };
    let arn = dead_letter_queue.attribute("QueueArn").await;
    let back = orders.url().to_owned();
    let back = Queue { client: orders.client().clone(), url: back }.attribute("QueueArn").await;
    orders.client().start_message_move_task().source_arn(arn).destination_arn(back).send().await.unwrap();
    kit.until_idle().await;
    assert_eq!(orders.deliveries().len(), 2);
    assert_eq!(orders.dead_letters().len(), 1, "SQS dropped the dead letter as a duplicate");
}

#[tokio::test(start_paused = true)]
async fn group_continues_after_a_dead_letter() {
    let kit = Kit::with_seed(1);
    let orders = kit.queue("orders.fifo").max_receive_count(5).create().await.unwrap();
    let place = |Body(order): Body| async move {
        if order == "2" { Outcome::DeadLetter("poison".into()) } else { Outcome::Done }
    };
    orders.mapping(redrive::handler(place).effects(effects(&orders))).start().unwrap();
    for order in ["1", "2", "3"] {
        orders.send_to("g", order).await.unwrap();
    }
    let began = Instant::now();
    kit.until_idle().await;
    assert_eq!(bodies(&orders.deliveries()), ["1", "2", "3"]);
    assert_eq!(began.elapsed().as_secs(), 0);
    assert_eq!(dead(&orders).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn undelivered_dead_letter_is_retried_and_stops_its_group() {
    let kit = Kit::with_seed(1);
    let orders = kit.queue("orders.fifo").max_receive_count(2).create().await.unwrap();
    let elsewhere = orders.url().replace("orders", "nowhere");
    let place = |Body(order): Body| async move {
        if order == "1" { Outcome::DeadLetter("poison".into()) } else { Outcome::Done }
    };
    let effects = effects(&orders).dead_letter_queue(elsewhere);
    orders.mapping(redrive::handler(place).effects(effects)).start().unwrap();
    for order in ["1", "2"] {
        orders.send_to("g", order).await.unwrap();
    }
    kit.until_idle().await;
    let first = &orders.deliveries()[..2];
    assert_eq!((first[0].done, first[1].done, first[1].body.as_deref()), (false, false, None), "{first:?}");
    assert_eq!(orders.dead_letters()[0].receive_count, 2, "the RedrivePolicy has to move the message");
}

#[tokio::test(start_paused = true)]
async fn poison_stays_in_a_queue_without_a_redrive_policy() {
    let kit = Kit::with_seed(1);
    let orders = kit.queue("orders").attribute("MessageRetentionPeriod", "60").create().await.unwrap();
    let place = |Body(_): Body| async { Outcome::DeadLetter("poison".into()) };
    orders.mapping(redrive::handler(place).effects(effects(&orders))).start().unwrap();
    orders.send("an order").await.unwrap();
    kit.until_idle().await;
    let deliveries = orders.deliveries();
    assert!(deliveries.len() == 2 && deliveries.iter().all(|each| !each.done), "{deliveries:?}");
}

#[tokio::test(start_paused = true)]
async fn poison_is_dead_lettered_at_the_chosen_receive_with_the_last_error() {
    let kit = Kit::with_seed(1);
    let orders = kit.queue("orders").max_receive_count(10).create().await.unwrap();
    let last_chances = Arc::new(AtomicU32::new(0));
    let place = |Json(number): Json<u32>, LastReceive(is_last): LastReceive, State(last): State<Arc<AtomicU32>>| async move {
        last.fetch_add(is_last.into(), Ordering::Relaxed);
        match number {
            0 => panic!("division by zero"),
            1 => std::future::pending::<()>().await,
            _ => {}
        }
        Err::<(), _>(anyhow::anyhow!("disk full").context(format!("cannot store {number}")))
    };
    let consumer = redrive::handler(place).effects(effects(&orders).dead_letter_at(3));
    orders.mapping(consumer.with_state(last_chances.clone())).function_timeout(secs(10)).start().unwrap();
    for body in ["0", "1", "2", "no number"] {
        orders.send(body).await.unwrap();
    }
    kit.until_idle().await;
    let mut letters = orders.dead_letters();
    letters.sort_by_key(|letter| letter.body.clone());
    let whys: Vec<_> = letters.iter().map(|letter| letter.why.as_deref().unwrap()).collect();
    assert!(whys[0].contains("division by zero"), "{whys:?}");
    assert_eq!(whys[1..3], ["cut off before the deadline", "cannot store 2: disk full"]);
    assert!(whys[3].contains("malformed"), "{whys:?}");
    assert!(letters.iter().all(|letter| letter.receive_count == 3), "{letters:?}");
    assert_eq!(last_chances.load(Ordering::Relaxed), 3, "expected one call for each message that reaches the handler");
}

#[tokio::test(start_paused = true)]
async fn failed_effect_is_retried_without_a_loss() {
    let kit = Kit::with_seed(1);
    let orders = kit.queue("orders").visibility_timeout(secs(100)).create().await.unwrap();
    let place = |ReceiveCount(count): ReceiveCount| async move {
        if count < 2 { Outcome::RetryAfter(secs(5)) } else { Outcome::Done }
    };
    orders.mapping(redrive::handler(place).effects(effects(&orders))).start().unwrap();
    orders.send("an order").await.unwrap();
    kit.set_faults(Faults::none().refused_entries(1.0));
    let began = Instant::now();
    while orders.deliveries().is_empty() {
        tokio::time::advance(Duration::from_millis(10)).await;
    }
    kit.set_faults(Faults::none());
    kit.until_idle().await;
    assert_eq!(began.elapsed().as_secs(), 100, "expected the visibility timeout");
    assert_eq!(orders.deliveries().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn effects_survive_faults() {
    let kit = Kit::with_seed(5);
    let orders = kit.queue("orders").visibility_timeout(secs(3_000)).max_receive_count(50).create().await.unwrap();
    let place = |Json(number): Json<u32>, ReceiveCount(count): ReceiveCount| async move {
        match number % 3 {
            0 if count < 3 => Outcome::RetryAfter(secs(10)),
            1 => Outcome::DeadLetter("poison".into()),
            _ => Outcome::Done,
        }
    };
    orders.mapping(redrive::handler(place).effects(effects(&orders))).function_timeout(secs(60)).start().unwrap();
    for number in 0..300 {
        orders.send_json(&number).await.unwrap();
    }
    kit.set_faults(Faults::none().throttles(0.05).lost_requests(0.02).failed_entries(0.1));
    kit.until_idle().await;
    let letters = orders.dead_letters();
    assert_eq!(letters.len(), 100);
    assert!(letters.iter().all(|letter| letter.why.as_deref() == Some("poison")));
    let retried = orders.deliveries().iter().filter(|each| !each.done).count();
    assert!(
        (200..220).contains(&retried),
        "expected two of each hundred and few that SQS refused four times: {retried}"
    );
}

#[tokio::test(start_paused = true)]
async fn delays_of_a_batch_share_calls() {
    let kit = Kit::with_seed(1);
    let orders = kit.queue("orders").create().await.unwrap();
    let place = |ReceiveCount(count): ReceiveCount| async move {
        if count < 2 { Outcome::RetryAfter(secs(5)) } else { Outcome::Done }
    };
    let calls = Calls::default();
    let effects = Effects::with_client(calls.client_of(kit.sqs()));
    orders.mapping(redrive::handler(place).effects(effects)).batch_size(100).window(secs(5)).start().unwrap();
    for number in 0..100 {
        orders.send(number.to_string()).await.unwrap();
    }
    kit.until_idle().await;
    let made = calls.counts();
    assert_eq!((made["ChangeMessageVisibilityBatch"], made["GetQueueUrl"]), (10, 1), "{made:?}");
}

#[tokio::test(start_paused = true)]
async fn outcomes_of_a_batch_handler_share_calls() {
    let kit = Kit::with_seed(1);
    let orders = kit.queue("orders").max_receive_count(9).create().await.unwrap();
    async fn store(numbers: Vec<(Json<u32>, ReceiveCount)>) -> Vec<Outcome> {
        let outcome = |&(Json(number), ReceiveCount(count)): &(Json<u32>, ReceiveCount)| match number % 3 {
            0 if count < 2 => Outcome::RetryAfter(secs(5)),
            1 => Outcome::DeadLetter("one".into()),
            _ => Outcome::Done,
        };
        numbers.iter().map(outcome).collect()
    }
    let calls = Calls::default();
    let effects = Effects::with_client(calls.client_of(kit.sqs()));
    orders.mapping(redrive::batch(store).effects(effects)).batch_size(30).window(secs(1)).start().unwrap();
    for number in 0..30 {
        orders.send_json(&number).await.unwrap();
    }
    let began = Instant::now();
    kit.until_idle().await;
    assert_eq!(began.elapsed().as_secs(), 6, "expected the delay and the window of a batch that is not full");
    assert_eq!((orders.dead_letters().len(), orders.deliveries().len()), (10, 40));
    assert_eq!(calls.counts()["ChangeMessageVisibilityBatch"], 1);
}

#[tokio::test(start_paused = true)]
async fn handlers_are_cancelled_early_enough_for_effects() {
    let kit = Kit::with_seed(1);
    let orders = kit.queue("orders").visibility_timeout(secs(600)).create().await.unwrap();
    let place = |ReceiveCount(count): ReceiveCount| async move {
        if count == 1 {
            std::future::pending::<()>().await;
        }
    };
    let backoff = Backoff::exponential(secs(20)..secs(20));
    orders
        .mapping(redrive::handler(place).effects(effects(&orders).backoff(backoff)))
        .function_timeout(secs(10))
        .start()
        .unwrap();
    orders.send("an order").await.unwrap();
    let began = Instant::now();
    kit.until_idle().await;
    assert!(began.elapsed() < secs(31), "{:?}", began.elapsed());
    assert_eq!(orders.deliveries()[0].why.as_deref(), Some("cut off before the deadline"));
    assert!(orders.problems().is_empty(), "{:?}", orders.problems());
}

#[tokio::test(start_paused = true)]
async fn delay_that_its_batch_could_not_wait_for_is_not_sent_later() {
    const TIMEOUT: Duration = secs(6);
    let kit = Kit::with_seed(1);
    let orders = kit.queue("orders").visibility_timeout(secs(600)).create().await.unwrap();
    let place = |ReceiveCount(count): ReceiveCount| async move {
        if count == 1 { Outcome::RetryAfter(secs(1_000)) } else { Outcome::Done }
    };
    let (began, attempts) = (Instant::now(), Arc::<Mutex<Vec<Duration>>>::default());
    let noted = attempts.clone();
    let slow = wire::through(orders.client(), move |call| {
        let noted = noted.clone();
        async move {
            if call.operation != "ChangeMessageVisibilityBatch" {
                return call.pass().await;
            }
            noted.lock().unwrap().push(began.elapsed());
            tokio::time::sleep(secs(4)).await;
            broken()
        }
    });
    let consumer = redrive::handler(place).effects(Effects::with_client(slow));
    orders.mapping(consumer).function_timeout(TIMEOUT).start().unwrap();
    orders.send("an order").await.unwrap();
    kit.until_idle().await;
    assert_eq!(orders.deliveries().len(), 2);
    let attempts = attempts.lock().unwrap();
    assert!(!attempts.is_empty() && attempts.iter().all(|&began| began < TIMEOUT), "{attempts:?}");
}

#[tokio::test(start_paused = true)]
async fn record_is_retried_after_effects_on_a_silent_queue() {
    let kit = Kit::with_seed(1);
    let orders = kit.queue("orders").visibility_timeout(secs(900)).max_receive_count(1).create().await.unwrap();
    let silent = redrive_local::Sqs::with_seed(1);
    silent.set_faults(Faults::none().slow_calls(1.0, secs(100_000)));
    let effects = Effects::with_client(silent.client());
    let place = || async { Outcome::DeadLetter("no use".into()) };
    let warnings = Arc::new(Mutex::new(Vec::new()));
    let heard = warnings.clone();
    let _guard = log::to(move |logged| heard.lock().unwrap().push(logged.text));
    orders.mapping(redrive::handler(place).effects(effects)).function_timeout(secs(150)).start().unwrap();
    let id = orders.send("an order").await.unwrap();
    let began = Instant::now();
    while orders.deliveries_of(&id).is_empty() {
        tokio::time::sleep(secs(1)).await;
    }
    assert!(!orders.deliveries_of(&id)[0].done, "the message is deleted, but no dead letter was sent");
    assert!(began.elapsed() <= secs(33), "{:?}", began.elapsed());
    let warnings = warnings.lock().unwrap();
    assert!(warnings.iter().any(|text| text.contains("not sent to the dead-letter queue")), "{warnings:?}");
}
