//! Tests the kit with whole templates: their settings take effect.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use redrive::{Body, Consumer, HandlerKind, Json};
use redrive_local::{Kit, Stack};
use tokio::time::Instant;

const OURS: &str = include_str!("../../../../template.yaml");

/// Two queues with dead-letter queues, and a function for each.
const TWO: &str = "
Parameters:
  Receives: {Type: Number, Default: 2}
Resources:
  Orders:
    Type: AWS::SQS::Queue
    Properties:
      QueueName: incoming
      VisibilityTimeout: 600
      RedrivePolicy: {deadLetterTargetArn: !GetAtt DeadOrders.Arn, maxReceiveCount: !Ref Receives}
  DeadOrders: {Type: AWS::SQS::Queue}
  Bills:
    Type: AWS::SQS::Queue
    Properties: {QueueName: bills.fifo, FifoQueue: true}
  Place: {Type: AWS::Lambda::Function, Properties: {Timeout: 60}}
  Pay: {Type: AWS::Lambda::Function}
  Unmapped: {Type: AWS::Lambda::Function}
  Placing:
    Type: AWS::Lambda::EventSourceMapping
    Properties:
      EventSourceArn: !GetAtt Orders.Arn
      FunctionName: !Ref Place
      BatchSize: 100
      MaximumBatchingWindowInSeconds: 30
      FunctionResponseTypes: [ReportBatchItemFailures]
      FilterCriteria: {Filters: [{Pattern: '{\"body\": {\"kind\": [\"order\"]}}'}]}
  Paying:
    Type: AWS::Lambda::EventSourceMapping
    Properties: {EventSourceArn: !GetAtt Bills.Arn, FunctionName: !Ref Pay}
";

async fn done() {}

async fn fail() -> Result<(), String> {
    Err("no".into())
}

