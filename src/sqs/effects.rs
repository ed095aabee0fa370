//! What becomes of records that failed: decided, and done.

use std::collections::HashMap;
use std::env;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::error::DisplayErrorContext;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use super::Backoff;
use super::client::LazyClient;
use super::dead_letter::{self, About};
use super::queue::Queue;
use super::visibility::{Change, LONGEST_DELAY_ON_LAMBDA, VisibilityTimeout};
use crate::batch::{Effect, Failed, Leased, OnFailure, Wish};
use crate::outcome::Outcome;
use crate::record::Record;

/// What a consumer may do to its queue: have a record come back later, and send it to the dead-letter queue.
///
/// Given to [`Consumer::effects`](crate::Consumer::effects). With it [`Outcome::RetryAfter`] and [`Outcome::DeadLetter`] are
/// done before the answer leaves:
///
/// ```no_run
/// use std::time::Duration;
/// use redrive::{Backoff, Effects, Json, Outcome};
///
/// # #[derive(serde::Deserialize)] struct Order { items: Vec<String> }
/// async fn place(Json(order): Json<Order>) -> anyhow::Result<Outcome> {
///     if order.items.is_empty() {
///         return Ok(Outcome::DeadLetter("an order without items".into()));
///     }
///     /* ... */
///     Ok(Outcome::Done)
/// }
///
/// #[tokio::main]
/// async fn main() -> Result<(), redrive::Error> {
///     let backoff = Backoff::exponential(Duration::from_secs(1)..Duration::from_secs(15 * 60));
///     redrive::handler(place).effects(Effects::from_env().backoff(backoff).dead_letter_at(5)).run().await
/// }
/// ```
///
/// An effect that fails is a warning, and the record is retried as if there were no effects: it comes back after the queue's
/// visibility timeout, and the queue's RedrivePolicy has the last word. Nothing is acknowledged that SQS has not accepted in
/// the dead-letter queue.
///
/// On a FIFO queue what stood behind a record in its message group comes back with it.
///
/// Permissions: `sqs:GetQueueUrl` and `sqs:ChangeMessageVisibility` on the queue, and to send dead letters
/// `sqs:GetQueueAttributes` on it, and `sqs:GetQueueUrl` and `sqs:SendMessage` on the dead-letter queue. `redrive iam` prints
/// them.
#[derive(Debug)]
#[must_use = "effects take place only in a consumer that they are given to"]
pub struct Effects {
    client: LazyClient,
    backoff: Option<Backoff>,
    dead_letter_at: Option<u32>,
    dead_letter_queue_url: Option<String>,
    /// By the ARN that records have.
    queues: Mutex<HashMap<String, Arc<QueueCell>>>,
}

/// A queue that is looked up when it is first needed.
#[derive(Default)]
struct QueueCell(OnceCell<Queue>);

impl Effects {
    /// Calls go out with credentials, region and endpoint from the
    /// [environment](https://docs.aws.amazon.com/sdkref/latest/guide/creds-config-files.html), and the client for them is made
    /// at the first effect: what never fails pays nothing for it.
    pub fn from_env() -> Self {
        Self::with(LazyClient::default())
    }

    /// Calls go out through this client.
    pub fn with_client(client: Client) -> Self {
        Self::with(LazyClient::given(client))
    }

    fn with(client: LazyClient) -> Self {
        Self { client, backoff: None, dead_letter_at: None, dead_letter_queue_url: None, queues: Mutex::default() }
    }

    /// Has every record that is to be retried, and does not say when, come back after a delay that grows with its receive
    /// count. Without it such a record comes back after the queue's visibility timeout.
    pub fn backoff(self, backoff: Backoff) -> Self {
        Self { backoff: Some(backoff), ..self }
    }

    /// Sends a record that fails at this receive, or at a later one, to the dead-letter queue, with its last error as the
    /// reason. 0 counts as 1.
    ///
    /// It is to be lower than the `maxReceiveCount` of the queue's RedrivePolicy, or equal to it: beyond that SQS moves the
    /// message itself, and cannot say why. A handler learns from [`LastReceive`](crate::LastReceive) that a record will not
    /// come again.
    pub fn dead_letter_at(self, receive_count: u32) -> Self {
        Self { dead_letter_at: Some(receive_count.max(1)), ..self }
    }

    /// Sends dead letters there, and not to the queue that the RedrivePolicy names.
    pub fn dead_letter_queue(self, queue_url: impl Into<String>) -> Self {
        Self { dead_letter_queue_url: Some(queue_url.into()), ..self }
    }

