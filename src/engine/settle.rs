//! Performs the queue action of a finished run, and settles its record.

use tokio::task::JoinSet;
use tracing::Instrument;

use super::context::BatchContext;
use super::lease_holder::LeaseHolder;
use super::on_failure::{Failed, Leased, QueueAction};
use super::settlement::Settlement;
use super::state::{RecordSet, Status};
use super::verdict::{Run, Verdict};
use crate::moment::Deadline;
use crate::record::Record;

impl BatchContext {
    /// Settles a record that needs no call to the queue. Returns `None` if it may need one.
    pub(super) fn settle_at_once(&self, run: &Run, verdict: &Verdict) -> Option<(Settlement, Status)> {
        if self.lease_holder.is_some() || (self.options.on_failure.is_some() && verdict.is_failure()) {
            return None;
        }
        Some(self.settle_without_action(run, verdict))
    }

    /// Performs the queue action and settles the record. The status is done only if the record's line may continue.
    pub(super) async fn settle(&self, index: usize, run: &Run, verdict: &Verdict) -> (Settlement, Status) {
        let action = self.action(run, verdict);
        match (&self.lease_holder, action) {
            (Some(holder), action) => self.settle_leased(&**holder, index, run, verdict, action).await,
            (None, None) => self.settle_without_action(run, verdict),
            (None, Some(action)) => {
                let settlement = self.perform(&self.state.record_set(index), run, verdict, action).await;
                (settlement, settlement.status())
            }
        }
    }

    fn settle_without_action(&self, run: &Run, verdict: &Verdict) -> (Settlement, Status) {
        if self.options.on_failure.is_none() {
            verdict.warn_without_effects(run);
        }
        let settlement = Settlement::without_action(&verdict.outcome);
        (settlement, settlement.status())
    }

    /// Settles a record that is held by a lease.
    async fn settle_leased(
        &self,
        holder: &dyn LeaseHolder,
        index: usize,
        run: &Run,
        verdict: &Verdict,
        action: Option<QueueAction>,
    ) -> (Settlement, Status) {
        let set = self.state.record_set(index);
        let settlement = match action {
            // A dead letter takes time and does not change the visibility timeout. So the heartbeat keeps the record,
            // and those behind it, meanwhile.
            Some(action @ QueueAction::DeadLetter(_)) if holder.begin_settling(index) => {
                let settlement = self.perform(&set, run, verdict, action).await;
                if !holder.stop_heartbeat(&set).await && settlement == Settlement::DeadLettered {
                    run.warn_of_a_lost_dead_letter();
                }
                settlement
            }
            action => match (holder.stop_heartbeat(&set).await, action) {
                (true, Some(action)) => self.perform(&set, run, verdict, action).await,
                (false, _) if verdict.is_failure() => Settlement::LeaseLost,
                (true | false, None | Some(_)) => self.settle_without_action(run, verdict).0,
            },
        };
        let goes_on = holder.settle(&set, settlement).await;
        (settlement, if goes_on { settlement.status() } else { Status::Failed })
    }

    fn action(&self, run: &Run, verdict: &Verdict) -> Option<QueueAction> {
        let on_failure = self.options.on_failure.as_ref().filter(|_| verdict.is_failure())?;
        let action = on_failure.action(&verdict.failure_of(run.record()));
        on_failure.remember_failure(run.record());
        action
    }

    async fn perform(&self, set: &RecordSet, run: &Run, verdict: &Verdict, action: QueueAction) -> Settlement {
        let Some(on_failure) = self.options.on_failure.clone() else { return Settlement::Retry };
        let leased = |&index: &usize| self.leased(index, self.state.record(index));
        let failed = Failed {
            head: self.leased(set.index, run.record().clone()),
            copies: set.copies.iter().map(leased).collect(),
            behind: set.behind.iter().map(leased).collect(),
            error: verdict.error.clone(),
            max_delay: self.lease_holder.as_ref().map(|holder| holder.max_delay()),
            delete: self.may_fail_as_a_whole,
        };
        let accepted = match &action {
            QueueAction::Delay(_) => Settlement::Delayed,
            QueueAction::DeadLetter(_) => Settlement::DeadLettered,
        };
        let mut call = JoinSet::new();
        call.spawn_on(
            async move { on_failure.perform(action, failed).await }.instrument(run.span().clone()),
            &self.host,
        );
        match call.join_next().await {
            Some(Ok(true)) => accepted,
            // The queue refused it, or the task panicked, or the host's runtime has shut down and the result is
            // unknown.
            Some(Ok(false) | Err(_)) | None => Settlement::Retry,
        }
    }

    /// Without a lease, the record's visibility timeout may be changed until the batch is answered. After that the
    /// process may be frozen, and a late call may reach the message while another consumer has it.
    fn leased(&self, index: usize, record: Record) -> Leased {
        let until = self.lease_holder.as_ref().map(|holder| holder.lease_end(index));
        Leased { record, until: until.or_else(|| self.end.map(Deadline::at)) }
    }
}
