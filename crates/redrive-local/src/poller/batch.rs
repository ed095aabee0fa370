//! Runs a batch from its invocation to its settlement.

use std::sync::Arc;
use std::time::Duration;

use crate::event::{Record, event};
use axum::body::Bytes;
use tokio::sync::watch;
use tokio::time::Instant;

use super::hide::Lease;
use super::{BatchNews, EventSourceMapping, News, backoff, stop};
use crate::function::{Invocation, InvokeError, Slot};
use crate::mapping::answer::problem::Severity;
use crate::mapping::answer::{FailedInvocation, judge};
use crate::mapping::gather::Batch;

/// The limit for an ordinary delay after the window. A batch that waited longer is hidden for its full timeout again.
const PROMPT: Duration = Duration::from_secs(1);

/// A settled batch.
pub(super) struct Finished {
    pub(super) batch: Batch,
    /// The positions of the messages that are retried.
    pub(super) come_back: Vec<usize>,
    /// The slot, free for the next batch.
    pub(super) slot: Slot,
}

impl EventSourceMapping {
    pub(super) async fn run_batch(
        self: Arc<Self>,
        batch: Batch,
        mut slot: Slot,
        received_at: Instant,
        stopped: watch::Receiver<bool>,
    ) -> Finished {
        let records = batch.records();
        let mut lease = Lease::new(received_at, self.visibility_timeout);
        if received_at.elapsed() > self.batching.window() + PROMPT && !lease.is_over() {
            self.hide(records, &mut lease).await;
        }
        let invocation = Invocation {
            request_id: request_id(records),
            event: event(records).into(),
            function_arn: self.function_arn.clone(),
            timeout: self.timeout.get(),
            trace_header: None,
        };
        let began = Instant::now();
        let Some(result) = self.invoke(&mut slot, &invocation, records, &mut lease, stopped).await else {
            self.give_back(records, &lease).await;
            let come_back = (0..records.len()).collect();
            return Finished { batch, come_back, slot };
        };
        let verdict = judge(records, self.reports_item_failures, result.as_deref().map_err(failed));
        let mut news = BatchNews::new(invocation.request_id, records, &verdict, began.elapsed());
        if lease.is_over() {
            news.problems.push((Severity::Odd, outlived(self.visibility_timeout)));
        }
        self.tell(News::Batch(news));
        let kept = self.delete(verdict.deleted.iter().map(|&position| &records[position])).await;
        let is_kept = |position: &usize| kept.iter().any(|id| *id == records[*position].message_id());
        self.settle(records.len());
        let mut come_back = verdict.come_back;
        come_back.extend(verdict.deleted.into_iter().filter(is_kept));
        Finished { batch, come_back, slot }
    }

    /// Invokes the function until it runs. A function that did not start has seen no message, so no message has failed,
    /// and the messages stay hidden. Returns `None` if the mapping stops first.
    async fn invoke(
        &self,
        slot: &mut Slot,
        invocation: &Invocation,
        records: &[Record],
        lease: &mut Lease,
        stopped: watch::Receiver<bool>,
    ) -> Option<Result<Bytes, InvokeError>> {
        let mut attempts = 0_u32;
        loop {
            let call = slot.invoke(invocation);
            let result = match self.function.may_outlast_timeout() {
                true => self.while_hidden(records, lease, call).await,
                false => call.await,
            };
            let Err(error) = &result else { return Some(result) };
            if !matches!(error, InvokeError::NotRun(_)) || lease.is_over() {
                return Some(result);
            }
            attempts = attempts.saturating_add(1);
            self.tell(News::NotReady { error: error.to_string(), attempts });
            let pause = tokio::time::sleep(backoff(attempts));
            tokio::select! {
                biased;
                () = stop(stopped.clone()) => return None,
                () = self.while_hidden(records, lease, pause) => {}
            }
        }
    }
}

/// Returns a request id made from the first message. Lambda uses a random UUID; this id makes a run repeatable.
fn request_id(records: &[Record]) -> String {
    let first = records.first();
    let receives = first.and_then(Record::receive_count).unwrap_or_default();
    format!("{}-{receives}", first.map(Record::message_id).unwrap_or_default())
}

fn failed(error: &InvokeError) -> FailedInvocation {
    match error {
        InvokeError::TimedOut { timeout } => FailedInvocation::TimedOut(*timeout),
        error => FailedInvocation::Raised(error.to_string()),
    }
}

fn outlived(visibility_timeout: Duration) -> String {
    format!(
        "the batch ended after the visibility timeout of {visibility_timeout:?}; SQS may have delivered its messages \
         again, and as on AWS such messages are not deleted and run again; set the VisibilityTimeout to six times the \
         function's Timeout, plus the batching window"
    )
}
