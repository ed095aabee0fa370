//! Converts a message that its queue refused for its size into a smaller form.
//!
//! The message keeps its place in its group and its deduplication id meanwhile.

use std::sync::Arc;

use tokio::time::Instant;

use super::call::AttemptResult;
use super::driver::ProducerInner;
use super::error::SendError;
use super::queued::Queued;
use super::scheduler::Scheduled;
use crate::sqs::limits::SMALLEST_SIZE_LIMIT_BYTES;
use crate::sqs::size_limit::TooLarge;

impl ProducerInner {
    /// Sends the message again without its optional parts, or with its body in S3. Each form is smaller than the
    /// previous one, so this ends.
    pub(super) fn refit(self: &Arc<Self>, mut scheduled: Scheduled<Queued>, refusal: TooLarge, why: String) {
        let bytes = scheduled.queued.checked.bytes;
        if bytes <= SMALLEST_SIZE_LIMIT_BYTES {
            // Every queue accepts messages of that size, so a smaller message would not help.
            return self.settle(scheduled, AttemptResult::Refused(why));
        }
        let limit = self.size_limit.learn(refusal, bytes, Instant::now());
        #[cfg(feature = "large-messages")]
        if self.settings.large_messages.is_some()
            && (refusal.limit_bytes.is_none() || scheduled.queued.checked.least_bytes() > limit)
        {
            return self.divert(scheduled, limit, refusal, &why);
        }
        if scheduled.queued.checked.shrink_to(limit) {
            self.send_at_once(scheduled);
        } else {
            self.is_too_large(scheduled, refusal, &why);
        }
    }

    fn send_at_once(&self, mut scheduled: Scheduled<Queued>) {
        scheduled.resize(scheduled.queued.checked.bytes);
        self.state().scheduler.schedule_retry(scheduled, Instant::now());
        self.wake.notify_one();
    }

    fn is_too_large(&self, scheduled: Scheduled<Queued>, refusal: TooLarge, why: &str) {
        let error = SendError::too_large_for_its_queue(scheduled.queued.checked.bytes, refusal, why);
        // The messages behind this one must not pass it if it may be in the queue.
        if scheduled.queued.may_be_sent() { self.give_up(scheduled, error) } else { self.end(scheduled, Err(error)) }
    }
}

#[cfg(feature = "large-messages")]
mod through_s3 {
    use super::*;
    use crate::large::{LargeMessages, Offloaded};

    impl ProducerInner {
        /// Puts the body into S3, then sends a pointer to it.
        pub(super) fn divert(
            self: &Arc<Self>,
            mut scheduled: Scheduled<Queued>,
            limit: usize,
            refusal: TooLarge,
            why: &str,
        ) {
            let Some(large_messages) = self.settings.large_messages.clone() else {
                return self.is_too_large(scheduled, refusal, why);
            };
            let checked = &mut scheduled.queued.checked;
            checked.make_room_for_an_attribute();
            match large_messages.point(&mut checked.message) {
                Ok(offloaded) => {
                    self.settings.identify_by_content(&mut checked.message);
                    checked.recount();
                    if checked.bytes > limit && !checked.shrink_to(limit) {
                        return self.is_too_large(scheduled, refusal, why);
                    }
                    let diversion = Diversion { inner: self.clone(), scheduled: Some(scheduled) };
                    drop(tokio::spawn(diversion.run(large_messages, offloaded)));
                }
                // Its body is in S3 already, or it has ten attributes.
                Err(_) => self.is_too_large(scheduled, refusal, why),
            }
        }
    }

    /// A message whose body is being written to S3.
    struct Diversion {
        inner: Arc<ProducerInner>,
        scheduled: Option<Scheduled<Queued>>,
    }

    impl Diversion {
        async fn run(mut self, large_messages: LargeMessages, offloaded: Offloaded) {
            let put = large_messages.store(offloaded).await;
            let Some(scheduled) = self.scheduled.take() else { return };
            match put {
                Ok(()) => self.inner.send_at_once(scheduled),
                Err(error) => self.give_up(scheduled, error),
            }
        }

        fn give_up(&self, scheduled: Scheduled<Queued>, error: SendError) {
            self.inner.give_up(scheduled, error);
            let settled = self.inner.state().scheduler.settled_below();
            self.inner.settled_below(settled);
            self.inner.wake.notify_one();
        }
    }

    impl Drop for Diversion {
        fn drop(&mut self) {
            if let Some(scheduled) = self.scheduled.take() {
                self.give_up(scheduled, SendError::failed("the runtime ended before its body was in S3".to_owned()));
            }
        }
    }
}
