//! Finds the queue to poll and checks the worker's permissions.

use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::QueueAttributeName as Name;

use super::health::{Health, Stage};
use super::queue_error::QueueError;
use crate::error::{Error, ErrorKind};
use crate::moment::{Deadline, Moment};
use crate::sqs::Backoff;
use crate::sqs::call_error::Code;
use crate::sqs::client::{ATTEMPT_TIMEOUT, impatient, patient, with_shared_credentials};
use crate::sqs::coalesce::BatchCall;
use crate::sqs::delete::DeleteMessages;
use crate::sqs::region::in_region_of_url;
use crate::sqs::source::Source;
use crate::sqs::visibility::{Change, ChangeVisibility, MAX_VISIBILITY_TIMEOUT, VisibilityTimeout};

pub(super) struct WorkerQueue {
    pub(super) client: Client,
    /// The client for receives. It waits as long as a long poll, and does not repeat a receive: the poller decides
    /// that.
    pub(super) receives: Client,
    /// How long `receives` waits for an answer.
    pub(super) patience: Duration,
    pub(super) url: String,
    pub(super) source: Source,
    /// The length of a lease: from the receive, and after each heartbeat.
    pub(super) lease: VisibilityTimeout,
}

/// The time to wait for an answer in addition to the long poll. Without a limit, a dead connection would be waited for
/// forever.
const PATIENCE: Duration = Duration::from_secs(10);

/// Limits the first call of a worker. It includes loading the credentials, and a provider that asks another service may
/// need most of this time.
const FIRST_ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// The shortest lease. With less, a single slow call loses the message.
const MIN_LEASE: Duration = Duration::from_secs(5);

impl WorkerQueue {
    /// Reads the queue's attributes and checks the worker's permissions.
    pub(super) async fn find(
        client: &Client,
        url: String,
        lease: Option<Duration>,
        wait_time: Duration,
        health: &Health,
    ) -> Result<Self, Error> {
        // The clients are made once, because changing a client's configuration for one call costs a tenth of the call.
        let patience = wait_time + PATIENCE;
        let client = with_shared_credentials(&in_region_of_url(client, &url));
        let receives = patient(&client, patience);
        let first = patient(&client, FIRST_ANSWER_TIMEOUT);
        let client = impatient(&client, ATTEMPT_TIMEOUT);
        let (arn, own) = retried(health, || attributes(first.clone(), url.clone())).await?;
        let source = Source::from_arn(&arn).map_err(|error| ErrorKind::Queue(format!("{url} is {error}")))?;
        let wanted = lease.unwrap_or(own);
        let lease = wanted.clamp(MIN_LEASE, MAX_VISIBILITY_TIMEOUT);
        if lease != wanted {
            tracing::warn!(
                ?wanted,
                ?lease,
                "the visibility timeout is out of range; the worker uses the nearest value"
            );
        }
        let lease = VisibilityTimeout::clamped(lease, MAX_VISIBILITY_TIMEOUT);
        let queue = Self { client, receives, patience, url, source, lease };
        queue.check_permissions().await?;
        Ok(queue)
    }

    pub(super) fn deletes(&self) -> DeleteMessages {
        DeleteMessages { client: self.client.clone(), queue_url: self.url.clone() }
    }

    pub(super) fn visibility(&self) -> ChangeVisibility {
        ChangeVisibility { client: self.client.clone(), queue_url: self.url.clone() }
    }

    /// Deletes and extends a message that does not exist: SQS checks the permission before the receipt handle. An error
    /// at startup is better than messages that are processed and cannot be deleted. The first poll shows whether the
    /// worker may receive.
    async fn check_permissions(&self) -> Result<(), Error> {
        let nothing = || "none".to_owned();
        // The change names no message, so it cannot be late.
        let not_after = Deadline::after(Moment::now(), MAX_VISIBILITY_TIMEOUT);
        let change = Change::new(nothing(), VisibilityTimeout::ZERO, not_after);
        let deleted = self.deletes().call(&[nothing()]).await;
        let changed = self.visibility().call(&[change]).await;
        for (action, results) in [("sqs:DeleteMessage", deleted), ("sqs:ChangeMessageVisibility", changed)] {
            if let Some(Err(error)) = results.first()
                && error.has_code(Code::AccessDenied)
            {
                let problem =
                    format!("{action} on {} is not allowed: {}. Allow it; a worker needs it", self.url, error.text());
                return Err(ErrorKind::Queue(problem).into());
            }
        }
        Ok(())
    }
}

/// Returns the queue's ARN and its visibility timeout.
async fn attributes(client: Client, url: String) -> Result<(String, Duration), QueueError> {
    let get = client.get_queue_attributes().queue_url(&url);
    let get = get.attribute_names(Name::QueueArn).attribute_names(Name::VisibilityTimeout);
    let answer = get.send().await.map_err(|error| QueueError::of("sqs:GetQueueAttributes", &url, error))?;
    let mut attributes = answer.attributes.unwrap_or_default();
    let timeout = attributes.get(&Name::VisibilityTimeout).and_then(|seconds| seconds.parse().ok());
    let arn = attributes.remove(&Name::QueueArn);
    arn.zip(timeout).map(|(arn, timeout)| (arn, Duration::from_secs(timeout))).ok_or_else(|| {
        QueueError::Permanent(format!(
            "the answer of {url} has no QueueArn or no VisibilityTimeout: check that the URL is that of an SQS queue"
        ))
    })
}

const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(20);

/// Returns how long to wait after this many failures in a row.
pub(super) fn wait_after(failures: u32) -> Duration {
    Backoff::exponential(FIRST_WAIT..LONGEST_WAIT).delay(failures)
}

/// Repeats the call until it succeeds or a retry cannot help. A container may start before its network or before its
/// credentials.
async fn retried<T, F: Future<Output = Result<T, QueueError>>>(
    health: &Health,
    call: impl Fn() -> F,
) -> Result<T, Error> {
    for failures in 1.. {
        let problem = match call().await {
            Ok(value) => return Ok(value),
            Err(QueueError::Permanent(problem)) => return Err(ErrorKind::Queue(problem).into()),
            Err(QueueError::Transient(problem)) => problem,
        };
        health.note(Stage::Failing);
        let wait = wait_after(failures);
        let next_attempt_in_ms = in_ms(wait);
        tracing::warn!(problem, failures, next_attempt_in_ms, "the worker cannot start yet; it tries again later");
        tokio::time::sleep(wait).await;
    }
    unreachable!("the loop has no end")
}

/// Returns the duration in milliseconds, for a log field.
pub(super) fn in_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