    /// Makes the record come back after the delay, with its copies and the records behind it. No change begins at `end` or later, though
    /// this future be dropped before.
    async fn delay(&self, failed: &Failed, delay: Duration, end: Instant) -> Result<(), String> {
        let record = &failed.head.record;
        let cell = self.cell(record)?;
        let queue = cell.0.get_or_try_init(|| self.find(record)).await?;
        let delay = if failed.longest_delay.is_some() { delay.max(SHORTEST_DELAY_ON_A_WORKER) } else { delay };
        let timeout = VisibilityTimeout::clamped(delay, failed.longest_delay.unwrap_or(LONGEST_DELAY_ON_LAMBDA));
        let change = |leased: &Leased| {
            let receipt_handle = receipt_handle(&leased.record)?;
            let not_after = leased.until.map_or(end, |until| until.min(end));
            Ok::<_, String>(queue.visibility.submit(Change { receipt_handle, timeout, not_after }))
        };
        let of_record = change(&failed.head)?;
        // Together, so that they share a call. Where one of them fails it comes back at its own time: not before the record,
        // whose group is locked until then.
        let behind = failed.copies.iter().chain(&failed.behind);
        let behind: Vec<_> = behind.filter_map(|leased| change(leased).ok()).collect();
        let result = of_record.await;
        for each in behind {
            if let Err(error) = each.await {
                tracing::debug!(error = error.text(), "what is behind the record keeps its visibility timeout");
            }
        }
        result.map_err(|error| error.text().to_owned())
    }

    async fn dead_letter(&self, failed: &Failed, reason: &str) -> Result<(), String> {
        let function = function_name();
        let about = About { reason, error: failed.error.as_deref(), function: function.as_deref() };
        let record = &failed.head.record;
        let cell = self.cell(record)?;
        let url = match &self.dead_letter_queue_url {
            Some(url) => url,
            None => cell.0.get_or_try_init(|| self.find(record)).await?.dead_letter_queue_url().await?,
        };
        let message = dead_letter::message(record, &about, url).map_err(|error| error.to_string())?;
        let sent = message.send_with(self.client.get().await).await;
        sent.map(drop).map_err(|error| format!("sqs:SendMessage: {}", DisplayErrorContext(error)))
    }

    /// The place of the queue that the record is from.
    fn cell(&self, record: &Record) -> Result<Arc<QueueCell>, String> {
        let arn = queue_arn(record)?;
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(queues.entry(arn).or_default().clone())
    }

    async fn find(&self, record: &Record) -> Result<Queue, String> {
        Queue::find(self.client.get().await, &queue_arn(record)?).await
    }
}

/// A client may have no timeout of its own, and a host no deadline.
const MAX_EFFECT_TIME: Duration = Duration::from_secs(30);

/// What comes back at once may be received before the worker knows that its run is over. It would be taken for one that runs still, and
/// left until its visibility timeout runs out.
const SHORTEST_DELAY_ON_A_WORKER: Duration = Duration::from_secs(1);

async fn until(end: Instant, effect: impl Future<Output = Result<(), String>>) -> Result<(), String> {
    let limit = end.saturating_duration_since(Instant::now());
    let too_late = |_| Err(format!("there is no answer after {limit:?}"));
    tokio::time::timeout_at(end, effect).await.unwrap_or_else(too_late)
}

fn receipt_handle(record: &Record) -> Result<String, String> {
    Ok(record.receipt_handle().ok().flatten().ok_or("it has no receipt handle")?.into_owned())
}

fn queue_arn(record: &Record) -> Result<String, String> {
    let arn = record.queue_arn().ok().flatten().ok_or("the record does not say which queue it is from")?;
    Ok(arn.into_owned())
}

/// Who sends the dead letter: the Lambda function, or the program.
fn function_name() -> Option<String> {
    let program = || Some(env::current_exe().ok()?.file_stem()?.to_string_lossy().into_owned());
    env::var("AWS_LAMBDA_FUNCTION_NAME").ok().or_else(program)
}

impl OnFailure for Effects {
    fn wish(&self, record: &Record, outcome: &Outcome, error: Option<&str>) -> Wish {
        let receive_count = record.receive_count().unwrap_or(1);
        match outcome {
            Outcome::DeadLetter(reason) => Wish::DeadLetter(reason.clone().into_owned()),
            _ if self.dead_letter_at.is_some_and(|at| receive_count >= at) => {
                Wish::DeadLetter(error.unwrap_or("the handler asks for a retry").to_owned())
            }
            Outcome::RetryAfter(delay) => Wish::Delay(*delay),
            _ => self.backoff.as_ref().map_or(Wish::Nothing, |backoff| Wish::Delay(backoff.delay(receive_count))),
        }
    }

