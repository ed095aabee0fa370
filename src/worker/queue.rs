//! The queue that is polled, and what has to be true of it.

use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::QueueAttributeName as Name;

use super::fault::Fault;
use super::health::{Health, Stage};
use crate::error::{Error, Kind};
use crate::moment::{Deadline, Moment};
use crate::sqs::Backoff;
use crate::sqs::client::{ATTEMPT_TIMEOUT, impatient, patient, with_shared_credentials};
use crate::sqs::coalesce::BatchCall;
use crate::sqs::delete::DeleteMessages;
use crate::sqs::region::in_region_of_url;
use crate::sqs::source::Source;
use crate::sqs::visibility::{Change, ChangeVisibility, MAX_VISIBILITY_TIMEOUT, VisibilityTimeout};

pub(super) struct Queue {
    pub(super) client: Client,
    /// The same client, as patient as a long poll takes, which makes no receive again by itself: whoever polls knows whether to.
    pub(super) receives: Client,
    /// For how long that waits for an answer.
    pub(super) patience: Duration,
    pub(super) url: String,
    pub(super) source: Source,
    /// For how long a message is ours when it is received, and whenever that is extended.
    pub(super) lease: VisibilityTimeout,
}

/// Longer than SQS waits: a connection that has died would be waited at for ever.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long the first call of a worker waits for its answer. It brings the credentials too, and a provider that asks another service for
/// them may take most of it.
const FIRST_ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// With less, a call that is slow once loses the message.
const MIN_LEASE: Duration = Duration::from_secs(5);

impl Queue {
    /// Looks at the queue, and whether this may do what it will have to.
    pub(super) async fn find(
        client: &Client,
        url: String,
        lease: Option<Duration>,
        wait_time: Duration,
        health: &Health,
    ) -> Result<Self, Error> {
        // Made once: to change a client's configuration for one call costs a tenth of the call.
        let patience = wait_time + PATIENCE;
        let client = with_shared_credentials(&in_region_of_url(client, &url));
        let receives = patient(&client, patience);
        let first = patient(&client, FIRST_ANSWER_TIMEOUT);
        let client = impatient(&client, ATTEMPT_TIMEOUT);
        let (arn, own) = retried(health, || attributes(first.clone(), url.clone())).await?;
        let source = Source::from_arn(&arn).map_err(|error| Kind::Queue(format!("{url} is {error}")))?;
        let wanted = lease.unwrap_or(own);
        let lease = wanted.clamp(MIN_LEASE, MAX_VISIBILITY_TIMEOUT);
        if lease != wanted {
            tracing::warn!(?wanted, ?lease, "the visibility timeout is put into the range that a worker can keep");
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

    /// Asks for something that cannot be done, with a receipt handle that is none: who may not ask at all is told so. Better now
    /// than by a message that was processed and cannot be deleted. The permission to receive is seen at the first poll.
    async fn check_permissions(&self) -> Result<(), Error> {
        let nothing = || "none".to_owned();
        // It names no message, so it never is late.
        let not_after = Deadline::after(Moment::now(), MAX_VISIBILITY_TIMEOUT);
        let change = Change::new(nothing(), VisibilityTimeout::ZERO, not_after);
        let deleted = self.deletes().call(&[nothing()]).await;
        let changed = self.visibility().call(&[change]).await;
        for (action, results) in [("sqs:DeleteMessage", deleted), ("sqs:ChangeMessageVisibility", changed)] {
            if let Some(Err(error)) = results.first()
                && error.text().contains("AccessDenied")
            {
                let problem =
                    format!("{action} on {} is not allowed, and a worker needs it: {}", self.url, error.text());
                return Err(Kind::Queue(problem).into());
            }
        }
        Ok(())
    }
}

/// The queue's ARN, and its visibility timeout.
async fn attributes(client: Client, url: String) -> Result<(String, Duration), Fault> {
    let get = client.get_queue_attributes().queue_url(&url);
    let get = get.attribute_names(Name::QueueArn).attribute_names(Name::VisibilityTimeout);
    let answer = get.send().await.map_err(|error| Fault::of("sqs:GetQueueAttributes", &url, error))?;
    let mut attributes = answer.attributes.unwrap_or_default();
    let timeout = attributes.get(&Name::VisibilityTimeout).and_then(|seconds| seconds.parse().ok());
    let arn = attributes.remove(&Name::QueueArn);
    arn.zip(timeout).map(|(arn, timeout)| (arn, Duration::from_secs(timeout))).ok_or_else(|| {
        Fault::Lasting(format!(
            "what is at {url} has no QueueArn or no VisibilityTimeout: check that it is a queue of SQS"
        ))
    })
}

const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(20);

/// How long to wait after so many failures in a row.
pub(super) fn wait_after(failures: u32) -> Duration {
    Backoff::exponential(FIRST_WAIT..LONGEST_WAIT).delay(failures)
}

/// Tries again for as long as waiting can help: a container may start before its network, or before whatever gives it credentials.
async fn retried<T, F: Future<Output = Result<T, Fault>>>(health: &Health, call: impl Fn() -> F) -> Result<T, Error> {
    for failures in 1.. {
        let problem = match call().await {
            Ok(value) => return Ok(value),
            Err(Fault::Lasting(problem)) => return Err(Kind::Queue(problem).into()),
            Err(Fault::Passing(problem)) => problem,
        };
        health.note(Stage::Failing);
        let wait = wait_after(failures);
        let next_attempt_in_ms = in_ms(wait);
        tracing::warn!(problem, failures, next_attempt_in_ms, "the worker cannot start yet; it tries again");
        tokio::time::sleep(wait).await;
    }
    unreachable!("the loop has no end")
}

/// As a log field.
pub(super) fn in_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
