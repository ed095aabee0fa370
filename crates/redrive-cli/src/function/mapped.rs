//! Tests mappings of functions in processes and behind a URL, on a paused clock.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_sqs::Client;
use axum::Router;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use redrive_local::Sqs;
use redrive_local::function::Function;
use redrive_local::plan::{Plan, make_queues};
use redrive_local::poller::News;
use redrive_local::template::{Inputs, Template};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{InvokeUrl, Processes, Program, Settings};

const SECOND: Duration = Duration::from_secs(1);
const VISIBILITY_TIMEOUT: Duration = Duration::from_secs(12);

/// AWS's advice for the visibility timeout: six times the function's timeout.
const TEMPLATE: &str = "
Resources:
  Dead: {Type: AWS::SQS::Queue}
  Orders:
    Type: AWS::SQS::Queue
    Properties:
      VisibilityTimeout: 12
      RedrivePolicy: {deadLetterTargetArn: !GetAtt Dead.Arn, maxReceiveCount: 5}
  Function:
    Type: AWS::Serverless::Function
    Properties:
      Timeout: 2
      Events:
        Queue:
          Type: SQS
          Properties:
            Queue: !GetAtt Orders.Arn
            BatchSize: 1
            FunctionResponseTypes: [ReportBatchItemFailures]
";

/// A queue with messages, its dead-letter queue, and its mapping.
struct Bench {
    sqs: Sqs,
    client: Client,
    queue: String,
    dead_letter_queue: String,
    news: Arc<Mutex<Vec<News>>>,
    running: JoinSet<()>,
    began: Instant,
}

impl Bench {
    async fn with_messages(count: usize) -> Self {
        let sqs = Sqs::with_seed(1);
        let client = sqs.client();
        let template = template();
        let plan = Plan::of(&template).unwrap();
        make_queues(&client, &plan.queues).await.unwrap();
        let name = |id: &str| plan.queues.iter().find(|queue| queue.id == id).unwrap().name.clone();
        let (queue, dead_letter_queue) = (name("Orders"), name("Dead"));
        for number in 0..count {
            let send = client.send_message().queue_url(&plan.mappings[0].0.queue_url);
            send.message_body(number.to_string()).send().await.unwrap();
        }
        let (news, running, began) = (Arc::default(), JoinSet::new(), Instant::now());
        Self { sqs, client, queue, dead_letter_queue, news, running, began }
    }

    fn map(&mut self, function: Arc<dyn Function>) {
        let template = template();
        let (mapping, _) = Plan::of(&template).unwrap().mappings.pop().unwrap();
        let news = self.news.clone();
        let sink = Arc::new(move |each| news.lock().unwrap().push(each));
        let mapping = mapping.with(&self.client, function, &Arc::default(), sink);
        self.running.spawn(mapping.run(std::future::pending()));
    }

    async fn until_empty(&self) {
        loop {
            let changed = self.sqs.next_change();
            if self.sqs.is_empty(&self.queue) {
                return;
            }
            changed.await;
        }
    }

    fn dead(&self) -> usize {
        self.sqs.messages(&self.dead_letter_queue).len()
    }

    fn seconds(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }
}

fn template() -> Template {
    Template::read("template.yaml", TEMPLATE, &Inputs::default()).unwrap()
}

/// Serves one kind of answer on the paused clock.
async fn served<F, Fut>(running: &mut JoinSet<()>, respond: F) -> String
where
    F: Fn() -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Response> + Send,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    running.spawn(async move { axum::serve(listener, Router::new().fallback(respond)).await.unwrap() });
    url
}

#[tokio::test(start_paused = true)]
async fn no_message_is_received_while_the_function_does_not_start() {
    let mut bench = Bench::with_messages(3).await;
    let program = Program::new(Path::new("/no/such/function"));
    bench.map(Arc::new(Processes::new(program, Settings::default(), 4, Arc::new(|_| {}))));
    tokio::time::sleep(600 * SECOND).await;
    let messages = bench.sqs.messages(&bench.queue);
    assert_eq!(messages.iter().map(|message| message.receive_count).collect::<Vec<_>>(), [0, 0, 0]);
    let news = bench.news.lock().unwrap();
    assert!(news.len() < 200, "attempts follow without a pause: {}", news.len());
    assert!(matches!(&news[0], News::NotReady { error, .. } if error.contains("/no/such/function")), "{news:?}");
}

#[tokio::test(start_paused = true)]
async fn messages_stay_hidden_while_their_function_is_built() {
    let (mut bench, runs) = (Bench::with_messages(1).await, Arc::new(AtomicUsize::new(0)));
    let counter = runs.clone();
    let url = served(&mut bench.running, move || {
        counter.fetch_add(1, Ordering::Relaxed);
        async {
            tokio::time::sleep(10 * VISIBILITY_TIMEOUT).await;
            StatusCode::OK.into_response()
        }
    })
    .await;
    // The second slot is free. The mapping would receive the message with it if the message were visible.
    bench.map(Arc::new(InvokeUrl::new(&url, "orders", 2).unwrap()));
    bench.until_empty().await;
    assert_eq!((runs.load(Ordering::Relaxed), bench.dead()), (1, 0));
    assert!(bench.seconds() >= 120.0, "{}", bench.seconds());
}

#[tokio::test(start_paused = true)]
async fn throttled_function_is_retried_without_a_failed_batch() {
    let (mut bench, asked) = (Bench::with_messages(1).await, Arc::new(AtomicUsize::new(0)));
    let counter = asked.clone();
    let url = served(&mut bench.running, move || {
        let number = counter.fetch_add(1, Ordering::Relaxed);
        let status = if number < 20 { StatusCode::TOO_MANY_REQUESTS } else { StatusCode::OK };
        async move { status.into_response() }
    })
    .await;
    bench.map(Arc::new(InvokeUrl::new(&url, "orders", 1).unwrap()));
    bench.until_empty().await;
    assert_eq!((asked.load(Ordering::Relaxed), bench.dead()), (21, 0));
    let news = bench.news.lock().unwrap();
    let batches: Vec<_> =
        news.iter().filter_map(|news| if let News::Batch(batch) = news { Some(batch) } else { None }).collect();
    assert_eq!(batches.len(), 1, "expected one receive: {news:?}");
    assert_eq!(batches[0].messages[0].receive_count, 1);
}