    fn fulfil(&self, wish: Wish, failed: Failed) -> Pin<Box<dyn Future<Output = Effect> + Send + '_>> {
        Box::pin(async move {
            let latest = Instant::now() + MAX_EFFECT_TIME;
            let (done, effect) = match wish {
                Wish::Nothing => return Effect::ComesBack,
                Wish::Delay(delay) => {
                    // After that the message may be another consumer's, and would be delayed there.
                    let end = failed.head.until.map_or(latest, |until| until.min(latest));
                    (until(end, self.delay(&failed, delay, end)).await, Effect::Delayed)
                }
                Wish::DeadLetter(reason) => {
                    (until(latest, self.dead_letter(&failed, &reason)).await, Effect::DeadLettered)
                }
            };
            let Err(why) = done else { return effect };
            let message_id = failed.head.record.message_id();
            let message_id = message_id.as_deref();
            match effect {
                Effect::DeadLettered => {
                    tracing::warn!(message_id, why, "not sent to the dead-letter queue: the record is retried instead");
                }
                _ => tracing::warn!(message_id, why, "not delayed: the record comes back after the visibility timeout"),
            }
            Effect::ComesBack
        })
    }

    fn dead_letter_at(&self) -> Option<u32> {
        self.dead_letter_at
    }
}

impl fmt::Debug for QueueCell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("QueueCell").field(&self.0.initialized()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::process::Command;
    use std::ptr;

    use super::*;
    use crate::event::Event;
    use crate::per_lane::PerLane;
    use crate::record::Batch;
    use crate::sqs::client::ATTEMPT_TIMEOUT;

    const THIS: &str =
        "sqs::effects::tests::the_client_of_the_environment_is_made_once_and_not_before_the_first_effect";
    const IN_CHILD: &str = "REDRIVE_TEST_CHILD";

    fn record() -> Record {
        const EVENT: &str =
            r#"{"Records":[{"receiptHandle":"r","eventSourceARN":"arn:aws:sqs:us-east-1:000000000000:orders"}]}"#;
        let records = EVENT.parse::<Event>().and_then(Event::into_records).unwrap();
        Record::new(PerLane::new(Batch { records, origin: Arc::new(()), dead_letter_at: None }), 0)
    }

    async fn fail(effects: &Effects, outcome: Outcome) -> Effect {
        let wish = effects.wish(&record(), &outcome, Some("down"));
        let error = Some("down".to_owned());
        let head = Leased { record: record(), until: None };
        let failed = Failed { head, copies: Vec::new(), behind: Vec::new(), error, longest_delay: None };
        effects.fulfil(wish, failed).await
    }

    /// An environment is a process's: so the test is one that runs itself once more, with an SQS that refuses all.
    #[test]
    fn the_client_of_the_environment_is_made_once_and_not_before_the_first_effect() {
        if env::var_os(IN_CHILD).is_some() {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            return runtime.block_on(in_the_environment());
        }
        let sqs = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut child = Command::new(env::current_exe().unwrap());
        child.args(["--exact", THIS]).env_clear().env(IN_CHILD, "1").env("AWS_MAX_ATTEMPTS", "1");
        child.env("AWS_ENDPOINT_URL_SQS", format!("http://{}", sqs.local_addr().unwrap()));
        child.env("AWS_REGION", "us-east-1").env("AWS_ACCESS_KEY_ID", "x").env("AWS_SECRET_ACCESS_KEY", "x");
        let calls = std::thread::spawn(move || {
            for _ in 0..2 {
                let (mut call, _) = sqs.accept().unwrap();
                let mut begin = [0; 1_024];
                let read = call.read(&mut begin).unwrap();
                let begin = String::from_utf8_lossy(&begin[..read]).to_ascii_lowercase();
                assert!(begin.contains("amazonsqs.getqueueurl"), "{begin}");
                call.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").unwrap();
            }
        });
        let output = child.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"), "{output:?}");
        calls.join().unwrap();
    }

    async fn in_the_environment() {
        let effects = Effects::from_env();
        assert_eq!(fail(&effects, Outcome::Retry).await, Effect::ComesBack);
        assert!(effects.client.made().is_none(), "nothing was to be done");
        assert_eq!(fail(&effects, Outcome::RetryAfter(Duration::from_secs(5))).await, Effect::ComesBack);
        let client = effects.client.made().expect("an effect needs it");
        let timeouts = client.config().timeout_config().unwrap();
        assert_eq!(timeouts.operation_attempt_timeout(), Some(ATTEMPT_TIMEOUT));
        assert_eq!(fail(&effects, Outcome::DeadLetter("no use".into())).await, Effect::ComesBack);
        assert!(ptr::eq(client, effects.client.get().await), "there is one");
    }
}
