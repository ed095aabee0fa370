//! Decides what happens to failed records at the queue, and does it.

use std::collections::HashMap;
use std::env;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_sdk_sqs::Client;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use super::Backoff;
use super::client::LazyClient;
use super::dead_letter::About;
use super::dead_letter_queues::DeadLetterQueues;
use super::failed_runs::FailedRuns;
use super::queue::SourceQueue;
use super::region::in_region_of_url;
use super::visibility::{Change, LONGEST_DELAY_ON_LAMBDA, VisibilityTimeout};
use crate::engine::{Failed, Failure, Leased, OnFailure, QueueAction};
use crate::handler::Consumer;
use crate::moment::{Deadline, Moment};
use crate::outcome::Outcome;
use crate::record::{LastRun, Record};

/// Lets a consumer delay the retry of a record, or send a record to the dead-letter queue.
///
/// Pass it to [`Consumer::effects`](crate::Consumer::effects). Then [`Outcome::RetryAfter`] and [`Outcome::DeadLetter`]
/// happen before the answer is sent:
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
/// A failed effect logs a warning, and the record is retried as without effects: after the queue's visibility timeout,
/// until the queue's RedrivePolicy moves it. No record counts as done unless SQS has accepted its dead letter.
///
/// On a FIFO queue the records behind it in its message group are retried with it.
///
/// Permissions: `sqs:GetQueueUrl` and `sqs:ChangeMessageVisibility` on the queue. Dead letters also need
/// `sqs:GetQueueAttributes` on the queue, and `sqs:GetQueueUrl` and `sqs:SendMessage` on the dead-letter queue. If a
/// batch may fail as a whole, `sqs:DeleteMessage` on the queue is needed, as for an event source mapping. `redrive iam
/// --effects` prints them.
#[derive(Debug)]
#[must_use = "effects do nothing until they are passed to a consumer"]
pub struct Effects {
    client: LazyClient,
    backoff: Option<Backoff>,
    dead_letter_at: Option<u32>,
    counts_receives: bool,
    dead_letters_malformed: bool,
    dead_letter_queue_url: Option<String>,
    failed_runs: Mutex<FailedRuns>,
    has_note: bool,
    dead_letter_queues: DeadLetterQueues,
    /// Queues by the ARN in their records.
    queues: Mutex<HashMap<String, Arc<QueueCell>>>,
}

impl<K> Consumer<K> {
    /// Lets the consumer delay retries and send records to the dead-letter queue: see [`Effects`](crate::Effects). By
    /// default it makes no calls to its queue.
    pub fn effects(self, effects: crate::Effects) -> Self {
        self.set(|options| options.on_failure = Some(Arc::new(effects)))
    }
}

/// A queue that is looked up on first use.
#[derive(Default)]
struct QueueCell(OnceCell<SourceQueue>);

impl Effects {
    /// Creates effects with credentials, region and endpoint from the
    /// [environment](https://docs.aws.amazon.com/sdkref/latest/guide/creds-config-files.html). The client is created at
    /// the first effect, so a consumer without failures does not pay for it.
    pub fn from_env() -> Self {
        Self::with(LazyClient::default())
    }

    /// Creates effects with this client. The ARN in a record names the region of a call, whatever the client's own is.
    pub fn with_client(client: Client) -> Self {
        Self::with(LazyClient::given(client))
    }

    fn with(client: LazyClient) -> Self {
        Self {
            client,
            backoff: None,
            dead_letter_at: None,
            counts_receives: false,
            dead_letters_malformed: false,
            dead_letter_queue_url: None,
            failed_runs: Mutex::default(),
            has_note: true,
            dead_letter_queues: DeadLetterQueues::default(),
            queues: Mutex::default(),
        }
    }

    /// Delays every retry that has no explicit delay. The delay grows with the receive count. By default such a record
    /// is retried after the queue's visibility timeout.
    pub fn backoff(self, backoff: Backoff) -> Self {
        Self { backoff: Some(backoff), ..self }
    }

    /// Sends a record to the dead-letter queue when this many of its runs have failed, with the last error as the
    /// reason. 0 counts as 1. By default there is no limit.
    ///
    /// It counts runs that this process has seen fail. A message that was received but not run, such as one behind a
    /// poison message of its FIFO group, has not failed. On Lambda it counts receives for a standard queue, where each
    /// receive is a run except for throttles and timeouts. [The chapter on
    /// effects](crate::docs::effects#limit-of-failed-runs) has the details.
    ///
    /// Choose a number below the `maxReceiveCount` of the queue's RedrivePolicy. Beyond that SQS moves a message
    /// itself, without a reason. A handler learns from [`LastReceive`](crate::LastReceive) whether a failure will be
    /// the last one.
    pub fn dead_letter_at(self, runs: u32) -> Self {
        Self { dead_letter_at: Some(runs.max(1)), ..self }
    }

