//! Tests the calls that create, find and delete queues.

use std::collections::HashMap;

use aws_sdk_sqs::error::ProvideErrorMetadata;
use aws_sdk_sqs::types::QueueAttributeName as Name;

use crate::kit::{Queue, client, code, pass, secs};

#[tokio::test(start_paused = true)]
async fn queue_is_found_by_its_name() {
    let client = client();
    let queue = Queue::new(&client, "orders", &[]).await;
    assert!(queue.url.ends_with("/000000000000/orders"), "{}", queue.url);
    let found = client.get_queue_url().queue_name("orders").send().await.unwrap();
    assert_eq!(found.queue_url(), Some(queue.url.as_str()));
    let missing = client.get_queue_url().queue_name("none").send().await.unwrap_err();
    assert_eq!(code(&missing), "AWS.SimpleQueueService.NonExistentQueue");
    assert!(missing.into_service_error().is_queue_does_not_exist());
    let missing = client.receive_message().queue_url("http://x/000000000000/none").send().await.unwrap_err();
    assert!(missing.into_service_error().is_queue_does_not_exist());
}

#[tokio::test(start_paused = true)]
async fn existing_queue_can_be_created_again_only_with_the_same_attributes() {
    let client = client();
    let queue = Queue::new(&client, "orders", &[("DelaySeconds", "5")]).await;
    for same in [&[][..], &[("DelaySeconds", "5")]] {
        assert_eq!(Queue::new(&client, "orders", same).await.url, queue.url);
    }
    let other = client.create_queue().queue_name("orders").attributes(Name::VisibilityTimeout, "30");
    let other = other.attributes(Name::DelaySeconds, "6").send().await.unwrap_err();
    assert_eq!(code(&other), "QueueAlreadyExists");
    let text = "A queue already exists with the same name and a different value for attribute DelaySeconds";
    assert_eq!(other.message(), Some(text));
}

#[tokio::test(start_paused = true)]
async fn invalid_names_are_refused() {
    let client = client();
    for name in ["a b", "ü", &"x".repeat(81), "a.b", "x.fifo"] {
        let error = client.create_queue().queue_name(name).send().await.unwrap_err();
        assert_eq!(code(&error), "InvalidParameterValue", "{name}");
        let text = "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length";
        assert!(error.message().unwrap().ends_with(text), "{error:?}");
    }
    for name in ["orders", ".fifo", "a b.fifo", &format!("{}.fifo", "x".repeat(76))] {
        let error =
            client.create_queue().queue_name(name).attributes(Name::FifoQueue, "true").send().await.unwrap_err();
        assert_eq!(code(&error), "InvalidParameterValue", "{name}");
        let text = "The name of a FIFO queue can only include alphanumeric characters, hyphens, or underscores, must \
                    end with .fifo suffix and be 1 to 80 in length.";
        assert!(error.message().unwrap().ends_with(text), "{error:?}");
    }
    Queue::new(&client, &format!("{}.fifo", "x".repeat(75)), &[]).await;
    Queue::new(&client, &"x".repeat(80), &[]).await;
}