async fn deployed<K: HandlerKind + Sync>(kit: &Kit, place: Consumer<K>) -> Stack {
    let template = kit.template_text(TWO).function("Place", place).function("Pay", redrive::handler(done));
    template.deploy().await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn template_of_this_repository_dead_letters_poison_after_five_receives() {
    let kit = Kit::with_seed(1);
    let place = |Json(order): Json<u32>| async move { if order == 13 { Err("out of stock") } else { Ok(()) } };
    let stack = kit.template("../../template.yaml").function("Orders", redrive::handler(place)).deploy().await.unwrap();
    let orders = stack.queue("OrdersQueue").unwrap();
    let good = orders.send_json(&7).await.unwrap();
    let poison = orders.send_json(&13).await.unwrap();
    let began = Instant::now();
    kit.until_idle().await;
    assert_eq!((orders.deliveries_of(&good).len(), orders.deliveries_of(&poison).len()), (1, 5));
    assert_eq!(began.elapsed().as_secs(), 5 * 240, "expected five of the template's visibility timeouts");
    let [dead] = &orders.dead_letters()[..] else { panic!("expected one dead letter") };
    assert_eq!((&dead.message_id, dead.why.as_deref()), (&poison, Some("out of stock")));
    assert!(stack.queue("local-orders-dead-letter").is_ok(), "the queue is not found by its name");
}

#[tokio::test(start_paused = true)]
async fn parameter_replaces_its_default() {
    let kit = Kit::with_seed(1);
    let template = kit.template_text(TWO).parameter("Receives", "7");
    let template = template.function("Place", redrive::handler(fail)).function("Pay", redrive::handler(done));
    let orders = template.deploy().await.unwrap().queue("Orders").unwrap();
    let poison = orders.send(r#"{"kind": "order"}"#).await.unwrap();
    kit.until_idle().await;
    assert_eq!(orders.deliveries_of(&poison).len(), 7);
}

#[tokio::test(start_paused = true)]
async fn batch_size_window_and_filter_come_from_the_template() {
    let kit = Kit::with_seed(1);
    let batches = Arc::new(AtomicUsize::new(0));
    let count = batches.clone();
    let place = redrive::batch(move |orders: Vec<Body>| {
        count.fetch_add(1, Ordering::Relaxed);
        async move { orders.iter().map(|_| Ok::<(), String>(())).collect::<Vec<_>>() }
    });
    let place = place.chunk_size(100);
    let stack = deployed(&kit, place).await;
    let orders = stack.queue("Orders").unwrap();
    let began = Instant::now();
    for _ in 0..20 {
        orders.send(r#"{"kind": "order"}"#).await.unwrap();
        orders.send(r#"{"kind": "offer"}"#).await.unwrap();
    }
    kit.until_idle().await;
    assert_eq!(orders.deliveries().len(), 20, "a message that matches no filter was delivered");
    assert_eq!(batches.load(Ordering::Relaxed), 1, "20 messages within the window are less than the batch size");
    assert_eq!(began.elapsed(), Duration::from_secs(30));
}

#[tokio::test(start_paused = true)]
async fn mapping_reports_failures_only_when_the_template_says_so() {
    let kit = Kit::with_seed(1);
    let functions = kit.template_text(TWO).function("Place", redrive::handler(fail));
    let stack = functions.function("Pay", redrive::handler(fail)).deploy().await.unwrap();
    let (orders, bills) = (stack.queue("Orders").unwrap(), stack.queue("bills.fifo").unwrap());
    orders.send(r#"{"kind": "order"}"#).await.unwrap();
    bills.send("a bill").await.unwrap();
    kit.until_idle().await;
    assert_eq!((orders.deliveries().len(), orders.dead_letters().len()), (2, 1));
    assert!(bills.deliveries()[0].done, "the answer was not ignored");
    assert!(bills.problems()[0].contains("ReportBatchItemFailures"), "{:?}", bills.problems());
}

#[tokio::test(start_paused = true)]
async fn function_timeout_comes_from_the_template() {
    let kit = Kit::with_seed(1);
    let slow = || async { tokio::time::sleep(Duration::from_secs(100)).await };
    let orders = deployed(&kit, redrive::handler(slow)).await.queue("Orders").unwrap();
    orders.send(r#"{"kind": "order"}"#).await.unwrap();
    let began = Instant::now();
    while orders.deliveries().is_empty() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let took = began.elapsed().as_secs();
    assert!((89..=90).contains(&took), "expected a window of 30 s and a timeout of 60 s: {took} s");
    assert!(!orders.deliveries()[0].done);
}

#[tokio::test(start_paused = true)]
async fn mapping_reads_from_its_queue_when_another_queue_has_the_name_as_its_id() {
    let kit = Kit::with_seed(1);
    let stack = kit.template_text(TWO.replace("QueueName: incoming", "QueueName: DeadOrders").replace(
        "DeadOrders: {Type: AWS::SQS::Queue}",
        "DeadOrders: {Type: AWS::SQS::Queue, Properties: {QueueName: Orders}}",
    ));
    let stack = stack.function("Place", redrive::handler(fail)).function("Pay", redrive::handler(done));
    let stack = stack.deploy().await.unwrap();
    let orders = stack.queue("Orders").unwrap();
    let id = orders.send(r#"{"kind": "order"}"#).await.unwrap();
    kit.until_idle().await;
    assert_eq!((orders.deliveries_of(&id).len(), orders.dead_letters().len()), (2, 1));
}

/// Returns the error of a template's deployment with handlers for these functions.
async fn refused(template: &str, functions: &[&str]) -> String {
    let kit = Kit::with_seed(1);
    let mut template = kit.template_text(template);
    for &function in functions {
        template = template.function(function, redrive::handler(done));
    }
    let error = template.deploy().await.unwrap_err();
    error.to_string()
}

/// Returns the line of a text, as errors contain it.
fn line_of(text: &str) -> String {
    let line = TWO.lines().position(|line| line.contains(text)).unwrap() + 1;
    format!("template:{line}:")
}

#[tokio::test(start_paused = true)]
async fn mismatch_is_one_error_with_its_line() {
    let error = refused(TWO, &["Place"]).await;
    assert!(error.starts_with(&line_of("  Pay:")) && error.contains("`Pay` has no handler"), "{error}");
    let error = refused(TWO, &["Place", "Pay", "Unmapped"]).await;
    assert!(error.starts_with(&line_of("  Unmapped:")) && error.contains("no enabled mapping"), "{error}");
    let error = refused(TWO, &["Place", "Pay", "Plaice"]).await;
    assert_eq!(error, "template: there is no function `Plaice`; the template has `Place`, `Pay`, `Unmapped`");
    let error = refused("Resources: [", &[]).await;
    assert!(error.starts_with("template:2:1:"), "{error}");
    let error = refused(&TWO.replace("{Timeout: 60}", "{Timeout: 700}"), &["Place", "Pay"]).await;
    assert!(error.starts_with(&line_of("  Placing:")) && error.contains("VisibilityTimeout"), "{error}");
    let error = refused(&TWO.replace("maxReceiveCount: !Ref Receives", "maxReceiveCount: 0"), &["Place", "Pay"]).await;
    assert!(error.contains("RedrivePolicy of incoming"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn function_in_another_language_is_left_out_and_its_queue_keeps_its_messages() {
    for python in ["Runtime: python3.13", "PackageType: Image", "Code: {ZipFile: x}"] {
        let text = TWO.replace(
            "Pay: {Type: AWS::Lambda::Function}",
            &format!("Pay: {{Type: AWS::Lambda::Function, Properties: {{{python}}}}}"),
        );
        let kit = Kit::with_seed(1);
        let stack = kit.template_text(&text).function("Place", redrive::handler(done)).deploy().await.unwrap();
        let (orders, bills) = (stack.queue("Orders").unwrap(), stack.queue("Bills").unwrap());
        bills.send("a bill").await.unwrap();
        orders.send(r#"{"kind": "order"}"#).await.unwrap();
        kit.until_idle().await;
        assert_eq!((orders.deliveries().len(), bills.deliveries().len()), (1, 0));
        let received = bills.client().receive_message().queue_url(bills.url()).send().await.unwrap();
        assert_eq!(received.messages().len(), 1, "the message is missing");
        let error = refused(&text, &["Place", "Pay"]).await;
        assert!(error.contains("`Pay` has a handler, but it is not a Rust program"), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn concurrent_invocations_are_limited_to_the_reserved_concurrency() {
    let text = TWO.replace("Properties: {Timeout: 60}", "Properties: {Timeout: 60, ReservedConcurrentExecutions: 1}");
    let text =
        text.replace("BatchSize: 100", "BatchSize: 1").replace("MaximumBatchingWindowInSeconds: 30", "Enabled: true");
    let kit = Kit::with_seed(1);
    let slow = || async { tokio::time::sleep(Duration::from_secs(50)).await };
    let functions = kit.template_text(text).function("Place", redrive::handler(slow));
    let stack = functions.function("Pay", redrive::handler(done)).deploy().await.unwrap();
    let orders = stack.queue("Orders").unwrap();
    for _ in 0..30 {
        orders.send(r#"{"kind": "order"}"#).await.unwrap();
    }
    let began = Instant::now();
    kit.until_idle().await;
    // The runs take longer than the visibility timeout of 600 s, and a message has at most two receives.
    assert_eq!((orders.deliveries().len(), orders.dead_letters().len()), (30, 0));
    assert_eq!(began.elapsed().as_secs(), 30 * 50);
}

#[tokio::test(start_paused = true)]
async fn value_that_only_an_account_knows_is_an_error_when_it_is_needed() {
    let imported = TWO.replace("EventSourceArn: !GetAtt Orders.Arn", "EventSourceArn: !ImportValue Theirs");
    let error = refused(&imported, &["Place", "Pay"]).await;
    assert!(error.starts_with(&line_of("EventSourceArn: !GetAtt Orders.Arn")), "{error}");
    assert!(
        error.contains("`Fn::ImportValue`") && error.contains("replace it by a parameter with a default"),
        "{error}"
    );
    let broken = TWO.replace("VisibilityTimeout: 600", "VisibilityTimeout: !ImportValue T");
    let error = refused(&broken, &["Place", "Pay"]).await;
    assert!(error.starts_with(&line_of("VisibilityTimeout: 600")) && error.contains("`Fn::ImportValue`"), "{error}");
    let error = refused(&TWO.replace(", Default: 2}", "}"), &["Place", "Pay"]).await;
    assert!(error.starts_with("template:") && error.contains(r#"`.parameter("Receives", ..)`"#), "{error}");
    let broken = TWO.replace("VisibilityTimeout: 600", "VisibilityTimeout: !Reff Time");
    let error = refused(&broken, &["Place", "Pay"]).await;
    assert!(error.starts_with(&line_of("VisibilityTimeout: 600")) && error.contains("Reff"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn unknown_name_is_an_error_that_lists_the_known_ones() {
    let kit = Kit::with_seed(1);
    let error = deployed(&kit, redrive::handler(done)).await.queue("Order").unwrap_err().to_string();
    assert_eq!(error, "template: there is no queue `Order`; the template has `Orders`, `DeadOrders`, `Bills`");
    let error = kit.template("nowhere.yaml").deploy().await.unwrap_err().to_string();
    assert!(error.starts_with("cannot read nowhere.yaml: ") && error.contains("the package's root"), "{error}");
    let arn = "arn:aws:sqs:us-east-1:111122223333:theirs";
    let theirs = kit.template_text(OURS).parameter("ExistingQueueArn", arn).function("Orders", redrive::handler(done));
    let error = theirs.deploy().await.unwrap_err().to_string();
    assert!(error.contains(arn) && error.contains("does not make"), "{error}");
}
