//! Converts a message that its queue refused for its size into a smaller form.
//!
//! The message keeps its place in its group and its deduplication id meanwhile.

use std::sync::Arc;

use tokio::time::Instant;

use super::call::Attempt;
use super::driver::Shared;
use super::error::SendError;
use super::item::Item;
use super::pack::Packed;
use crate::sqs::limits::SMALLEST_SIZE_LIMIT_BYTES;
use crate::sqs::size_limit::TooLarge;

impl Shared {
    /// Sends the message again without its optional parts, or with its body in S3. Each form is smaller than the
    /// previous one, so this ends.
    pub(super) fn refit(self: &Arc<Self>, mut packed: Packed<Item>, refusal: TooLarge, why: String) {
        let bytes = packed.item.checked.bytes;
        if bytes <= SMALLEST_SIZE_LIMIT_BYTES {
            // Every queue accepts messages of that size, so a smaller message would not help.
            return self.settle(packed, Attempt::Refused(why));
        }
        let limit = self.size_limit.learn(refusal, bytes, Instant::now());
        #[cfg(feature = "large-messages")]
        if self.settings.large_messages.is_some()
            && (refusal.limit_bytes.is_none() || packed.item.checked.least_bytes() > limit)
        {
            return self.divert(packed, limit, refusal, &why);
        }
        if packed.item.checked.shrink_to(limit) {
            self.send_at_once(packed);
        } else {
            self.is_too_large(packed, refusal, &why);
        }
    }

    fn send_at_once(&self, mut packed: Packed<Item>) {
        packed.resize(packed.item.checked.bytes);
        self.line().pack.again(packed, Instant::now());
        self.wake.notify_one();
    }

    fn is_too_large(&self, packed: Packed<Item>, refusal: TooLarge, why: &str) {
        let error = SendError::too_large_for_its_queue(packed.item.checked.bytes, refusal, why);
        // The messages behind this one must not pass it if it may be in the queue.
        if packed.item.may_be_sent() { self.give_up(packed, error) } else { self.end(packed, Err(error)) }
    }
}

#[cfg(feature = "large-messages")]
mod through_s3 {
    use super::*;
    use crate::large::{LargeMessages, Offloaded};

    impl Shared {
        /// Puts the body into S3, then sends a pointer to it.
        pub(super) fn divert(self: &Arc<Self>, mut packed: Packed<Item>, limit: usize, refusal: TooLarge, why: &str) {
            let Some(large_messages) = self.settings.large_messages.clone() else {
                return self.is_too_large(packed, refusal, why);
            };
            let checked = &mut packed.item.checked;
            checked.make_room_for_an_attribute();
            match large_messages.point(&mut checked.message) {
                Ok(offloaded) => {
                    self.settings.identify_by_content(&mut checked.message);
                    checked.recount();
                    if checked.bytes > limit && !checked.shrink_to(limit) {
                        return self.is_too_large(packed, refusal, why);
                    }
                    let diversion = Diversion { shared: self.clone(), packed: Some(packed) };
                    drop(tokio::spawn(diversion.run(large_messages, offloaded)));
                }
                // Its body is in S3 already, or it has ten attributes.
                Err(_) => self.is_too_large(packed, refusal, why),
            }
        }
    }

    /// A message whose body is being written to S3.
    struct Diversion {
        shared: Arc<Shared>,
        packed: Option<Packed<Item>>,
    }

    impl Diversion {
        async fn run(mut self, large_messages: LargeMessages, offloaded: Offloaded) {
            let put = large_messages.store(offloaded).await;
            let Some(packed) = self.packed.take() else { return };
            match put {
                Ok(()) => self.shared.send_at_once(packed),
                Err(error) => self.give_up(packed, error),
            }
        }

        fn give_up(&self, packed: Packed<Item>, error: SendError) {
            self.shared.give_up(packed, error);
            let settled = self.shared.line().pack.settled_below();
            self.shared.settled_below(settled);
            self.shared.wake.notify_one();
        }
    }

    impl Drop for Diversion {
        fn drop(&mut self) {
            if let Some(packed) = self.packed.take() {
                self.give_up(packed, SendError::failed("the runtime ended before its body was in S3".to_owned()));
            }
        }
    }
}
