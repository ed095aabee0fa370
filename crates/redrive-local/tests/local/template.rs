//! The test kit with a whole template: what runs is what the template says.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use redrive::{Body, Consumer, Json, Kind};
use redrive_local::{Kit, Stack};
use tokio::time::Instant;

const OURS: &str = include_str!("../../../../template.yaml");

/// Two queues, each with a dead-letter queue of its own, and a function for each.
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

async fn deployed<K: Kind + Sync>(kit: &Kit, place: Consumer<K>) -> Stack {
    let template = kit.template_text(TWO).function("Place", place).function("Pay", redrive::handler(done));
    template.deploy().await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn our_own_template_dead_letters_poison_as_it_says() {
    let kit = Kit::with_seed(1);
    let place = |Json(order): Json<u32>| async move { if order == 13 { Err("out of stock") } else { Ok(()) } };
    let stack = kit.template("../../template.yaml").function("Orders", redrive::handler(place)).deploy().await.unwrap();
    let orders = stack.queue("OrdersQueue").unwrap();
    let good = orders.send_json(&7).await.unwrap();
    let poison = orders.send_json(&13).await.unwrap();
    let began = Instant::now();
    kit.until_idle().await;
    assert_eq!((orders.deliveries_of(&good).len(), orders.deliveries_of(&poison).len()), (1, 5));
    assert_eq!(began.elapsed().as_secs(), 5 * 240, "five of the template's visibility timeouts");
    let [dead] = &orders.dead_letters()[..] else { panic!("one is dead") };
    assert_eq!((&dead.message_id, dead.why.as_deref()), (&poison, Some("out of stock")));
    assert!(stack.queue("local-orders-dead-letter").is_ok(), "a queue is known by its name too");
}

#[tokio::test(start_paused = true)]
async fn a_parameter_goes_before_its_default() {
    let kit = Kit::with_seed(1);
    let template = kit.template_text(TWO).parameter("Receives", "7");
    let template = template.function("Place", redrive::handler(fail)).function("Pay", redrive::handler(done));
    let orders = template.deploy().await.unwrap().queue("Orders").unwrap();
    let poison = orders.send(r#"{"kind": "order"}"#).await.unwrap();
    kit.until_idle().await;
    assert_eq!(orders.deliveries_of(&poison).len(), 7);
}

#[tokio::test(start_paused = true)]
async fn batch_size_window_and_filter_are_the_templates() {
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
    assert_eq!(orders.deliveries().len(), 20, "what the filter leaves out is never delivered");
    assert_eq!(batches.load(Ordering::Relaxed), 1, "20 are less than the batch size, and come within the window");
    assert_eq!(began.elapsed(), Duration::from_secs(30));
}

#[tokio::test(start_paused = true)]
async fn a_mapping_reports_failures_only_where_the_template_says_so() {
    let kit = Kit::with_seed(1);
    let functions = kit.template_text(TWO).function("Place", redrive::handler(fail));
    let stack = functions.function("Pay", redrive::handler(fail)).deploy().await.unwrap();
    let (orders, bills) = (stack.queue("Orders").unwrap(), stack.queue("bills.fifo").unwrap());
    orders.send(r#"{"kind": "order"}"#).await.unwrap();
    bills.send("a bill").await.unwrap();
    kit.until_idle().await;
    assert_eq!((orders.deliveries().len(), orders.dead_letters().len()), (2, 1));
    assert!(bills.deliveries()[0].done, "the answer is ignored, and the message lost");
    assert!(bills.problems()[0].contains("ReportBatchItemFailures"), "{:?}", bills.problems());
}

#[tokio::test(start_paused = true)]
async fn the_functions_timeout_is_the_templates() {
    let kit = Kit::with_seed(1);
    let slow = || async { tokio::time::sleep(Duration::from_secs(100)).await };
    let orders = deployed(&kit, redrive::handler(slow)).await.queue("Orders").unwrap();
    orders.send(r#"{"kind": "order"}"#).await.unwrap();
    let began = Instant::now();
    while orders.deliveries().is_empty() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let took = began.elapsed().as_secs();
    assert!((89..=90).contains(&took), "the window's 30 s and the timeout's 60 s: {took} s");
    assert!(!orders.deliveries()[0].done);
}

#[tokio::test(start_paused = true)]
async fn a_mapping_reads_from_its_queue_though_the_id_of_another_is_its_name() {
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

/// What the deployment of a template is refused with, given handlers for these functions.
async fn refused(template: &str, functions: &[&str]) -> String {
    let kit = Kit::with_seed(1);
    let mut template = kit.template_text(template);
    for &function in functions {
        template = template.function(function, redrive::handler(done));
    }
    let error = template.deploy().await.unwrap_err();
    error.to_string()
}

/// The line of a text, as errors have it.
fn line_of(text: &str) -> String {
    let line = TWO.lines().position(|line| line.contains(text)).unwrap() + 1;
    format!("template:{line}:")
}

#[tokio::test(start_paused = true)]
async fn what_does_not_fit_is_one_error_with_its_line() {
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
async fn a_function_in_another_language_is_left_out_and_its_queue_keeps_its_messages() {
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
        assert_eq!(received.messages().len(), 1, "it is there still");
        let error = refused(&text, &["Place", "Pay"]).await;
        assert!(error.contains("`Pay` has a handler, but it is not a Rust program"), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_function_has_as_many_invocations_at_a_time_as_are_reserved() {
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
    // Longer than the visibility timeout of 600 s, and with two receives at most.
    assert_eq!((orders.deliveries().len(), orders.dead_letters().len()), (30, 0));
    assert_eq!(began.elapsed().as_secs(), 30 * 50);
}

#[tokio::test(start_paused = true)]
async fn what_only_an_account_knows_is_an_error_where_it_is_needed() {
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
async fn a_name_that_leads_nowhere_is_an_error_that_has_those_that_do() {
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
