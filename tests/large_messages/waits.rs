//! Messages fail with a clear error when S3 goes silent. Every wait has a limit.

use std::time::Duration;

use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{ConfigBag, RuntimeComponents};
use aws_smithy_runtime_api::client::identity::{IdentityFuture, ResolveCachedIdentity, SharedIdentityResolver};
use redrive::{Body, LargeMessages, Outgoing};
use redrive_local::Kit;
use tokio::time::Instant;

use crate::fake_s3::{Delivery, FakeS3};
use crate::kit::{Queue, timed};
use crate::receiving::{POINTER, queue, send, why};
use crate::{MIB, through};

/// Returns the error of a message's only delivery, and when it failed.
async fn failure(seed: u64, large_messages: LargeMessages) -> (String, Duration) {
    let kit = Kit::with_seed(seed);
    let orders =
        kit.queue("orders").max_receive_count(1).visibility_timeout(Duration::from_secs(900)).create().await.unwrap();
    let consumer = redrive::handler(async |Body(_): Body| {}).large_messages(large_messages);
    orders.mapping(consumer).function_timeout(Duration::from_secs(600)).start().unwrap();
    let id = send(&orders, POINTER, "ExtendedPayloadSize").await;
    let began = Instant::now();
    while orders.deliveries_of(&id).is_empty() {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    (why(&orders, &id), began.elapsed())
}

#[tokio::test(start_paused = true)]
async fn silent_s3_fails_an_attempt_after_ten_seconds() {
    let s3 = FakeS3::default();
    s3.be_silent();
    let (why, after) = failure(1, through(&s3)).await;
    assert!(why.contains("s3:GetObject s3://payloads/k") && why.contains("timeout"), "{why}");
    assert!(after >= Duration::from_secs(10) && after < Duration::from_secs(13), "{after:?}");
}

#[tokio::test(start_paused = true)]
async fn stalled_body_fails_after_ten_seconds_without_a_byte() {
    let s3 = FakeS3::default();
    s3.put_long("/payloads/k", MIB);
    s3.deliver(Delivery::StallsAfter(1_000));
    let (why, after) = failure(2, through(&s3)).await;
    assert!(why.contains("stalled: no byte arrived for 10s"), "{why}");
    assert!(after >= Duration::from_secs(10) && after < Duration::from_secs(12), "{after:?}");
}

#[tokio::test(start_paused = true)]
async fn trickling_body_fails_after_a_time_that_grows_with_its_size() {
    let s3 = FakeS3::default();
    s3.put_long("/payloads/k", 10 * MIB);
    s3.deliver(Delivery::Slowly(1, Duration::from_secs(5)));
    let (why, after) = failure(3, through(&s3)).await;
    assert!(why.contains("did not arrive within 30s"), "{why}");
    assert!(after >= Duration::from_secs(30) && after < Duration::from_secs(33), "{after:?}");
}

#[tokio::test(start_paused = true)]
async fn slow_body_that_progresses_arrives() {
    let (kit, s3) = (Kit::with_seed(4), FakeS3::default());
    s3.put_long("/payloads/k", 10 * MIB);
    s3.deliver(Delivery::Slowly(65_536, Duration::from_millis(100)));
    let orders = queue(&kit).await;
    let consumer =
        redrive::handler(async |Body(body): Body| assert_eq!(body.len(), 10 * MIB)).large_messages(through(&s3));
    orders.mapping(consumer).function_timeout(Duration::from_secs(30)).start().unwrap();
    let (id, took) = timed(async {
        let id = send(&orders, POINTER, "ExtendedPayloadSize").await;
        kit.until_idle().await;
        id
    })
    .await;
    assert!(orders.deliveries_of(&id)[0].done && took > Duration::from_secs(15), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn body_on_its_way_to_a_silent_s3_fails_its_message_as_retryable() {
    let (sqs, s3) = (Queue::new("orders", 5).await, FakeS3::default());
    s3.be_silent();
    let producer = sqs.builder().large_messages(through(&s3)).build();
    let (error, took) = timed(producer.send(Outgoing::text("x".repeat(10 * MIB)))).await;
    let error = error.unwrap_err();
    assert!(error.is_retryable() && error.to_string().contains("s3:PutObject"), "{error}");
    assert!(took >= Duration::from_secs(30) && took < Duration::from_secs(33), "{took:?}");
    assert_eq!(sqs.calls.total(), 0);
}

#[tokio::test(start_paused = true)]
async fn attempt_timeout_of_the_client_applies_to_reads_and_writes() {
    let s3 = FakeS3::default();
    s3.be_silent();
    // This equals the limit of an answer. It applies to a sent body too, whose own limit would be longer.
    let own = Duration::from_secs(10);
    let timeouts = TimeoutConfig::builder().operation_attempt_timeout(own).build();
    let config = s3.client().config().to_builder().timeout_config(timeouts).build();
    let large_messages = LargeMessages::with_client(&aws_sdk_s3::Client::from_conf(config), "payloads");
    let (_, received_after) = failure(7, large_messages.clone()).await;
    let (sent, sent_after) = timed(large_messages.offload(Outgoing::text("x".repeat(10 * MIB)))).await;
    assert!(sent.is_err() && sent_after == own, "{sent_after:?}");
    assert!(received_after < Duration::from_secs(13), "{received_after:?}");
}

#[tokio::test(start_paused = true)]
async fn missing_credentials_are_awaited_as_long_as_an_answer() {
    #[derive(Debug)]
    struct Silent;

    impl ResolveCachedIdentity for Silent {
        fn resolve_cached_identity<'a>(
            &'a self,
            _: SharedIdentityResolver,
            _: &'a RuntimeComponents,
            _: &'a ConfigBag,
        ) -> IdentityFuture<'a> {
            IdentityFuture::new(std::future::pending())
        }
    }

    let s3 = FakeS3::default();
    let config = s3.client().config().to_builder().identity_cache(Silent);
    let large_messages = LargeMessages::with_client(&aws_sdk_s3::Client::from_conf(config.build()), "payloads");
    let (why, after) = failure(6, large_messages).await;
    assert!(why.contains("s3:GetObject") && why.contains("timeout"), "{why}");
    assert!(after < Duration::from_secs(13), "{after:?}");
}
