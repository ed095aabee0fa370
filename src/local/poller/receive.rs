//! From the queue to records.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use aws_sdk_sqs::config::Config;
use aws_sdk_sqs::config::timeout::TimeoutConfig;
use aws_sdk_sqs::error::DisplayErrorContext;
use aws_sdk_sqs::types::{Message, MessageSystemAttributeName};

use super::{Mapping, News};
use crate::sqs::event::Record;

/// The most that SQS waits for a message.
const WAIT_SECONDS: i32 = 20;
/// Longer than that, or a connection that has died would be waited at for ever.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(30);
const MAX_MESSAGES: usize = 10;

/// The queue could not be polled; [`News::PollFailed`] has said why.
pub(super) struct PollFailed;

impl Mapping {
    /// One long poll, for as many messages as there is room for. What matches no filter is deleted.
    pub(super) async fn receive(self: Arc<Self>, room: usize, delay: Duration) -> Result<Vec<Record>, PollFailed> {
        tokio::time::sleep(delay).await;
        let mut records = Vec::new();
        let mut filtered = Vec::new();
        for message in self.poll(room.min(MAX_MESSAGES)).await? {
            match Record::new(message, &self.source) {
                Ok(record) if self.filter.lets_through(&record) => records.push(record),
                Ok(record) => filtered.push(record),
                Err(error) => self.tell(News::PollFailed { error: error.to_string() }),
            }
        }
        if !filtered.is_empty() {
            let message_ids = filtered.iter().map(|record| record.message_id().to_owned()).collect();
            self.tell(News::Filtered { message_ids });
            self.delete(filtered.iter()).await;
            self.settled.fetch_add(filtered.len() as u64, Ordering::Release);
        }
        Ok(records)
    }

    async fn poll(&self, max: usize) -> Result<Vec<Message>, PollFailed> {
        let timeouts = TimeoutConfig::builder().operation_attempt_timeout(ATTEMPT_TIMEOUT).build();
        let receive = self.client.receive_message().queue_url(&self.queue_url).wait_time_seconds(WAIT_SECONDS);
        let receive = receive.max_number_of_messages(i32::try_from(max).unwrap_or(1));
        let receive = receive.message_system_attribute_names(MessageSystemAttributeName::All);
        let receive = receive.message_attribute_names("All").customize();
        match receive.config_override(Config::builder().timeout_config(timeouts)).send().await {
            Ok(answer) => Ok(answer.messages.unwrap_or_default()),
            Err(error) => {
                self.tell(News::PollFailed { error: DisplayErrorContext(error).to_string() });
                Err(PollFailed)
            }
        }
    }
}