#[tokio::test(start_paused = true)]
async fn fifo_queue_is_created_by_a_boolean_in_any_case() {
    let client = client();
    for (number, value) in ["true", "True", "TRUE"].into_iter().enumerate() {
        let create = client.create_queue().queue_name(format!("orders{number}.fifo"));
        let create = create.attributes(Name::FifoQueue, value).attributes(Name::ContentBasedDeduplication, value);
        let queue = Queue { url: create.send().await.unwrap().queue_url.unwrap(), client: client.clone() };
        assert_eq!(queue.attribute("FifoQueue").await, "true");
        assert_eq!(queue.attribute("ContentBasedDeduplication").await, "true");
        queue.send_to("a", "hello").await;
    }
    let again = client.create_queue().queue_name("orders0.fifo").attributes(Name::FifoQueue, "TRUE");
    again.attributes(Name::ContentBasedDeduplication, "True").send().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn queues_are_listed_in_pages() {
    let client = client();
    for name in ["b2", "a", "b1", "b3"] {
        Queue::new(&client, name, &[]).await;
    }
    let list = || client.list_queues().queue_name_prefix("b");
    let names = |urls: &[String]| urls.iter().map(|url| url[url.len() - 2..].to_owned()).collect::<Vec<_>>();
    let all = list().send().await.unwrap();
    assert_eq!((names(all.queue_urls()), all.next_token()), (vec!["b1".into(), "b2".into(), "b3".into()], None));
    let first = list().max_results(2).send().await.unwrap();
    assert_eq!(names(first.queue_urls()), ["b1", "b2"]);
    let second = list().max_results(2).next_token(first.next_token().unwrap()).send().await.unwrap();
    assert_eq!((names(second.queue_urls()), second.next_token()), (vec!["b3".into()], None));
    assert_eq!(code(&list().max_results(1_001).send().await.unwrap_err()), "InvalidParameterValue");
}

#[tokio::test(start_paused = true)]
async fn name_of_a_deleted_queue_is_free_after_a_minute() {
    let queue = Queue::standard().await;
    queue.send("hello").await;
    let waiting = tokio::spawn({
        let receive = queue.client.receive_message().queue_url(&queue.url).wait_time_seconds(20);
        queue.receive().await;
        async move { receive.send().await.unwrap_err().into_service_error().is_queue_does_not_exist() }
    });
    tokio::task::yield_now().await;
    queue.client.delete_queue().queue_url(&queue.url).send().await.unwrap();
    assert!(waiting.await.unwrap());
    let again = || queue.client.create_queue().queue_name("orders").send();
    pass(secs(59)).await;
    assert_eq!(code(&again().await.unwrap_err()), "AWS.SimpleQueueService.QueueDeletedRecently");
    pass(secs(1)).await;
    again().await.unwrap();
    assert_eq!(queue.counts().await, ["0", "0", "0"]);
}

#[tokio::test(start_paused = true)]
async fn purge_deletes_all_messages_and_is_allowed_once_a_minute() {
    let queue = Queue::standard().await;
    queue.send("in flight").await;
    let message = queue.receive().await.remove(0);
    queue.send("visible").await;
    let purge = || queue.client.purge_queue().queue_url(&queue.url).send();
    purge().await.unwrap();
    assert_eq!(queue.counts().await, ["0", "0", "0"]);
    queue.send("after").await;
    queue.delete(&message).await;
    assert_eq!(queue.bodies().await, ["after"]);
    assert_eq!(code(&purge().await.unwrap_err()), "AWS.SimpleQueueService.PurgeQueueInProgress");
    pass(secs(60)).await;
    purge().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn tags_are_stored_and_returned() {
    let queue = Queue::standard().await;
    let tags =
        async || queue.client.list_queue_tags().queue_url(&queue.url).send().await.unwrap().tags.unwrap_or_default();
    queue.client.tag_queue().queue_url(&queue.url).tags("team", "a").tags("stage", "dev").send().await.unwrap();
    queue.client.tag_queue().queue_url(&queue.url).tags("team", "b").send().await.unwrap();
    assert_eq!(tags().await, HashMap::from([("team", "b"), ("stage", "dev")].map(|(k, v)| (k.into(), v.into()))));
    queue.client.untag_queue().queue_url(&queue.url).tag_keys("stage").send().await.unwrap();
    assert_eq!(tags().await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn permissions_are_shown_as_a_policy() {
    let queue = Queue::standard().await;
    let add = || {
        let add = queue.client.add_permission().queue_url(&queue.url).label("others").aws_account_ids("111122223333");
        add.actions("SendMessage").send()
    };
    add().await.unwrap();
    let policy = queue.attribute("Policy").await;
    assert!(policy.contains("arn:aws:iam::111122223333:root") && policy.contains("SQS:SendMessage"), "{policy}");
    assert_eq!(code(&add().await.unwrap_err()), "InvalidParameterValue");
    let remove = || queue.client.remove_permission().queue_url(&queue.url).label("others").send();
    remove().await.unwrap();
    assert_eq!(queue.attribute("Policy").await, "");
    let unknown = remove().await.unwrap_err();
    assert_eq!(code(&unknown), "InvalidParameterValue");
    assert_eq!(unknown.message(), Some("Value others for parameter Label is invalid. Reason: can't find label."));
}

#[tokio::test(start_paused = true)]
async fn single_principal_and_action_are_texts_and_several_are_lists() {
    let queue = Queue::standard().await;
    let add = |label: &str| queue.client.add_permission().queue_url(&queue.url).label(label);
    add("one").aws_account_ids("111122223333").actions("SendMessage").send().await.unwrap();
    let several = add("several").aws_account_ids("111122223333").aws_account_ids("444455556666");
    several.actions("SendMessage").actions("ReceiveMessage").send().await.unwrap();
    let policy: serde_json::Value = serde_json::from_str(&queue.attribute("Policy").await).unwrap();
    let shown = |index: usize| (&policy["Statement"][index]["Principal"]["AWS"], &policy["Statement"][index]["Action"]);
    assert_eq!(shown(0), (&"arn:aws:iam::111122223333:root".into(), &"SQS:SendMessage".into()));
    assert_eq!(*shown(1).1, serde_json::json!(["SQS:SendMessage", "SQS:ReceiveMessage"]));
    let unknown = add("x").aws_account_ids("111122223333").actions("Fly").send().await.unwrap_err();
    assert!(
        unknown.message().unwrap().starts_with("Value SQS:Fly for parameter ActionName is invalid."),
        "{unknown:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn queue_name_is_accepted_as_a_url() {
    let queue = Queue::standard().await;
    let send = queue.client.send_message().queue_url("orders").message_body("hello");
    send.send().await.unwrap();
    assert_eq!(queue.bodies().await, ["hello"]);
    let missing = queue.client.receive_message().queue_url("none").send().await.unwrap_err();
    assert!(missing.into_service_error().is_queue_does_not_exist());
}

#[tokio::test(start_paused = true)]
async fn fifo_attributes_are_refused_on_a_standard_queue() {
    let client = client();
    let queue = Queue::new(&client, "orders", &[]).await;
    for (name, value) in
        [(Name::FifoQueue, "false"), (Name::FifoQueue, "true"), (Name::ContentBasedDeduplication, "true")]
    {
        let set = client.set_queue_attributes().queue_url(&queue.url).attributes(name.clone(), value);
        let error = set.send().await.unwrap_err();
        assert_eq!(code(&error), "InvalidAttributeName", "{name} {value}");
        assert_eq!(error.message(), Some(format!("Unknown Attribute {name}.").as_str()));
    }
    let create = client.create_queue().queue_name("other").attributes(Name::FifoQueue, "false").send().await;
    assert_eq!(code(&create.unwrap_err()), "InvalidAttributeName");
}

#[tokio::test(start_paused = true)]
async fn purge_forgets_deduplication_ids() {
    let queue = Queue::fifo().await;
    let first = queue.send_to("a", "hello").await;
    queue.client.purge_queue().queue_url(&queue.url).send().await.unwrap();
    assert_ne!(queue.send_to("a", "hello").await, first);
    assert_eq!(queue.bodies().await, ["hello"]);
}

#[tokio::test(start_paused = true)]
async fn tag_keys_have_1_to_128_characters() {
    let queue = Queue::standard().await;
    for key in ["", &"ü".repeat(129)] {
        let error = queue.client.tag_queue().queue_url(&queue.url).tags(key, "x").send().await.unwrap_err();
        assert_eq!(error.message(), Some("Tag keys must be between 1 and 128 characters in length."));
    }
    queue.client.tag_queue().queue_url(&queue.url).tags("ü".repeat(128), "x").send().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn permission_is_added_to_an_existing_policy() {
    let queue = Queue::standard().await;
    let own = r#"{"Action":"sqs:*","Effect":"Deny","Principal":"*","Resource":"*","Sid":"own"}"#;
    let of_orders = || queue.client.remove_permission().queue_url(&queue.url);
    // A policy with one statement may omit the list.
    for statement in [own.to_owned(), format!("[{own}]")] {
        queue.set("Policy", &format!(r#"{{"Version":"2012-10-17","Statement":{statement}}}"#)).await;
        let add = queue.client.add_permission().queue_url(&queue.url).label("others");
        add.aws_account_ids("111122223333").actions("*").send().await.unwrap();
        let policy = queue.attribute("Policy").await;
        assert!(policy.contains(own) && policy.contains("2012-10-17") && policy.contains("others"), "{policy}");
        of_orders().label("own").send().await.unwrap();
        let policy = queue.attribute("Policy").await;
        assert!(!policy.contains("own") && policy.contains("others"), "{policy}");
        queue.set("Policy", "").await;
        assert_eq!(queue.attribute("Policy").await, "");
        assert_eq!(code(&of_orders().label("others").send().await.unwrap_err()), "InvalidParameterValue");
    }
}

#[tokio::test(start_paused = true)]
async fn policy_has_to_be_json() {
    let queue = Queue::standard().await;
    for bad in ["{", "[]", "5"] {
        let set = queue.client.set_queue_attributes().queue_url(&queue.url).attributes("Policy".into(), bad).send();
        assert_eq!(code(&set.await.unwrap_err()), "InvalidAttributeValue", "{bad}");
    }
}

#[tokio::test(start_paused = true)]
async fn label_with_other_characters_than_a_queue_name_or_over_80_is_refused() {
    let queue = Queue::standard().await;
    for bad in ["a b", "a.b", &"a".repeat(81)] {
        let add = queue.client.add_permission().queue_url(&queue.url).label(bad).aws_account_ids("111122223333");
        assert_eq!(code(&add.actions("*").send().await.unwrap_err()), "InvalidParameterValue", "{bad}");
    }
}