    /// Makes [`dead_letter_at`](Self::dead_letter_at) count receives instead of runs, on every host and queue. The
    /// default is off.
    ///
    /// Receives are known even where runs are not, so the limit is exact when many processes share a queue. But
    /// receives without a run count too. On a FIFO queue a healthy message behind a poison one may go to the
    /// dead-letter queue at its first failure.
    pub fn count_receives(self) -> Self {
        Self { counts_receives: true, ..self }
    }

    /// Sends a malformed record to the dead-letter queue at once, with the extractor's error as the reason. By default
    /// it is retried like any other failure, and uses up its receives.
    ///
    /// This applies to a [`Rejection`](crate::Rejection) that [is malformed](crate::Rejection::is_malformed), from an
    /// extractor of this crate or of yours. An absent part, a rejection of another type, and a body in S3 that cannot
    /// be fetched are retried. On a FIFO queue the message group continues once SQS has accepted the dead letter.
    ///
    /// ```no_run
    /// use redrive::{Effects, Json};
    ///
    /// # #[derive(serde::Deserialize)] struct Order {}
    /// async fn place(Json(order): Json<Order>) -> anyhow::Result<()> { /* ... */ Ok(()) }
    ///
    /// # async fn example() -> Result<(), redrive::Error> {
    /// redrive::handler(place).effects(Effects::from_env().dead_letter_malformed()).run().await
    /// # }
    /// ```
    pub fn dead_letter_malformed(self) -> Self {
        Self { dead_letters_malformed: true, ..self }
    }

    /// Sends dead letters to this queue instead of the one in the RedrivePolicy. It may be in another region, which its
    /// URL names.
    pub fn dead_letter_queue(self, queue_url: impl Into<String>) -> Self {
        Self { dead_letter_queue_url: Some(queue_url.into()), ..self }
    }

    /// Sends dead letters without the `redrive.*` attributes that tell their reason and source, for consumers that do
    /// not want them. By default they are added. Without them `redrive dlq` shows no reason, and cannot move a message
    /// back to its source by itself.
    pub fn without_note(self) -> Self {
        Self { has_note: false, ..self }
    }

    /// Delays the record, its copies and the records behind it. No change starts at `end` or later, even if this future
    /// is dropped before.
    async fn delay(&self, failed: &Failed, delay: Duration, end: Deadline) -> Result<(), String> {
        let record = &failed.head.record;
        let cell = self.cell(record)?;
        let queue = cell.0.get_or_try_init(|| self.find(record)).await?;
        let delay = if failed.max_delay.is_some() { delay.max(SHORTEST_DELAY_ON_A_WORKER) } else { delay };
        let timeout = VisibilityTimeout::clamped(delay, failed.max_delay.unwrap_or(LONGEST_DELAY_ON_LAMBDA));
        let change = |leased: &Leased| {
            let receipt_handle = receipt_handle(&leased.record)?;
            let not_after = leased.until.map_or(end, |until| until.or_earlier(end));
            Ok::<_, String>(queue.visibility.submit(Change::new(receipt_handle, timeout, not_after)))
        };
        let of_record = change(&failed.head)?;
        // All changes share a call. If one of the others fails, its message returns at its own time: not before the
        // record, which locks the group until then.
        let behind = failed.copies.iter().chain(&failed.behind);
        let behind: Vec<_> = behind.filter_map(|leased| change(leased).ok()).collect();
        let result = of_record.await;
        for each in behind {
            if let Err(error) = each.await {
                tracing::debug!(
                    error = error.text(),
                    "a message behind the record was not delayed; it keeps its visibility timeout"
                );
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
        let client = in_region_of_url(self.client.get().await, url);
        let about = self.has_note.then_some(&about);
        self.dead_letter_queues.send(&client, record, about, url).await
    }

    /// Cleans up after SQS accepted a dead letter. A failure here does not change the outcome.
    async fn bury(&self, failed: &Failed) {
        let message_id = failed.head.record.message_id();
        let message_id = message_id.as_deref();
        if let Some(message_id) = message_id {
            self.failed_runs().forget(message_id);
        }
        if !failed.delete {
            return;
        }
        if let Err(why) = until(Deadline::after(Moment::now(), MAX_EFFECT_TIME), self.delete(failed)).await {
            tracing::warn!(
                message_id,
                why,
                "a message is in the dead-letter queue but could not be deleted from its own; if its batch fails as a whole, it is \
                 retried and may be dead-lettered again"
            );
        }
    }

    /// Deletes a message and its copies after SQS accepted its dead letter. This may come late, because the dead letter
    /// is safe.
    async fn delete(&self, failed: &Failed) -> Result<(), String> {
        let record = &failed.head.record;
        let cell = self.cell(record)?;
        let queue = cell.0.get_or_try_init(|| self.find(record)).await?;
        let handles = failed.copies.iter().chain([&failed.head]).map(|leased| receipt_handle(&leased.record));
        let deletes: Vec<_> = handles.map(|handle| Ok(queue.deletes.submit(handle?))).collect::<Result<_, String>>()?;
        for delete in deletes {
            delete.await.map_err(|error| error.text().to_owned())?;
        }
        Ok(())
    }

    /// Returns the number of the current run, as far as this process knows.
    fn run_number(&self, record: &Record) -> u32 {
        let receives = record.receive_count();
        if !self.counts_runs(record) {
            return receives.unwrap_or(1);
        }
        let failed = record.message_id().map_or(0, |id| self.failed_runs().of(&id));
        // A message that is sent again starts at its first receive, even under the same id.
        failed.saturating_add(1).min(receives.unwrap_or(u32::MAX))
    }

    /// Returns whether runs are counted instead of receives. On Lambda a receive from a standard queue is usually a
    /// run, and the next one may be in another process. On a FIFO queue it usually is not, because the whole group is
    /// received each time its head fails.
    fn counts_runs(&self, record: &Record) -> bool {
        let is_fifo = || queue_arn(record).is_ok_and(|arn| arn.ends_with(".fifo"));
        !self.counts_receives && (record.is_kept() || is_fifo())
    }

    fn failed_runs(&self) -> MutexGuard<'_, FailedRuns> {
        // Each change leaves the counts consistent, because no user code runs under this lock.
        self.failed_runs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the cell of the record's queue.
    fn cell(&self, record: &Record) -> Result<Arc<QueueCell>, String> {
        let arn = queue_arn(record)?;
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(queues.entry(arn).or_default().clone())
    }

    async fn find(&self, record: &Record) -> Result<SourceQueue, String> {
        SourceQueue::find(self.client.get().await, &queue_arn(record)?).await
    }
}

/// Limits an effect if the client has no timeout and the host no deadline.
const MAX_EFFECT_TIME: Duration = Duration::from_secs(30);

/// A message that returns at once may be received before the worker knows that its run is over. The worker would treat
/// it as still running, and leave it until its visibility timeout ends.
const SHORTEST_DELAY_ON_A_WORKER: Duration = Duration::from_secs(1);

/// How long before the end of a lease an effect is given up. If SQS handed the message out again at that moment, the
/// worker would treat it as still running, and leave it until its visibility timeout ends.
const SETTLED_BEFORE: Duration = Duration::from_millis(5);

async fn until(end: Deadline, effect: impl Future<Output = Result<(), String>>) -> Result<(), String> {
    let limit = end.time_left();
    let too_late = |_| Err(format!("no answer arrived within {limit:?}"));
    let timer = end.for_timer();
    let give_up_at = timer.checked_sub(SETTLED_BEFORE).unwrap_or(timer);
    tokio::time::timeout_at(give_up_at, effect).await.unwrap_or_else(too_late)
}

fn receipt_handle(record: &Record) -> Result<String, String> {
    Ok(record.receipt_handle().ok().flatten().ok_or("it has no receipt handle")?.into_owned())
}

fn queue_arn(record: &Record) -> Result<String, String> {
    let arn = record.queue_arn().ok().flatten().ok_or("the record does not name its queue")?;
    Ok(arn.into_owned())
}

/// Returns the name of the sender of a dead letter: the Lambda function, or the program.
fn function_name() -> Option<String> {
    let program = || Some(env::current_exe().ok()?.file_stem()?.to_string_lossy().into_owned());
    env::var("AWS_LAMBDA_FUNCTION_NAME").ok().or_else(program)
}

impl OnFailure for Effects {
    fn action(&self, failure: &Failure<'_>) -> Option<QueueAction> {
        let Failure { record, outcome, error, is_malformed } = *failure;
        let is_hopeless = || (is_malformed && self.dead_letters_malformed) || self.is_last_run(record);
        match outcome {
            Outcome::DeadLetter(reason) => Some(QueueAction::DeadLetter(reason.clone().into_owned())),
            Outcome::Retry | Outcome::RetryAfter(_) if is_hopeless() => {
                Some(QueueAction::DeadLetter(error.unwrap_or("the handler asks for a retry").to_owned()))
            }
            Outcome::RetryAfter(delay) => Some(QueueAction::Delay(*delay)),
            Outcome::Retry => {
                let receive_count = record.receive_count().unwrap_or(1);
                self.backoff.as_ref().map(|backoff| QueueAction::Delay(backoff.delay(receive_count)))
            }
            Outcome::Done | Outcome::Discard(_) => None,
        }
    }

    fn remember_failure(&self, record: &Record) {
        // The count is only needed for a limit.
        if self.dead_letter_at.is_some()
            && self.counts_runs(record)
            && let Some(message_id) = record.message_id()
        {
            self.failed_runs().add(&message_id, Instant::now());
        }
    }

    fn perform(&self, action: QueueAction, failed: Failed) -> Pin<Box<dyn Future<Output = bool> + Send + '_>> {
        Box::pin(async move {
            let latest = Deadline::after(Moment::now(), MAX_EFFECT_TIME);
            let message_id = failed.head.record.message_id();
            let message_id = message_id.as_deref();
            match action {
                QueueAction::Delay(delay) => {
                    // Later, another consumer may have the message, and the change would delay it there.
                    let end = failed.head.until.map_or(latest, |until| until.or_earlier(latest));
                    let done = until(end, self.delay(&failed, delay, end)).await;
                    if let Err(why) = &done {
                        tracing::warn!(
                            message_id,
                            why,
                            "a record could not be delayed; it is retried after the visibility timeout"
                        );
                    }
                    done.is_ok()
                }
                QueueAction::DeadLetter(reason) => {
                    let done = until(latest, self.dead_letter(&failed, &reason)).await;
                    match &done {
                        Ok(()) => self.bury(&failed).await,
                        Err(why) => {
                            tracing::warn!(
                                message_id,
                                why,
                                "a record could not be sent to the dead-letter queue; it is retried"
                            );
                        }
                    }
                    done.is_ok()
                }
            }
        })
    }
}

impl LastRun for Effects {
    fn is_last_run(&self, record: &Record) -> bool {
        self.dead_letter_at.is_some_and(|at| self.run_number(record) >= at)
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
    use crate::sqs::client::ATTEMPT_TIMEOUT;

    const THIS: &str = "sqs::effects::tests::client_of_the_environment_is_created_once_at_the_first_effect";
    const IN_CHILD: &str = "REDRIVE_TEST_CHILD";

    fn record() -> Record {
        Record::of_json(r#"{"receiptHandle":"r","eventSourceARN":"arn:aws:sqs:us-east-1:000000000000:orders"}"#)
    }

    /// Whether something was done at the queue, and what.
    async fn fail(effects: &Effects, outcome: Outcome) -> Option<bool> {
        let failure = Failure { record: &record(), outcome: &outcome, error: Some("down"), is_malformed: false };
        let action = effects.action(&failure)?;
        let error = Some("down".to_owned());
        let head = Leased { record: record(), until: None };
        let failed = Failed { head, copies: Vec::new(), behind: Vec::new(), error, max_delay: None, delete: false };
        Some(effects.perform(action, failed).await)
    }

    /// The environment belongs to a process, so the test runs itself once more, with an SQS that refuses all calls.
    #[test]
    fn client_of_the_environment_is_created_once_at_the_first_effect() {
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
        assert_eq!(fail(&effects, Outcome::Retry).await, None);
        assert!(effects.client.made().is_none(), "no effect was needed yet");
        assert_eq!(fail(&effects, Outcome::RetryAfter(Duration::from_secs(5))).await, Some(false));
        let client = effects.client.made().expect("an effect needs it");
        let timeouts = client.config().timeout_config().unwrap();
        assert_eq!(timeouts.operation_attempt_timeout(), Some(ATTEMPT_TIMEOUT));
        assert_eq!(fail(&effects, Outcome::DeadLetter("no use".into())).await, Some(false));
        assert!(ptr::eq(client, effects.client.get().await), "it is the same client");
    }
}
